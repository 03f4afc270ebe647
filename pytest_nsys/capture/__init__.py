"""Captures: running tests under nsys, and proving that what comes out of it can be trusted."""
