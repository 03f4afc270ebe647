"""The history of measured tests: one line per test and run, for trends beyond one baseline."""

from pytest_nsys.storage.history.record import record_run

__all__ = ["record_run"]
