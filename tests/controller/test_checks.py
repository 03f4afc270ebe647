"""What a run's other options and plugins mean for measuring, as functions."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.controller.checks import note_of_coverage


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
