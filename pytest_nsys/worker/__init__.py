"""The worker: a pytest of its own under nsys, which runs the measured tests and marks windows."""
