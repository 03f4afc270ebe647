"""A user's project is not among our tests: it is checked and run with what is installed."""

collect_ignore = ["project"]
