"""The sentences of the HTML page: what is said of a test, of a window, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_nsys.catalogue import CLIENT
from pytest_nsys.measure.measurement import Measurement, WindowMeasurement
from pytest_nsys.report.html.shown import KERNEL_TIME, shown_amount
from pytest_nsys.support.units import format_change, format_count
from pytest_nsys.verdict.verdict import Comparison, Verdict
from pytest_nsys.verdict.wording import headline, place, sentence

_NAMED = 3
_CLIENTS = tuple(f"{CLIENT}{name}" for name in ("tokens_per_s", "ttft_p50"))


def listed(names: Iterable[str]) -> str:
    """The first of the names, each once, and how many more there are."""
    found = [*dict.fromkeys(names)]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def said_of_test(verdict: Verdict) -> str:
    """The verdict in a sentence; empty where there is nothing to say but its status."""
    worse = verdict.worse
    if worse:
        said = [sentence(worse[0])]
        others = listed(place(part.window) + part.metric.key for part in worse[1:])
        said += [f"Also worse: {others}."] if others else []
        said += [place(one.window) + one.text for one in verdict.unmet[:1]]
        return " ".join(said)
    unclear = [part for part in verdict.comparisons if part.status == "inconclusive"]
    if verdict.status == "inconclusive" and unclear:
        return " ".join(_undecided(verdict, unclear))
    text = headline(verdict)
    if text == verdict.status:
        return ""
    improved = [part for part in verdict.comparisons if part.status == "improved"]
    return sentence(improved[0]) if verdict.status == "improved" and improved else text


def _undecided(verdict: Verdict, unclear: Sequence[Comparison]) -> Iterator[str]:
    """What was decided of a test, before what could not be."""
    gated = [part for part in verdict.comparisons if part.gated]
    better = [part for part in gated if part.status == "improved"]
    yield from map(sentence, better[:1])
    decided = len(gated) - len(unclear)
    if decided:
        yield f"Of {len(gated)} gated metrics {decided} are decided, and none is worse."
    names = (f"{place(part.window)}{part.metric.key}" for part in unclear)
    yield f"Undecided: {listed(names)}."


def glance(metrics: Mapping[str, list[Comparison]]) -> str:
    """What to say of a test that has no story: its kernel time, or what a server's clients saw."""
    for window, parts in metrics.items():
        by_key = {part.metric.key: part for part in parts if part.current is not None}
        if by_key.keys() & _CLIENTS:
            said = [_glance(by_key[key]) for key in _CLIENTS if key in by_key]
            return place(window) + ", ".join(said)
        if KERNEL_TIME in by_key:
            return _glance(by_key[KERNEL_TIME])
    return ""


def _glance(part: Comparison) -> str:
    key, unit = part.metric.key, part.metric.unit
    now = shown_amount(part.current, unit)
    if part.baseline is None or part.current is None:
        return f"{key} {now}"
    change = format_change(part.baseline, part.current, unit)
    return f"{key} {shown_amount(part.baseline, unit)} -> {now} ({change})"


def said_of_window(gated: Iterable[Comparison], then: WindowMeasurement | None) -> str:
    """The verdict on one window in a sentence."""
    parts = list(gated)
    if then is None or not parts:
        return ""
    for status in ("regressed", "expected", "incomparable", "inconclusive", "improved"):
        found = [part for part in parts if part.status == status]
        if found:
            note = found[0].reason or found[0].note
            said = sentence(found[0])
            return f"{said} {note}" if note and note != said else said
    return f"All {len(parts)} gated metrics are within their limits."


def plan(verdict: Verdict) -> str:
    """How the test was measured, and its baseline."""
    device = verdict.measurement.device
    recordings = ", ".join(verdict.measurement.recordings)
    text = f"Measured {_measured(verdict.measurement)}{f' on {device}' if device else ''}"
    text += f" ({recordings})." if recordings else "."
    if verdict.against and verdict.baseline is not None:
        text += f" {verdict.against} in the same run: {_measured(verdict.baseline)}."
    elif verdict.baseline is not None:
        date = verdict.baseline.environment.date
        text += f" Baseline{f' of {date}' if date else ''}: {_measured(verdict.baseline)}."
    return text


def _measured(measurement: Measurement) -> str:
    processes, rounds = measurement.processes, format_count(measurement.rounds, "round")
    if measurement.cold_l2:
        rounds += " with a cold L2 cache"
    if measurement.warmup:
        rounds += f" after {measurement.warmup} to warm up"
    return f"{processes} processes of {rounds}" if processes > 1 else rounds
