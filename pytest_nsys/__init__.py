"""GPU performance that a test suite can fail on: pytest tests under NVIDIA Nsight Systems.

The worker imports this package before its pytest starts: PYTEST_DONT_REWRITE.
"""

__version__ = "0.1.0"
