"""The page of a history: what drifted, what changed it, and every test over its runs."""
