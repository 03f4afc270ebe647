"""What a window and its changes are made of, as tables of formatted strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.measure.measurement import Part
from pytest_nsys.report.html.model import Row, Table
from pytest_nsys.report.html.shown import (
    LONGEST_NAME,
    NOTHING,
    shown_amount,
    shown_change,
    sortable,
)
from pytest_nsys.report.html.timeline_svg import Mark
from pytest_nsys.report.run import Sides, pairs
from pytest_nsys.support.units import Unit
from pytest_nsys.verdict.culprit import renamed_kernels
from pytest_nsys.verdict.relaunched import relaunched
from pytest_nsys.verdict.wording import short_names

_PARTS = 12
_MORE = 48
_RAW_NAMES = 3
_SLOWER = 0.05
_NOTABLE = 0.01


@dataclass(frozen=True)
class _Kind:
    """A breakdown and its words: title, what a line is, and what its amount is."""

    key: Breakdown
    title: str
    item: str
    amount: str
    unit: Unit


KINDS = (
    _Kind("kernels", "Kernels", "Kernel", "time", "ns"),
    _Kind("copies", "Copies", "Copy", "bytes", "B"),
    _Kind("syncs", "Blocking calls", "Call", "host time", "ns"),
    _Kind("allocations", "Allocations live at the memory peak", "Size", "bytes", "B"),
    _Kind("memsets", "Memory sets", "Memory set", "bytes", "B"),
    _Kind("calls", "CUDA API calls", "Call", "host time", "ns"),
    _Kind("ranges", "The program's NVTX ranges", "Range", "kernel time", "ns"),
    _Kind("devices", "Devices", "Device", "kernel time", "ns"),
    _Kind("processes", "Processes", "Process", "kernel time", "ns"),
)


@dataclass(frozen=True)
class PartPair:
    """A part of a window, then and now; ``before`` is the name it had, where it was another."""

    label: str
    then: Part | None
    now: Part | None
    before: str = ""

    def amounts(self, unit: Unit) -> tuple[float, float]:
        """How much of it there was, and is; 0 where there is none."""
        then, now = (part.amount(unit) if part else 0.0 for part in (self.then, self.now))
        return then, now


def breakdown_tables(
    sides: Sides, renamed: Mapping[str, str], explained: Collection[Breakdown]
) -> Iterator[Table]:
    """The tables of a window's breakdowns that have any line, the largest change first.

    Args:
        sides: the window now and in the baseline.
        renamed: by the name in the baseline, the name now, of kernels that are one under two names.
        explained: breakdowns whose changes are shown elsewhere already: these tables are folded.
    """
    both = None not in sides
    for kind in KINDS:
        found = _pairs(kind.key, sides, renamed)
        if both:
            found.sort(key=lambda pair: -_distance(pair.amounts(kind.unit)))
        if found:
            yield _table(kind, found, both, kind.key in explained)


def _distance(amounts: tuple[float, float]) -> float:
    return abs(amounts[1] - amounts[0])


def _table(kind: _Kind, found: Sequence[PartPair], both: bool, explained: bool) -> Table:
    names = short_names((pair.label for pair in found), LONGEST_NAME)
    rows = tuple(_row(kind, pair, names[pair.label], both) for pair in found)
    shown, more, rest = rows[:_PARTS], rows[_PARTS : _PARTS + _MORE], found[_PARTS + _MORE :]
    words = Counter(filter(None, (row.tag or _recount(row) for row in rows)))
    return Table(
        title=kind.title,
        glance=", ".join([str(len(rows)), *(f"{count} {word}" for word, count in words.items())]),
        item=kind.item,
        amount=kind.amount,
        compared=both,
        has_kinds=any(row.kind for row in rows),
        open=not explained and kind.key != "calls" and (kind.key == "kernels" or bool(words)),
        rows=shown,
        more=tuple(replace(row, raw=()) for row in more),
        rest=_rest(kind, rest, both),
    )


def _pairs(key: Breakdown, sides: Sides, renamed: Mapping[str, str]) -> list[PartPair]:
    """The lines of a breakdown in the newer one's order; kernels are followed to new names."""
    found = pairs(key, sides)
    if key != "kernels":
        return [PartPair(*one) for one in found]
    thens = {label: then for label, then, _ in found}
    old_of = {new: old for old, new in renamed.items()}
    return [
        PartPair(label, thens[old_of.get(label, label)], now, old_of.get(label, ""))
        for label, _, now in found
        if label not in renamed
    ]


