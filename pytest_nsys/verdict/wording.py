"""Verdicts in words: the sentences that the terminal, the pages and the job log share."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pytest_nsys.measure.measurement import Part
from pytest_nsys.support.text import shortened
from pytest_nsys.support.units import (
    format_amount,
    format_change,
    format_full_change,
    format_tolerance,
)
from pytest_nsys.verdict.relaunched import relaunched
from pytest_nsys.verdict.verdict import Cause, Comparison, Contribution, Requirement, Verdict
from pytest_nsys.windows.record import MAIN

_LABEL = 52
_BRIEF = 24
_CULPRITS = 5
_NAMESPACES = re.compile(r"\b(at::native::|at::cuda::|c10::|cutlass::|<unnamed>::)+")
_RESOLUTION: Mapping[Cause, str] = {"clock": "clock", "gpu": "another GPU"}
_BORING = re.compile(r"\*, |, std::array<[^<>]*>")


def headline(verdict: Verdict, *, private: bool = False) -> str:
    """The verdict in one line: the worst window and metric, by how much, and its culprit.

    Args:
        verdict: it.
        private: whether it is for the terminal, which shows what a ``check`` says, too.
    """
    worse = verdict.worse
    if worse:
        return describe(worse[0]) + _more(verdict)
    if verdict.unmet:
        unmet = verdict.unmet[0]
        more = len(verdict.unmet) - 1
        text = demand(unmet) if private else unmet.text
        return place(unmet.window) + text + (f" (and {more} more)" if more else "")
    notes = [
        part.note for part in verdict.comparisons if part.note and part.status == verdict.status
    ] or list(verdict.notes)
    if verdict.status in ("new", "incomparable") and notes:
        return f"{verdict.status}: {notes[0]}"
    unclear = [part for part in verdict.comparisons if part.status == "inconclusive"]
    if verdict.status == "inconclusive" and unclear:
        return f"{describe(unclear[0])}: {unclear[0].note}"
    if verdict.status == "expected" and verdict.expected:
        first = verdict.expected[0]
        return f"{describe(first)}; {first.reason}"
    improved = [part for part in verdict.comparisons if part.status == "improved"]
    if improved:
        return describe(improved[0])
    return verdict.status


def brief(verdict: Verdict, *, private: bool = False) -> str:
    """The headline for a line of which little may be seen, as in pytest's short summary: the
    culprit first, and its name short.
    """
    if not verdict.worse or not verdict.worse[0].culprits:
        return headline(verdict, private=private)
    first = verdict.worse[0]
    part = first.culprits[0]
    name = _shortest(part.label, _shown_with(first, part))
    bare = describe(replace(first, culprits=()))
    return f"{name} {_changed_by(first, part)}: {bare}{_more(verdict)}"


def _shortest(label: str, others: Iterable[str]) -> str:
    """A kernel's name without its template's arguments, where it is no other's of the same."""
    bare, *rest = (_plain(name).partition("<")[0] for name in dict.fromkeys([label, *others]))
    if bare not in rest and 0 < len(bare) <= _BRIEF:
        return bare
    return short_names([label, *others], _BRIEF)[label]


def _more(verdict: Verdict) -> str:
    more = len(verdict.worse) - 1 + len(verdict.unmet)
    return f" (and {more} more)" if more else ""


def demand(unmet: Requirement) -> str:
    """A requirement that does not hold, with what a ``check`` says of it."""
    return f"{unmet.text}: {unmet.said}" if unmet.said else unmet.text


def describe(comparison: Comparison) -> str:
    """A comparison in a line: metric, change, limit, culprit, values.

    The change and the culprit come first, because the line may be cut off at the right.
    """
    metric, then, now = comparison.metric, comparison.baseline, comparison.current
    if then is None or now is None:
        return comparison.note or f"{metric.key}: {comparison.status}"
    change = format_change(then, now, metric.unit)
    text = f"{place(comparison.window)}{metric.key} {change}"
    if comparison.tolerance is not None:
        text += f", limit {format_limit(comparison)}"
    if comparison.culprits:
        text += f": {describe_contribution(comparison, comparison.culprits[0])}"
    return text + f"; {format_amount(then, metric.unit)} -> {format_amount(now, metric.unit)}"


def sentence(comparison: Comparison) -> str:
    """A comparison in a sentence: by how much, what is allowed, and what makes up most of it."""
    metric, then, now = comparison.metric, comparison.baseline, comparison.current
    if then is None or now is None:
        return comparison.note
    verb = "rose" if now > then else "fell"
    change = format_full_change(then, now, metric.unit).lstrip("+-")
    change = change.replace("(+", "(").replace("(-", "(")
    values = f"from {format_amount(then, metric.unit)} to {format_amount(now, metric.unit)}"
    text = f"{place(comparison.window)}{metric.key} {verb} by {change}, {values}"
    limit = format_limit(comparison)
    if limit:
        text += "; no change is allowed" if limit == "0" else f"; the limit is {limit}"
    if comparison.culprits:
        text += f". Largest part: {describe_contribution(comparison, comparison.culprits[0])}"
    return text + "."


