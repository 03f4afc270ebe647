"""What knows nothing of GPUs or of pytest: files, units, text, JSON, arrays."""
