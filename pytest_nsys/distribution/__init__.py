"""Measured tests in several workers at once: pytest-xdist's, each below an nsys of its own."""
