"""What windows and their changes are made of, as rows of formatted strings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.kernels.match import match
from pytest_nsys.measure.measurement import Part, Parts, WindowMeasurement
from pytest_nsys.report.html.waterfall import Scale
from pytest_nsys.report.json import pairs
from pytest_nsys.support.units import Unit, format_amount, format_change
from pytest_nsys.verdict.verdict import Comparison
from pytest_nsys.verdict.wording import shorten

NOTHING = "\N{EN DASH}"

_ORIGINS = 10
_PARTS = 12
_MORE = 48
_RAW_NAMES = 3
_LONG = 300
_REMAINDER = "remainder (medians of parts need not add up to the median of the whole)"


@dataclass(frozen=True)
class Row:
    """One line of a table; what a table has no column for stays empty.

    Attributes:
        name: what it is, shortened where that loses nothing.
        then: the baseline's amount.
        now: the current amount.
        change: from then to now.
        count: how many.
        kind: category of a kernel.
        tag: new, gone, renamed, re-tuned; empty for what is as it was.
        full: the whole name; empty where ``name`` is all of it.
        before: the name in the baseline, where it was another.
        raw: names as the capture has them.
        value: the change as a number, by which a script sorts.
        then_value: the baseline's amount so.
        now_value: the current amount so.
    """

    name: str
    then: str = ""
    now: str = ""
    change: str = ""
    count: str = ""
    kind: str = ""
    tag: str = ""
    full: str = ""
    before: str = ""
    raw: tuple[str, ...] = ()
    value: str = ""
    then_value: str = ""
    now_value: str = ""


@dataclass(frozen=True)
class Origin:
    """Where the change of a metric comes from: rows and rest add up to the total."""

    metric: str
    rows: tuple[Row, ...]
    rest: tuple[Row, ...]
    then: str
    now: str
    total: str
    open: bool


@dataclass(frozen=True)
class Table:
    """One breakdown of a window; ``more`` is what is folded, ``rest`` says what is not listed."""

    title: str
    glance: str
    item: str
    amount: str
    compared: bool
    has_kinds: bool
    open: bool
    rows: tuple[Row, ...]
    more: tuple[Row, ...]
    rest: str = ""


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


def take_apart(part: Comparison) -> Origin:
    """A change taken apart, in one unit with one precision so that what is shown adds up."""
    unit = part.metric.unit
    total = (part.current or 0.0) - (part.baseline or 0.0)
    scale = Scale.of(total, unit, [total, *(culprit.change for culprit in part.culprits)])
    largest = sorted(part.culprits, key=lambda culprit: -abs(culprit.change))
    kept = {
        culprit.label
        for rank, culprit in enumerate(largest[:_ORIGINS])
        if scale.steps(culprit.change) and (rank < 3 or abs(culprit.change) >= abs(total) / 100)
    }
    named = [culprit for culprit in part.culprits if culprit.label in kept]
    names = short_names([culprit.label for culprit in named])

    def share(steps: int) -> str:
        return shown_share(steps, scale.steps(total))

    left = scale.steps(total) - sum(scale.steps(culprit.change) for culprit in named)
    others = len(part.culprits) - len(named)
    missing = scale.steps(total - sum(culprit.change for culprit in part.culprits))
    rest = [f"{others} smaller"] if others else []
    rest += [_REMAINDER] if missing else [] if others else ["rounding"]
    last = Row(" and ".join(rest), change=scale.signed(left), count=share(left))
    return Origin(
        metric=part.metric.key,
        rows=tuple(
            Row(
                names[culprit.label],
                full=culprit.label if names[culprit.label] != culprit.label else "",
                then=_part_amount(culprit.baseline, unit, culprit.factors[0]),
                now=_part_amount(culprit.current, unit, culprit.factors[1]),
                change=scale.signed(scale.steps(culprit.change)),
                count=share(scale.steps(culprit.change)),
                tag=_tag(culprit.baseline, culprit.current),
            )
            for culprit in named
        ),
        rest=(last,) if left or others else (),
        then=shown_amount(part.baseline, unit),
        now=shown_amount(part.current, unit),
        total=scale.signed(scale.steps(total)),
        # What is counted stands under the time or the bytes already.
        open=not part.metric.key.endswith((".kernel_count", "2h.count", "2d.count", "p.count")),
    )


def _part_amount(part: Part | None, unit: Unit, factor: float) -> str:
    """The amount, per unit where the metric is, and how often there was one in a round."""
    if part is None:
        return NOTHING
    if unit == "1":
        return shown_amount(part.count * factor, unit)
    amount = shown_amount(_size(part, unit) * factor, unit)
    return f"{amount} ({shown_amount(part.count, '1')}x)"


def _tag(then: Part | None, now: Part | None) -> str:
    return "new" if then is None else "gone" if now is None else ""


def part_table(
    kind: _Kind,
    now: WindowMeasurement | None,
    then: WindowMeasurement | None,
    explained: Collection[Breakdown] = (),
) -> Iterator[Table]:
    """The table of a breakdown, if it has any line, the largest change first.

    Args:
        kind: which breakdown.
        now: the window; None where only the baseline has it.
        then: the window in the baseline, if there is one.
        explained: breakdowns whose changes are shown elsewhere already: these tables are folded.
    """
    found = lines(kind.key, now, then)
    if not found:
        return
    both = now is not None and then is not None
    if both:
        found.sort(key=lambda line: -abs(_size(line.now, kind.unit) - _size(line.then, kind.unit)))
    names = short_names([line.label for line in found])
    rows = tuple(_part(kind, line, names[line.label], both) for line in found)
    shown, more, rest = rows[:_PARTS], rows[_PARTS : _PARTS + _MORE], found[_PARTS + _MORE :]
    words = Counter(filter(None, (row.tag or _recount(row) for row in rows)))
    yield Table(
        title=kind.title,
        glance=", ".join([str(len(rows)), *(f"{count} {word}" for word, count in words.items())]),
        item=kind.item,
        amount=kind.amount,
        compared=both,
        has_kinds=any(row.kind for row in rows),
        open=kind.key not in (*explained, "calls") and (kind.key == "kernels" or bool(words)),
        rows=shown,
        more=tuple(replace(row, raw=()) for row in more),
        rest=_rest(kind, rest, both),
    )


@dataclass(frozen=True)
class Line:
    """A part of a window, then and now; ``how`` is empty for what is as it was."""

    label: str
    before: str
    then: Part | None
    now: Part | None
    how: str


def lines(
    key: Breakdown, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> list[Line]:
    """The lines of a breakdown in the newer one's order; kernels are followed to new names."""
    before, after = (w.breakdown.get(key, Parts()).parts if w else () for w in (then, now))
    renamed = renamed_kernels(now, then) if key == "kernels" else {}
    olds = {part.label: part for part in before}
    old_of = {new: old for old, new in renamed.items()}
    found = []
    for label, old, new in pairs(after, before):
        if label in renamed:
            continue
        if label in old_of:
            found.append(Line(label, old_of[label], olds[old_of[label]], new, "renamed"))
        else:
            how = _tag(old, new) if now and then else ""
            found.append(Line(label, "", old, new, how or retuned(old, new)))
    return found


