"""Baselines: measurements kept in git, one file per test and device."""

from pytest_nsys.storage.baselines.store import BaselineStore, Change, read_baseline

__all__ = ["BaselineStore", "Change", "read_baseline"]
