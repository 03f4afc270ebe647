"""What windows and their changes are made of, as rows of formatted strings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.gate.verdict import Comparison
from pytest_nsys.measurement import Part, Parts, WindowMeasurement
from pytest_nsys.quantities import Unit, format_amount, format_change, parse_amount
from pytest_nsys.report.json import pairs

NOTHING = "\N{EN DASH}"


_ORIGINS = 10


_PARTS = 12


_REMAINDER = "remainder (medians of parts need not add up to the median of the whole)"


@dataclass(frozen=True)
class Row:
    """One line of a table; what a table has no column for stays empty."""

    name: str
    then: str = ""
    now: str = ""
    change: str = ""
    count: str = ""
    kind: str = ""
    tag: str = ""


@dataclass(frozen=True)
class Origin:
    """Where the change of a metric comes from: rows and rest add up to the total."""

    metric: str
    rows: tuple[Row, ...]
    rest: tuple[Row, ...]
    then: str
    now: str
    total: str


@dataclass(frozen=True)
class Table:
    """One breakdown of a window; ``more`` is what is folded."""

    title: str
    glance: str
    item: str
    amount: str
    compared: bool
    has_kinds: bool
    open: bool
    rows: tuple[Row, ...]
    more: tuple[Row, ...]


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
class _Scale:
    """A unit and a number of decimals; amounts are whole numbers of its smallest step."""

    factor: float
    unit: str
    decimals: int

    @classmethod
    def of(cls, amount: float, unit: Unit, all_amounts: Sequence[float]) -> _Scale:
        """The scale in which `format_amount` shows the amount: four digits, fewer if they do."""
        name = format_amount(abs(amount), unit).partition(" ")[2]
        factor = parse_amount(f"1 {name}", unit) if name else 1.0
        scaled = abs(amount) / factor
        most = min(6, max(0, 3 - math.floor(math.log10(scaled)))) if scaled else 0
        scales = [cls(factor, name, decimals) for decimals in range(most + 1)]
        exact = (s for s in scales if all(map(s.holds, all_amounts)))
        return next(exact, scales[-1])

    @property
    def _power(self) -> int:
        return int(10**self.decimals)

    def holds(self, amount: float) -> bool:
        """Whether the amount is shown without any rounding."""
        return float(amount / self.factor * self._power).is_integer()

    def steps(self, amount: float) -> int:
        return round(amount / self.factor * self._power)

    def signed(self, steps: int) -> str:
        # Not as a float: a large change in small steps has more digits than that holds.
        amount = Decimal(steps).scaleb(-self.decimals)
        return f"{amount:+.{self.decimals}f} {self.unit}".rstrip()


def take_apart(part: Comparison) -> Origin:
    """A change taken apart, in one unit with one precision so that what is shown adds up."""
    unit = part.metric.unit
    total = (part.current or 0.0) - (part.baseline or 0.0)
    scale = _Scale.of(total, unit, [total, *(culprit.change for culprit in part.culprits)])
    largest = sorted(part.culprits, key=lambda culprit: -abs(culprit.change))
    kept = {
        culprit.label
        for rank, culprit in enumerate(largest[:_ORIGINS])
        if scale.steps(culprit.change) and (rank < 3 or abs(culprit.change) >= abs(total) / 100)
    }
    named = [culprit for culprit in part.culprits if culprit.label in kept]

    def share(steps: int) -> str:
        return f"{steps / scale.steps(total):.0%}" if scale.steps(total) else NOTHING

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
                culprit.label,
                then=_part_amount(culprit.baseline, unit),
                now=_part_amount(culprit.current, unit),
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
    )


def _part_amount(part: Part | None, unit: Unit) -> str:
    if part is None:
        return NOTHING
    count = shown_amount(part.count, "1")
    return count if unit == "1" else f"{shown_amount(_size(part, unit), unit)} ({count}x)"


def _tag(then: Part | None, now: Part | None) -> str:
    return "new" if then is None else "gone" if now is None else ""


def part_table(
    kind: _Kind, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> Iterator[Table]:
    """The table of a breakdown, if it has any line, the largest change first."""
    before, after = (w.breakdown.get(kind.key, Parts()).parts if w else () for w in (then, now))
    found = pairs(after, before)
    if not found:
        return
    both = now is not None and then is not None
    if both:
        found.sort(key=lambda line: -abs(_size(line[2], kind.unit) - _size(line[1], kind.unit)))
    rows = tuple(_part(kind, *line, both) for line in found)
    tags = (row.tag or ("with a changed count" if " -> " in row.count else "") for row in rows)
    words = Counter(filter(None, tags))
    yield Table(
        title=kind.title,
        glance=", ".join([str(len(rows)), *(f"{count} {word}" for word, count in words.items())]),
        item=kind.item,
        amount=kind.amount,
        compared=both,
        has_kinds=any(row.kind for row in rows),
        open=kind.key == "kernels" or (bool(words) and kind.key != "calls"),
        rows=rows[:_PARTS],
        more=rows[_PARTS:],
    )


def _part(kind: _Kind, label: str, then: Part | None, now: Part | None, both: bool) -> Row:
    before, after = (shown_amount(part.count if part else 0.0, "1") for part in (then, now))
    category = "".join([part.category for part in (now, then) if part][:1])
    sizes = _size(then, kind.unit), _size(now, kind.unit)
    if not both:
        count, size = (before, sizes[0]) if now is None else (after, sizes[1])
        return Row(label, now=shown_amount(size, kind.unit), count=count, kind=category)
    return Row(
        label,
        then=NOTHING if then is None else shown_amount(sizes[0], kind.unit),
        now=NOTHING if now is None else shown_amount(sizes[1], kind.unit),
        change=shown_change(*sizes, kind.unit),
        count=after if before == after else f"{before} -> {after}",
        kind=category,
        tag=_tag(then, now),
    )


def _size(part: Part | None, unit: Unit) -> float:
    if part is None:
        return 0.0
    return part.bytes if unit == "B" else part.ns


def shown_amount(value: float | None, unit: Unit) -> str:
    return NOTHING if value is None or not math.isfinite(value) else format_amount(value, unit)


def shown_change(then: float | None, now: float | None, unit: Unit) -> str:
    """The change in the unit, and as a fraction where that says something."""
    if then is None or now is None or not math.isfinite(now - then):
        return NOTHING
    change = format_change(then, now, unit)
    if unit in ("1", "%") or not then or now == then:
        return change
    return f"{'+' if now > then else '-'}{format_amount(abs(now - then), unit)} ({change})"
