"""Arrays: intervals, groups and columns."""
