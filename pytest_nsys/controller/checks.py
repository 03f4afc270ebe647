"""What a run's other options, and the fixtures of a test, mean for measuring."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import pytest

from pytest_nsys.errors import SettingsError
from pytest_nsys.worker.node import RETRYING, distributes, plugin_module


def check_conflicts(config: pytest.Config, *, replay: bool) -> None:
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
    if replay:
        return  # it runs no test
    if distributes(config) and any("via=" in spec for spec in config.getoption("tx")):
        raise SettingsError(
            "--px and via= (pytest-xdist) cannot be used while tests are profiled: captures of "
            "other machines are brought here in a way of our own",
            remedy="leave out --px and name the machines with --tx, such as --tx ssh=HOST",
        )
    if distributes(config):
        from xdist import __version__, workermanage

        if not hasattr(workermanage, "parse_tx_spec_config"):
            raise SettingsError(
                f"pytest-xdist {__version__} is too old to distribute measured tests",
                remedy="pip install 'pytest-nsys[xdist]'",
            )
    for option, (plugin, why) in _CONFLICTS.items():
        value = config.getoption(option, None)
        values = value.split(",") if isinstance(value, str) else [value]
        if value is True or not _OFF.issuperset(values):
            flag = "--" + option.replace("_", "-")
            raise SettingsError(
                f"{flag} ({plugin}) cannot be used while tests are profiled: {why}",
                remedy=f"leave out {flag} (also in addopts and PYTEST_ADDOPTS), or the --nsys "
                "options",
            )


_FORKED = "a forked child cannot use the GPU of its parent, and nothing it does is measured"
_THREADS = "calls of a test at the same time cannot be told apart"
_CONFLICTS = {
    "forked": ("pytest-forked", _FORKED),
    "boxed": ("pytest-forked", _FORKED),
    "parallel_threads": ("pytest-run-parallel", _THREADS),
    "tests_per_worker": ("pytest-parallel", _THREADS),
    "inline_snapshot": ("inline-snapshot", "measured tests cannot change their own source"),
}
"""Options that cannot be, but for values that are `_OFF`: whose they are, and why."""

_OFF = frozenset({None, False, 1, "1", "", "disable", "report", "short-report"})

_MARKS = {"forked": _FORKED, "parallel_threads": _THREADS}


def check_marks(items: Iterable[pytest.Item]) -> None:
    """Marks of other plugins on tests that are to be measured.

    Raises:
        SettingsError: one cannot be had together with being measured.
    """
    for item in items:
        for mark, why in _MARKS.items():
            if item.get_closest_marker(mark) is not None and _is_meant(item, mark):
                raise SettingsError(
                    f"{item.nodeid} is marked {mark} and cannot be measured: {why}",
                    remedy=f"take one of the two marks from the test, {mark} or nsys",
                )


def _is_meant(item: pytest.Item, mark: str) -> bool:
    """Whether there is the plugin that gives the mark a meaning: it declares such an option."""
    return hasattr(item.config.option, mark)


_RETRIES = ("reruns", "force_reruns", "force_flaky", "retries")


def note_of_retries(config: pytest.Config, items: Iterable[pytest.Item]) -> str:
    """What there is to be said of tests that another plugin would run again; "" for nothing."""
    plugins = [name for key, name in RETRYING.items() if plugin_module(config, key) is not None]
    asking = [item for item in items if plugins and _asks_for_retries(item)]
    if not asking:
        return ""
    return (
        f"measured tests are not rerun when they fail: {len(asking)} would be "
        f"({', '.join(plugins)})"
    )


def note_of_coverage(config: pytest.Config, items: Iterable[pytest.Item]) -> str:
    """What there is to be said of ``coverage run``, which does not follow tests into the worker."""
    running: Any = getattr(sys.modules.get("coverage"), "Coverage", None)
    measuring: Any = running.current() if running is not None else None
    if measuring is None or "subprocess" in getattr(measuring.config, "patch", ()):
        return ""
    by_pytest_cov: Any = getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    if by_pytest_cov is not None or not any(True for _ in items):
        return ""
    return "coverage run does not follow measured tests: pytest --cov does"


def _asks_for_retries(item: pytest.Item) -> bool:
    return (
        any(item.config.getoption(option, None) for option in _RETRIES)
        or item.get_closest_marker("flaky") is not None
        or hasattr(getattr(item, "obj", None), "_flaky_max_runs")
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
