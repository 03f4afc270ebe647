"""What a recording keeps of the reports of pytest, and what it may hand back to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_nsys.support.json_values import listing, mapping, number, text_of, whole
from pytest_nsys.support.text import line_without_folders

_KEPT = ("$report_type", "nodeid", "location", "outcome", "when", "duration")
_OUTCOMES = ("passed", "failed", "skipped")
_PHASES = ("setup", "call", "teardown")


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
        KeyError, TypeError, ValueError: the value is something else.
    """
    data = mapping(value)
    path, line, domain = listing(data["location"])
    report: dict[str, Any] = {
        "$report_type": "TestReport",
        "nodeid": text_of(data["nodeid"]),
        "location": [text_of(path), None if line is None else whole(line), text_of(domain)],
        "outcome": _one_of(data["outcome"], _OUTCOMES),
        "when": _one_of(data["when"], _PHASES),
        "duration": number(data.get("duration", 0.0)),
        "longrepr": _read_longrepr(data.get("longrepr")),
        "keywords": {},
        "sections": [],
        "user_properties": [],
    }
    if "wasxfail" in data:
        report["wasxfail"] = text_of(data["wasxfail"])
    return report


def _read_longrepr(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    path, line, reason = listing(value)
    return [text_of(path), whole(line), text_of(reason)]


def _one_of(value: object, allowed: Sequence[str]) -> str:
    text = text_of(value)
    if text not in allowed:
        raise ValueError(f"{text[:80]!r} where there should be one of {', '.join(allowed)}")
    return text
