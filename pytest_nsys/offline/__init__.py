"""What stored captures, recordings and baselines answer, without a run of pytest."""
