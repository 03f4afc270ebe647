"""Inference servers under nsys: start them, load them, and measure windows of what they do."""
