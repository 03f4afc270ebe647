"""What a run's other options and plugins mean for measuring, as functions."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.controller.checks import check_conflicts, note_of_coverage
from pytest_nsys.errors import SettingsError


def options(**values: object) -> Any:
    """A configuration with these options."""
    return SimpleNamespace(getoption=values.get)


@pytest.mark.parametrize(
    "values",
    [
        {"dist": "load", "numprocesses": 2, "tx": ["popen"] * 2},
        {"inline_snapshot": None},
        {"inline_snapshot": "disable"},
        {"inline_snapshot": "short-report,report"},
        {"parallel_threads": "1", "forked": False},
    ],
)
def test_options_that_change_nothing_of_measured_tests_are_no_conflict(
    values: dict[str, object],
) -> None:
    check_conflicts(options(**values), replay=False)


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"inline_snapshot": "create"}, "--inline-snapshot (inline-snapshot)"),
        ({"inline_snapshot": "report,fix"}, "--inline-snapshot (inline-snapshot)"),
        ({"parallel_threads": "4"}, "--parallel-threads (pytest-run-parallel)"),
        ({"boxed": True}, "--boxed (pytest-forked)"),
    ],
)
def test_options_that_cannot_be_had_are_refused_by_their_names(
    values: dict[str, object], flag: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        check_conflicts(options(**values), replay=False)
    assert str(refused.value).startswith(f"{flag} cannot be used while tests are profiled")
    assert f"leave out {flag.partition(' ')[0]}" in str(refused.value)


def test_a_distributor_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("xdist.workermanage.parse_tx_spec_config")
    with pytest.raises(SettingsError, match=r"pytest-xdist 3.* is too old") as refused:
        check_conflicts(options(dist="load", tx=["popen"]), replay=False)
    assert "pytest-nsys[xdist]" in str(refused.value)
    check_conflicts(options(dist="no", tx=["popen"]), replay=False)


def config(plugin: object = None) -> Any:
    return SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda name: plugin))


def measuring(patch: list[str]) -> object:
    running = SimpleNamespace(config=SimpleNamespace(patch=patch))
    return SimpleNamespace(Coverage=SimpleNamespace(current=lambda: running))


ITEM: Any = object()


def test_a_run_under_coverage_says_that_it_does_not_follow_measured_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "coverage", measuring([]))
    assert note_of_coverage(config(), [ITEM]) == (
        "coverage run does not follow measured tests: pytest --cov does"
    )
    assert note_of_coverage(config(), []) == ""
    assert note_of_coverage(config(SimpleNamespace(cov_controller=object())), [ITEM]) == ""
    assert note_of_coverage(config(SimpleNamespace(cov_controller=None)), [ITEM]) != ""
    monkeypatch.setitem(sys.modules, "coverage", measuring(["subprocess"]))
    assert note_of_coverage(config(), [ITEM]) == ""


def test_nothing_is_said_where_nothing_measures_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "coverage", raising=False)
    assert note_of_coverage(config(), [ITEM]) == ""
    idle = SimpleNamespace(Coverage=SimpleNamespace(current=lambda: None))
    monkeypatch.setitem(sys.modules, "coverage", idle)
    assert note_of_coverage(config(), [ITEM]) == ""