def format_limit(comparison: Comparison) -> str:
    """What a comparison allows: its tolerance, or what noise, the resolution, or the range of an
    exact metric's baseline makes of it where that is more.
    """
    tolerance, metric, then = comparison.tolerance, comparison.metric, comparison.baseline
    if tolerance is None:
        return ""
    if comparison.limit is None or then is None or comparison.limit <= tolerance.limit(then):
        return format_tolerance(tolerance, metric.unit)
    if comparison.limit == comparison.resolution.amount:
        why = _RESOLUTION[comparison.resolution.cause]
    else:
        why = "range" if comparison.noise is None else "noise"
    if comparison.limit >= 10 * abs(then):
        return f"{format_amount(comparison.limit, metric.unit)} ({why})"
    return f"{format_change(then, then + comparison.limit, metric.unit).lstrip('+')} ({why})"


def describe_contribution(comparison: Comparison, part: Contribution) -> str:
    """One culprit: its name, how much of the change it is, how often it occurs, what it was called,
    and how it is launched otherwise than it was."""
    return ": ".join(told_of(comparison, part))


def told_of(comparison: Comparison, part: Contribution) -> tuple[str, ...]:
    """The same in parts: what it is, and the name that it had, and how it is launched otherwise,
    where that is so."""
    names = short_names([*_shown_with(comparison, part), *filter(None, [part.before])])
    was = f"was {names[part.before]}" if part.before else ""
    told = relaunched(part.baseline, part.current)
    return tuple(filter(None, (f"{names[part.label]} {_changed_by(comparison, part)}", was, told)))


def _shown_with(comparison: Comparison, part: Contribution) -> list[str]:
    """The names among which a culprit's has to be told apart."""
    return [part.label, *(one.label for one in notable(comparison)[0])]


def _changed_by(comparison: Comparison, part: Contribution) -> str:
    unit = comparison.metric.unit
    sign = "+" if part.change >= 0 else "-"
    amount = f"{sign}{format_amount(abs(part.change), unit)}"
    before, now = _count(part.baseline), _count(part.current)
    if unit == "1":
        return f"{amount} ({before:g} -> {now:g})"
    if part.baseline is None:
        often = f"new, {now:g}x"
    elif part.current is None:
        often = f"gone, was {before:g}x"
    elif before != now:
        often = f"{before:g}x -> {now:g}x"
    else:
        often = f"{now:g}x"
    return f"{amount} ({often})"


def shorten(label: str) -> str:
    """A kernel's name for a line of text, where it stands alone; see `short_names`."""
    return short_names([label])[label]


def short_names(labels: Iterable[str], most: int = _LABEL) -> dict[str, str]:
    """Kernels' names for a table: without common namespaces and arguments that say little, and of
    at most ``most`` characters, among which is what tells them apart; no two become the same.
    """
    plain = {label: _plain(label) for label in labels}
    times = Counter(plain.values())
    plain = {
        label: name if times[name] == 1 and (name == label or name not in plain) else label
        for label, name in plain.items()
    }
    forms = shortened(plain.values(), most)
    return {label: forms[name] for label, name in plain.items()}


def _plain(label: str) -> str:
    return _BORING.sub("", _NAMESPACES.sub("", label))


def notable(comparison: Comparison) -> tuple[tuple[Contribution, ...], float]:
    """The culprits worth naming, and the sum of what the others contribute.

    Named are the largest, at most five, that make up at least a hundredth of the largest.
    """
    parts = comparison.culprits
    least = max((abs(part.change) for part in parts), default=0.0) / 100
    large = sorted(parts, key=lambda part: -abs(part.change))[:_CULPRITS]
    named = [part for part in large if abs(part.change) >= least]
    return (
        tuple(part for part in parts if part in named),
        sum(part.change for part in parts if part not in named),
    )


def _count(part: Part | None) -> float:
    return part.count if part else 0


def place(window: str) -> str:
    """Which window, where it is not the test's body."""
    return "" if window == MAIN else f"[{window}] "


def reproduce(verdict: Verdict) -> str:
    """The command that measures this one test again."""
    mode = f"--nsys-against={shlex.quote(verdict.against)}" if verdict.against else "--nsys"
    return f"pytest {mode} {shlex.quote(verdict.measurement.nodeid)}"


def find_out(verdict: Verdict) -> str:
    """The command that says how much to measure for what is hidden by noise; "" where that is
    nothing, or no baseline is stored."""
    if verdict.against or not any(map(_is_hidden, verdict.comparisons)):
        return ""
    return f"pytest-nsys power {shlex.quote(verdict.measurement.nodeid)}"


def _is_hidden(part: Comparison) -> bool:
    """Whether noise is larger than the tolerance, and the change is not larger than noise."""
    then, now, limit = part.baseline, part.current, part.limit
    if part.status != "inconclusive" or part.noise is None or part.tolerance is None:
        return False
    if then is None or now is None or limit is None:
        return False
    return max(part.tolerance.limit(then), part.resolution.amount) < limit >= abs(now - then)


def rename_command(old: str, new: str) -> str:
    """The command that gives a baseline to a test that was renamed."""
    return f"pytest-nsys baselines rename {shlex.quote(old)} {shlex.quote(new)}"


def accept(verdict: Verdict) -> str:
    """The command that makes what was measured the baseline; "" where none is stored."""
    if verdict.against or not verdict.worse:
        return ""
    command = recording_command(verdict.measurement.recordings, "--nsys-update")
    return f"{command} {shlex.quote(verdict.measurement.nodeid)}"


def recording_command(recordings: Iterable[str], option: str) -> str:
    """The command that records baselines here: from recordings, where those are what is judged, for
    such a machine needs no GPU."""
    replays = (f"--nsys-replay={shlex.quote(one)}" for one in recordings)
    return " ".join(["pytest", *replays, option])
