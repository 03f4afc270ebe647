"""When the worker measures for coverage, by a stand-in: two that trace would disturb each other."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.worker.coverage import Coverage, CoverageOptions


class Measuring:
    """Notes what it is told."""

    told: list[Any]

    def __init__(self, **options: Any) -> None:
        self.told.append(options)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.told.append(" ".join([name, *arguments]))


@pytest.mark.parametrize("contexts", [False, True])
def test_phases_are_measured_and_rounds_are_not(
    monkeypatch: pytest.MonkeyPatch, contexts: bool
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(Measuring, "told", told, raising=False)
    monkeypatch.setitem(sys.modules, "coverage", SimpleNamespace(Coverage=Measuring))
    options = CoverageOptions("/a/.coverage", ("src",), True, "setup.cfg", contexts)
    coverage = Coverage(options)
    coverage.phase("t", "setup")
    coverage.phase("t", "run")
    coverage.stop()
    coverage.stop()
    coverage.phase("t", "teardown")
    coverage.save()
    made, *calls = told
    assert made == {
        "data_file": "/a/.coverage",
        "data_suffix": True,
        "source": ["src"],
        "branch": True,
        "config_file": "setup.cfg",
        "messages": False,
    }
    switched = [call for call in calls if call.startswith("switch")]
    names = ("t|setup", "t|run", "t|teardown") if contexts else ()
    assert switched == [f"switch_context {name}" for name in names]
    others = [call for call in calls if not call.startswith("switch")]
    assert others == ["start", "stop", "start", "stop", "save"]
