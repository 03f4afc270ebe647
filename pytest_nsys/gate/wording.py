"""Verdicts in words: the sentences that the terminal, the pages and the job log share."""

from __future__ import annotations

from pytest_nsys.gate.verdict import Comparison, Contribution, Verdict
from pytest_nsys.measurement import Part
from pytest_nsys.quantities import format_amount, format_change, format_tolerance
from pytest_nsys.windows import MAIN

_LABEL = 60


def headline(verdict: Verdict) -> str:
    """The verdict in one line: the worst window and metric, by how much, and its culprit."""
    worse = verdict.worse
    if worse:
        first = worse[0]
        more = len(worse) - 1 + len(verdict.demands)
        return describe(first) + (f" (and {more} more)" if more else "")
    if verdict.demands:
        first_demand = verdict.demands[0]
        more = len(verdict.demands) - 1
        return (
            place(first_demand.window) + first_demand.text + (f" (and {more} more)" if more else "")
        )
    notes = [part.note for part in verdict.comparisons if part.note] or list(verdict.notes)
    if verdict.status in ("new", "incomparable") and notes:
        return f"{verdict.status}: {notes[0]}"
    improved = [part for part in verdict.comparisons if part.status == "improved"]
    if improved:
        return describe(improved[0])
    return verdict.status


def describe(comparison: Comparison) -> str:
    """A comparison in a sentence: metric, change, limit, culprit, values.

    The change and the culprit come first, because the line may be cut off at the right.
    """
    metric, then, now = comparison.metric, comparison.baseline, comparison.current
    if then is None or now is None:
        return comparison.note or f"{metric.key}: {comparison.status}"
    change = format_change(then, now, metric.unit)
    text = f"{place(comparison.window)}{metric.key} {change}"
    if comparison.tolerance is not None:
        text += f", limit {format_tolerance(comparison.tolerance, metric.unit)}"
    if comparison.culprits:
        text += f": {describe_contribution(comparison, comparison.culprits[0])}"
    return text + f"; {format_amount(then, metric.unit)} -> {format_amount(now, metric.unit)}"


def describe_contribution(comparison: Comparison, part: Contribution) -> str:
    """One culprit: its name, how much of the change it is, and how often it occurs."""
    unit = comparison.metric.unit
    sign = "+" if part.change >= 0 else "-"
    label = part.label if len(part.label) <= _LABEL else part.label[: _LABEL - 3] + "..."
    amount = f"{sign}{format_amount(abs(part.change), unit)}"
    before, now = _count(part.baseline), _count(part.current)
    if part.baseline is None:
        often = f"new, {now:g}x"
    elif part.current is None:
        often = f"gone, was {before:g}x"
    elif before != now:
        often = f"{before:g}x -> {now:g}x"
    else:
        often = f"{now:g}x"
    return (
        f"{label} {amount} ({often})"
        if unit != "1"
        else f"{label} {amount} ({before:g} -> {now:g})"
    )


def _count(part: Part | None) -> float:
    return part.count if part else 0


def place(window: str) -> str:
    """Which window, where it is not the test's body."""
    return "" if window == MAIN else f"[{window}] "


def reproduce(nodeid: str) -> str:
    """The command that measures this one test again."""
    return f"pytest --nsys '{nodeid}'"
