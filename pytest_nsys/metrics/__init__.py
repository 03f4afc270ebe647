"""Metrics: pure functions from a cut trace to one number per window.

What each metric means is in `pytest_nsys.catalogue`; a test holds the two to the same keys.
"""