def renamed_kernels(
    now: WindowMeasurement | None, then: WindowMeasurement | None
) -> dict[str, str]:
    """By the name in the baseline, the name now, of kernels that go by another name."""
    if now is None or then is None:
        return {}
    before = {part.label: part for part in then.kernels}
    after = {part.label: part for part in now.kernels}
    category = {label: part.category for label, part in (*before.items(), *after.items())}
    found = match(before, after, canonical=str, category=category.__getitem__)
    return {
        one.baseline: one.current
        for one in found
        if one.how == "renamed" and one.baseline is not None and one.current is not None
    }


def retuned(then: Part | None, now: Part | None) -> str:
    """Whether other variants of the kernel run than then, where both sides know their raw names.

    Baselines in files do not keep raw names.
    """
    before, after = ({*part.raw} if part else set() for part in (then, now))
    return "re-tuned" if before and after and not before & after else ""


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Per label its short form; of labels with the same one, as much as tells them apart."""
    short = {label: shorten(label) for label in labels}
    times = Counter(short.values())
    seen: Counter[str] = Counter()
    for label, name in short.items():
        if times[name] > 1:
            seen[name] += 1
            short[label] = label if len(label) <= _LONG else f"{name} ({seen[name]})"
    return short


def _recount(row: Row) -> str:
    return "with a changed count" if " -> " in row.count else ""


def _rest(kind: _Kind, rest: Sequence[Line], both: bool) -> str:
    """What is said of the lines that are not listed."""
    if not rest:
        return ""
    then = shown_amount(sum(_size(line.then, kind.unit) for line in rest), kind.unit)
    now = shown_amount(sum(_size(line.now, kind.unit) for line in rest), kind.unit)
    if both:
        return f"{len(rest)} more, which changed less, are not listed: together {then} -> {now}"
    alone = now if any(line.now for line in rest) else then
    return f"{len(rest)} more are not listed: together {alone}"


def _part(kind: _Kind, line: Line, name: str, both: bool) -> Row:
    then, now = line.then, line.now
    before, after = (shown_amount(part.count if part else 0.0, "1") for part in (then, now))
    category = "".join([part.category for part in (now, then) if part][:1])
    sizes = _size(then, kind.unit), _size(now, kind.unit)
    row = Row(
        name,
        kind=category,
        full=line.label if name != line.label else "",
        raw=now.raw[:_RAW_NAMES] if now and kind.key == "kernels" else (),
    )
    if not both:
        count, size = (before, sizes[0]) if now is None else (after, sizes[1])
        return replace(
            row, now=shown_amount(size, kind.unit), count=count, now_value=sortable(size)
        )
    return replace(
        row,
        then=NOTHING if then is None else shown_amount(sizes[0], kind.unit),
        now=NOTHING if now is None else shown_amount(sizes[1], kind.unit),
        change=shown_change(*sizes, kind.unit),
        count=after if before == after else f"{before} -> {after}",
        tag=line.how,
        before=line.before,
        value=sortable(sizes[1] - sizes[0]),
        then_value=sortable(sizes[0]),
        now_value=sortable(sizes[1]),
    )


def sortable(value: float | None) -> str:
    """A number that a script sorts by; empty where there is none."""
    return f"{value:.6g}" if value is not None and math.isfinite(value) else ""


def _size(part: Part | None, unit: Unit) -> float:
    if part is None:
        return 0.0
    return part.bytes if unit == "B" else part.ns


def shown_amount(value: float | None, unit: Unit) -> str:
    return NOTHING if value is None or not math.isfinite(value) else format_amount(value, unit)


def shown_share(part: float, total: float) -> str:
    """A part in percent, which never is "-0%"."""
    return f"{round(100 * part / total)}%" if total else NOTHING


def shown_change(then: float | None, now: float | None, unit: Unit) -> str:
    """The change in the unit, and as a fraction where that says something."""
    if then is None or now is None or not math.isfinite(now - then):
        return NOTHING
    change = format_change(then, now, unit)
    if unit in ("1", "%") or not then or now == then:
        return change
    return f"{'+' if now > then else '-'}{format_amount(abs(now - then), unit)} ({change})"
