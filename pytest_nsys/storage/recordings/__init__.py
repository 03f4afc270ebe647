"""Recordings: captures and the reports of their tests, to be judged elsewhere."""
