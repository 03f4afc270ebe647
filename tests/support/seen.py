"""What the tests of the plugin look at: what user code did, where, and what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.harness import Project

_STORY = """
    import os, pathlib

    def tell(text):
        role = "worker" if "SIMGPU_LOG" in os.environ else "controller"
        with pathlib.Path({path!r}).open("a") as file:
            file.write(f"{{role}}: {{text}}\\n")
"""


class Story:
    """What the user's code told of itself: ``from story import tell``."""

    def __init__(self, project: Project) -> None:
        self._path = project.path / "story.txt"
        project.write(_STORY.format(path=str(self._path)), "story.py")

    def lines(self) -> list[str]:
        """What was told since the last time, in order."""
        text = self._path.read_text() if self._path.exists() else ""
        self._path.unlink(missing_ok=True)
        return text.splitlines()

    def of(self, role: str) -> list[str]:
        """What was told in one process (worker or controller) since the last time."""
        start = f"{role}: "
        return [line.removeprefix(start) for line in self.lines() if line.startswith(start)]


def samples(test: dict[str, Any], key: str, window: str = "test") -> list[float]:
    """The samples of one metric of a test in the JSON report, round by round."""
    part = next(part for part in test["windows"] if part["name"] == window)
    found = {
        metric["key"]: [value for process in metric["samples"] for value in process]
        for metric in part["metrics"]
    }
    zeros = [0.0] * max(map(len, found.values()), default=0)
    return {**dict.fromkeys(part["zero"], zeros), **found}[key]


def metric_keys(test: dict[str, Any]) -> set[str]:
    """The metrics of a test in the JSON report, in whatever window."""
    windows = test["windows"]
    told = {metric["key"] for window in windows for metric in window["metrics"]}
    return told.union(*(window["zero"] for window in windows))


def short_summary(result: pytest.RunResult) -> list[str]:
    """The lines of pytest's short summary, sorted."""
    lines = result.stdout.str().partition("short test summary info")[2].splitlines()[1:-1]
    return sorted(lines)


def section(lines: Iterable[str], title: str) -> list[str]:
    """The lines between a ruled title and the next one."""
    found: list[str] = []
    inside = False
    for line in lines:
        ruled = re.fullmatch(r"[=_]{2,} (.+?) [=_]{2,}", line)
        if ruled:
            inside = ruled[1].startswith(title)
        elif inside:
            found.append(line)
    return found
