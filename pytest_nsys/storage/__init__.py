"""What is kept in files: baselines, histories, recordings."""
