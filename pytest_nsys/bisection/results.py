"""What the JSON results of a run say of tests that were measured beside another commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_nsys.bisection.sides import Reading, Target
from pytest_nsys.measure.measurement import Samples
from pytest_nsys.support.units import Unit, format_amount

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Worse:
    """A metric that is worse than at the commit beside it, or may be.

    Attributes:
        target: what is worse.
        status: what the gate says of it.
        culprit: the kernel, copy or call that most of it is of, and by how much; "" if unknown.
        note: why it cannot be told, or "".
        certainty: the change in units of its limit.
    """

    target: Target
    status: str
    culprit: str
    note: str
    certainty: float


def compared(document: Document, metric: str | None = None) -> Iterator[Worse]:
    """What a run compared, test by test.

    Args:
        document: its results.
        metric: the only one that counts; None for all that gate.
    """
    for test in document["tests"]:
        for window in test["windows"]:
            for part in window["metrics"]:
                if part["gated"] and metric in (None, part["key"]):
                    yield _worse(test["nodeid"], window["name"], part)


def _worse(nodeid: str, window: str, part: Mapping[str, Any]) -> Worse:
    target = Target(nodeid, window, part["key"], part["unit"], part["kind"], part["worse"])
    change, limit = abs(part["change"] or 0.0), part["limit"] or 0.0
    return Worse(
        target,
        part["status"],
        _culprit(part["culprits"][0], part["unit"]) if part["culprits"] else "",
        part["note"],
        change / limit if limit else float("inf"),
    )


def _culprit(culprit: Mapping[str, Any], unit: Unit) -> str:
    change = culprit["change"]
    count = culprit["current_count"] or culprit["baseline_count"]
    amount = format_amount(abs(change), unit)
    return f"{culprit['label']} {'-' if change < 0 else '+'}{amount} ({count:g}x)"


def culprit_of(document: Document, target: Target) -> str:
    """The culprit of a change, in words; "" if it is not known."""
    found = (one.culprit for one in compared(document, target.key) if one.target == target)
    return next(found, "")


def reading_of(document: Document, target: Target) -> Reading | str:
    """What was measured of a target, or why nothing was that can be compared."""
    for test in document["tests"]:
        if test["nodeid"] != target.nodeid:
            continue
        for window in test["windows"]:
            if window["name"] != target.window:
                continue
            if target.key in window["zero"]:
                return Reading(((0.0,),), ((0.0,),))
            for part in window["metrics"]:
                if part["key"] == target.key:
                    return _reading(part)
        return f"{target.key} was not measured" + "".join(f": {note}" for note in test["notes"][:1])
    unmeasured = [one for one in document["unmeasured"] if one["nodeid"] == target.nodeid]
    return f"the test was not measured: {unmeasured[0]['reason']}" if unmeasured else ""


def _reading(part: Mapping[str, Any]) -> Reading | str:
    good, here = _samples(part["baseline_samples"]), _samples(part["samples"])
    if part["status"] in ("incomparable", "new") or not any(good) or not any(here):
        return part["note"] or f"{part['key']} cannot be compared"
    return Reading(good, here, part["resolution"])


def _samples(processes: Any) -> Samples:
    return tuple(tuple(process) for process in processes or ())
