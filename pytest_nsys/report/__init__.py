"""Reports: what a run found, for the terminal, as JSON and as one HTML page."""
