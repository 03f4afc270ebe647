"""A verdict as the properties of a test's report, which ``--junitxml`` and other reports show."""

from __future__ import annotations

from pytest_nsys.report.run import gates_of
from pytest_nsys.support.text import printable
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.verdict.wording import headline
from pytest_nsys.windows.record import MAIN

Properties = list[tuple[str, object]]


def properties(verdict: Verdict) -> Properties:
    """Names and values: ``nsys.status``, ``nsys.device``, ``nsys.recording`` of what was replayed,
    ``nsys.headline``, and ``nsys.METRIC`` of what gates the test, or would by default.

    Metrics are medians, in ns, bytes or counts; those of a named window are called
    ``nsys[WINDOW].METRIC``. Characters that are not printable, which XML may not hold, are
    spelled as in Python.
    """
    found: Properties = [
        ("nsys.status", verdict.status),
        ("nsys.device", printable(verdict.measurement.device)),
        *(("nsys.recording", printable(name)) for name in verdict.measurement.recordings),
    ]
    for part in gates_of(verdict):
        place = "" if part.window == MAIN else f"[{part.window}]"
        found.append((printable(f"nsys{place}.{part.metric.key}"), _plain(part.current or 0.0)))
    return [*found, ("nsys.headline", printable(headline(verdict)))]


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value
