"""From a capture's windows to measurements of tests."""
