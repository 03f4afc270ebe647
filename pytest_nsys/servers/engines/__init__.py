"""Inference engines: how each is started, found to be ready, and seen to fail."""