def renamed_in(sides: Sides) -> dict[str, str]:
    """By the name in the baseline, the name now, of kernels that go by another name."""
    now, then = sides
    if now is None or then is None:
        return {}
    before, after = ({part.label: part for part in one.kernels} for one in (then, now))
    return renamed_kernels(before, after)


def kernel_marks(sides: Sides, renamed: Mapping[str, str]) -> dict[str, Mark]:
    """By their names, kernels that are new, gone or slower.

    A slower one takes at least a twentieth longer each time, and together that is at least a
    hundredth of what all kernels take.
    """
    now, then = sides
    if now is None or then is None:
        return {}
    least = _NOTABLE * sum(part.ns for part in now.kernels)
    found: dict[str, Mark] = {}
    for pair in _pairs("kernels", sides, renamed):
        before, after = pair.then, pair.now
        if before is None or after is None:
            found[pair.label] = "new" if before is None else "gone"
        elif before.count and after.count:
            change = after.ns / after.count - before.ns / before.count
            if change * before.count >= _SLOWER * before.ns and change * after.count >= least > 0:
                found[pair.label] = "slower"
    return found


def how_changed(then: Part | None, now: Part | None) -> str:
    """What became of a part that is compared: it is new, gone or re-tuned; empty if neither.

    It is re-tuned where other variants of a kernel run than then, and both sides know their raw
    names, which baselines in files do not keep.
    """
    if then is None or now is None:
        return "new" if then is None else "gone"
    return "re-tuned" if then.raw and now.raw and not {*then.raw} & {*now.raw} else ""


def _recount(row: Row) -> str:
    return "with a changed count" if " -> " in row.count else ""


def _rest(kind: _Kind, rest: Sequence[PartPair], both: bool) -> str:
    """What is said of the lines that are not listed."""
    if not rest:
        return ""
    amounts = zip(*(pair.amounts(kind.unit) for pair in rest), strict=True)
    then, now = (shown_amount(sum(side), kind.unit) for side in amounts)
    if both:
        return f"{len(rest)} more, which changed less, are not listed: together {then} -> {now}"
    alone = now if any(pair.now for pair in rest) else then
    return f"{len(rest)} more are not listed: together {alone}"


def _row(kind: _Kind, pair: PartPair, name: str, both: bool) -> Row:
    then, now = pair.then, pair.now
    before, after = (shown_amount(part.count if part else 0.0, "1") for part in (then, now))
    amounts = pair.amounts(kind.unit)
    row = Row(
        name,
        kind="".join([part.category for part in (now, then) if part][:1]),
        full=pair.label if name != pair.label else "",
        raw=now.raw[:_RAW_NAMES] if now and kind.key == "kernels" else (),
    )
    if not both:
        count, amount = (before, amounts[0]) if now is None else (after, amounts[1])
        shown = shown_amount(amount, kind.unit)
        return replace(row, now=shown, count=count, now_value=sortable(amount))
    return replace(
        row,
        then=NOTHING if then is None else shown_amount(amounts[0], kind.unit),
        now=NOTHING if now is None else shown_amount(amounts[1], kind.unit),
        change=shown_change(*amounts, kind.unit),
        count=after if before == after else f"{before} -> {after}",
        tag="renamed" if pair.before else how_changed(then, now),
        before=pair.before,
        relaunched=relaunched(then, now),
        value=sortable(amounts[1] - amounts[0]),
        then_value=sortable(amounts[0]),
        now_value=sortable(amounts[1]),
    )
