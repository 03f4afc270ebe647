"""What is started and ended: a run's private folder, its guard, and the processes below it."""
