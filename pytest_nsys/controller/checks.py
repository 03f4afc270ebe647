"""What a run's other options, and the fixtures of a test, mean for measuring."""

from __future__ import annotations

import pytest

from pytest_nsys.errors import SettingsError


def check_conflicts(config: pytest.Config) -> None:
    """Options that cannot be had together with profiling.

    Raises:
        SettingsError: some are given.
    """
    if config.getoption("usepdb", False) or config.getoption("trace", False):
        raise SettingsError(
            "--pdb and --trace cannot be used while tests are profiled: they run in a worker "
            "below nsys, which has no terminal",
            remedy="leave out the --nsys options to debug a test",
        )
    if config.getoption("numprocesses", None) or config.getoption("dist", "no") != "no":
        raise SettingsError(
            "-n (pytest-xdist) cannot be used while tests are profiled: tests that share a GPU "
            "disturb each other's timings",
            remedy="leave out -n, or the --nsys options",
        )


def only_looks(config: pytest.Config) -> bool:
    """Whether tests are only listed or set up, and not run."""
    names = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")
    return any(config.getoption(name, False) for name in names)


SERVER_FIXTURES = frozenset({"nsys_server", "nsys_run"})
"""A test that asks for one of them, itself or through other fixtures, is a server test."""


def is_server_test(item: pytest.Item) -> bool:
    """Whether the test starts what is measured, instead of being it."""
    return not SERVER_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def is_measured(item: pytest.Item) -> bool:
    """Whether the test is measured in a run that measures."""
    return item.get_closest_marker("nsys") is not None or is_server_test(item)
