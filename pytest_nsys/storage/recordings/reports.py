"""What a recording keeps of the reports of pytest, and what it may hand back to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pytest_nsys.support.json_values import Maybe, read, written
from pytest_nsys.support.text import line_without_folders

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
        ValueError: the value is something else.
    """
    return {
        "$report_type": "TestReport",
        "duration": 0.0,
        "longrepr": None,
        **written(read(_Kept, value)),
        "keywords": {},
        "sections": [],
        "user_properties": [],
    }


@dataclass(frozen=True)
class _Kept:
    nodeid: str
    location: tuple[str, Annotated[int | None, _line], str]
    outcome: Literal["passed", "failed", "skipped"]
    when: Literal["setup", "call", "teardown"]
    duration: Maybe[float] = 0.0
    longrepr: Maybe[Annotated[object, _longrepr]] = None
    wasxfail: str | None = None


def _line(value: object) -> int | None:
    return None if value is None else read(int, value)


def _longrepr(value: object) -> object:
    return value if value is None or isinstance(value, str) else read(tuple[str, int, str], value)
