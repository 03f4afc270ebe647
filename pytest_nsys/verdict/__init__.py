"""Judging: a measurement against its baseline, its budget and its other requirements."""
