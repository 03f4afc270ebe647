"""Beside other plugins of pytest: a table of them, run on the oldest and the newest pytest."""
