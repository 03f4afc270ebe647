"""Which commit made a test worse: a search that measures commits beside a good one."""
