"""What a recording keeps of the reports of pytest, and what it may hand back to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pytest_nsys.support.json_values import Maybe, read, written
from pytest_nsys.support.text import line_without_folders, one_line

_KEPT = ("$report_type", "nodeid", "location", "outcome", "when", "duration")


def kept_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as a recording keeps it: without captured output, properties and tracebacks.

    They may hold anything, and a recording is made to be handed on.
    """
    kept = {key: report[key] for key in _KEPT if key in report}
    longrepr = report.get("longrepr")
    if isinstance(longrepr, Mapping):
        with suppress(KeyError, TypeError):
            crash = longrepr["reprcrash"]
            message = line_without_folders(crash["message"])
            longrepr = f"{Path(crash['path']).name}:{crash['lineno']}: {message}"
    elif isinstance(longrepr, str):
        longrepr = line_without_folders(longrepr)
    if isinstance(longrepr, (list, tuple)):  # of a skip: where, and why
        path, line, reason = longrepr
        longrepr = [Path(path).name, line, line_without_folders(reason)]
    kept["longrepr"] = longrepr if isinstance(longrepr, (str, list)) else None
    if "wasxfail" in report:
        kept["wasxfail"] = line_without_folders(report["wasxfail"])
    return {**kept, "keywords": {}, "sections": [], "user_properties": []}


def read_kept_report(value: object) -> dict[str, Any]:
    """A report of a recording, which anybody may have written: what `kept_report` keeps.

    Raises:
        ValueError: the value is something else, or a report that pytest has not and cannot show.
    """
    kept = read(_Kept, value)
    if kept.outcome == "failed" and not kept.longrepr:  # such as that of another plugin
        kept = replace(kept, longrepr="it failed")
    if kept.outcome == "failed" and not isinstance(kept.longrepr, str):
        raise ValueError("it failed, and says so as one that was skipped does")
    if kept.outcome == "skipped" and kept.wasxfail is None and not isinstance(kept.longrepr, tuple):
        raise ValueError("it was skipped, and does not say where and why")
    return {
        "$report_type": "TestReport",
        "duration": 0.0,
        "longrepr": None,
        **written(kept),
        "keywords": {},
        "sections": [],
        "user_properties": [],
    }


def _shown(value: object) -> str:
    """A text that pytest will print as it is, on one line."""
    return one_line(read(str, value))


_Text = Annotated[str, _shown]


@dataclass(frozen=True)
class _Kept:
    nodeid: str
    location: tuple[_Text, Annotated[int | None, _line], _Text]
    outcome: Literal["passed", "failed", "skipped"]
    when: Literal["setup", "call", "teardown"]
    duration: Maybe[float] = 0.0
    longrepr: Maybe[Annotated[object, _longrepr]] = None
    wasxfail: _Text | None = None


def _line(value: object) -> int | None:
    return None if value is None else read(int, value)


def _longrepr(value: object) -> object:
    if value is None or isinstance(value, str):
        return value if value is None else one_line(value)
    return read(tuple[_Text, int, _Text], value)
