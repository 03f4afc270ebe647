"""The sentences of the HTML page: what is said of a test, of a window, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_nsys.measure.measurement import Measurement, WindowMeasurement
from pytest_nsys.report.html.breakdowns import shown_amount, shown_change
from pytest_nsys.report.html.cascade import KERNEL_TIME
from pytest_nsys.support.units import format_amount, format_change
from pytest_nsys.verdict.verdict import Comparison, Verdict
from pytest_nsys.verdict.wording import describe_contribution, format_limit, headline, place

NAMED = 3
"""So many metrics are named in a sentence or a line; of the others there is the number."""


def said_of_test(verdict: Verdict) -> str:
    """The verdict in a sentence; empty where there is nothing to say but its status."""
    worse = verdict.worse
    if worse:
        said = _sentence(worse[0])
        others = dict.fromkeys(place(part.window) + part.metric.key for part in worse[1:])
        broken = [place(one.window) + one.text for one in verdict.unmet]
        if others:
            names = [*others]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            said += f" Also worse: {', '.join(names[:NAMED])}{more}."
        return " ".join([said, *broken[:1]])
    text = headline(verdict)
    if text == verdict.status:
        return ""
    improved = [part for part in verdict.comparisons if part.status == "improved"]
    if verdict.status == "improved" and improved:
        return _sentence(improved[0])
    return text


def _sentence(part: Comparison) -> str:
    """A change in a sentence: by how much, what is allowed, and what makes up most of it."""
    then, now, unit = part.baseline, part.current, part.metric.unit
    if then is None or now is None:
        return part.note
    verb = "rose" if now > then else "fell"
    change = shown_change(then, now, unit).lstrip("+-").replace("(+", "(").replace("(-", "(")
    text = f"{place(part.window)}{part.metric.key} {verb} by {change}, "
    text += f"from {shown_amount(then, unit)} to {shown_amount(now, unit)}"
    limit = format_limit(part)
    if limit:
        allowed = "no change is allowed" if limit == "0" else f"the limit is {limit}"
        text += f"; {allowed}"
    if part.culprits:
        text += f". Largest part: {describe_contribution(part, part.culprits[0])}"
    return text + "."


def glance(metrics: Mapping[str, list[Comparison]]) -> str:
    """What to say of a test that has no story."""
    for part in (part for parts in metrics.values() for part in parts):
        if part.metric.key == KERNEL_TIME and part.current is not None:
            now = format_amount(part.current, "ns")
            if part.baseline is None:
                return f"{KERNEL_TIME} {now}"
            change = format_change(part.baseline, part.current, "ns")
            return f"{KERNEL_TIME} {format_amount(part.baseline, 'ns')} -> {now} ({change})"
    return ""


def said_of_window(gated: Iterable[Comparison], then: WindowMeasurement | None) -> str:
    """The verdict on one window in a sentence."""
    parts = list(gated)
    if then is None or not parts:
        return ""
    for status in ("regressed", "expected", "incomparable", "inconclusive", "improved"):
        found = [part for part in parts if part.status == status]
        if found:
            note = found[0].reason or found[0].note
            said = _sentence(found[0])
            return f"{said} {note}" if note and note != said else said
    return f"All {len(parts)} gated metrics are within their limits."


def plan(verdict: Verdict) -> str:
    """How the test was measured, and its baseline."""
    device = verdict.measurement.device
    text = f"Measured {_measured(verdict.measurement)}{f' on {device}' if device else ''}."
    if verdict.against and verdict.baseline is not None:
        text += f" {verdict.against} in the same run: {_measured(verdict.baseline)}."
    elif verdict.baseline is not None:
        date = verdict.baseline.environment.date
        text += f" Baseline{f' of {date}' if date else ''}: {_measured(verdict.baseline)}."
    return text


def _measured(measurement: Measurement) -> str:
    processes = max(
        (len(s) for w in measurement.windows.values() for s in w.samples.values()), default=0
    )
    rounds = f"{measurement.rounds} round{'' if measurement.rounds == 1 else 's'}"
    if measurement.warmup:
        rounds += f" after {measurement.warmup} to warm up"
    return f"{processes} processes of {rounds}" if processes > 1 else rounds
