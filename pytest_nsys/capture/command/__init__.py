"""Captures of plain commands, on this machine or through a launcher."""
