"""What a capture shows beside its metrics: bottlenecks and timelines."""
