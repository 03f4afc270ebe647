"""Where a change comes from: rows with bars, by category and kernel, that add up to the change.

All amounts are whole numbers of the last digit that is shown, so that no rounding is left over:
a category's row is the sum of its kernels' rows, and what the kernels do not explain, because
the medians of parts need not add up to the median of the whole, is a row of its own. What is no
kernel has no category.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pytest_nsys.measure.measurement import Part
from pytest_nsys.report.html.breakdowns import how_changed
from pytest_nsys.report.html.model import Bar, Row, Waterfall
from pytest_nsys.report.html.shown import (
    KERNEL_TIME,
    LONGEST_NAME,
    shown_amount,
    shown_part,
    shown_share,
)
from pytest_nsys.report.run import Sides
from pytest_nsys.support.units import Scale, Unit, format_amount
from pytest_nsys.verdict.culprit import contributions
from pytest_nsys.verdict.relaunched import relaunched
from pytest_nsys.verdict.verdict import Comparison, Contribution
from pytest_nsys.verdict.wording import short_names

MOST_NAMED = 12
"""So many parts have rows of their own; of the others a category has one row together."""

_ALWAYS = 3
_LEAST = 0.01
_WIDTH = 160
_COUNTS = (".kernel_count", "2h.count", "2d.count", "p.count")
"""Their waterfalls are folded: what is counted stands under the time or the bytes already."""


@dataclass(frozen=True)
class Piece:
    """What one part of a round, or several small ones, make up of a change.

    Attributes:
        label: what it is; of a renamed kernel the name now; of several, how many.
        change: in steps of the scale.
        before: the name it had, where it was another.
        then: its part of a round then; None if it is new, or stands for several.
        now: its part of a round now; None if it is gone, or stands for several.
        factors: what the amounts then and now are multiplied by (`Contribution.factors`).
    """

    label: str
    change: int
    before: str = ""
    then: Part | None = None
    now: Part | None = None
    factors: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Group:
    """What the parts of one category make up together: the sum of its pieces."""

    category: str
    pieces: tuple[Piece, ...]

    @property
    def change(self) -> int:
        """In steps of the scale."""
        return sum(piece.change for piece in self.pieces)


@dataclass(frozen=True)
class TakenApart:
    """A change: ``total == sum of the groups' changes + rest``, in steps of the scale.

    Attributes:
        scale: what one step is.
        total: the change, as it is shown.
        groups: by category, what makes it worse first.
        rest: what the groups do not explain.
        unexplained: whether that is more than rounding: the medians of parts need not add up to the
            median of the whole.
    """

    scale: Scale
    total: int
    groups: tuple[Group, ...]
    rest: int
    unexplained: bool


def waterfalls(parts: Iterable[Comparison], sides: Sides) -> Iterator[Waterfall]:
    """Where the changes of a window come from: of its kernel time first, then of what got worse.

    Args:
        parts: the window's comparisons.
        sides: the window now and in the baseline.
    """
    now, then = sides
    for part in sorted(parts, key=lambda part: part.metric.key != KERNEL_TIME):
        found = part.culprits
        if part.metric.key == KERNEL_TIME and now and then:
            found = contributions(part.metric, then, now)
        if not found or part.baseline is None or part.current is None:
            continue
        taken = take_apart(part.baseline, part.current, part.metric.unit, found)
        if taken.total or taken.groups:
            yield _drawn(part, taken, (part.baseline, part.current))


def take_apart(
    then: float,
    now: float,
    unit: Unit,
    contributions: Sequence[Contribution],
) -> TakenApart:
    """The change from ``then`` to ``now`` by category and kernel.

    Args:
        then: the value of the whole in the baseline.
        now: its value now.
        unit: of both, and of the contributions.
        contributions: what the parts contribute, in the unit; they need not add up to the change.
    """
    total = now - then
    scale = Scale.of(total, unit, [total, *(part.change for part in contributions)])
    pieces = _pieces(contributions, scale)
    kept = _kept(pieces, abs(scale.steps(total)))
    groups: dict[str, list[Piece]] = defaultdict(list)
    small: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        part = piece.now or piece.then
        (groups if piece in kept else small)[part.category if part else ""].append(piece)
    for category, several in small.items():
        change = sum(piece.change for piece in several)
        if len(several) == 1 and several[0].change:
            groups[category].append(several[0])
        elif change:
            groups[category].append(Piece(f"{len(several)} smaller changes", change))
    found = [Group(category, tuple(pieces)) for category, pieces in groups.items()]
    found.sort(key=lambda group: (-group.change, group.category))
    shown = _shown(total, unit, scale)
    rest = shown - sum(group.change for group in found)
    missing = total - sum(part.change for part in contributions)
    return TakenApart(scale, shown, tuple(found), rest, bool(scale.steps(missing)))


def _pieces(contributions: Sequence[Contribution], scale: Scale) -> list[Piece]:
    pieces = (
        Piece(
            part.label,
            scale.steps(part.change),
            part.before,
            part.baseline,
            part.current,
            part.factors,
        )
        for part in contributions
    )
    return sorted(pieces, key=lambda piece: (-piece.change, piece.label))


def _kept(pieces: Sequence[Piece], total: int) -> list[Piece]:
    ranked = sorted(pieces, key=lambda piece: -abs(piece.change))[:MOST_NAMED]
    return [
        piece
        for rank, piece in enumerate(ranked)
        if piece.change and (rank < _ALWAYS or abs(piece.change) >= _LEAST * total)
    ]


def _shown(total: float, unit: Unit, scale: Scale) -> int:
    """The change in steps, just as `format_amount` rounds it in the table of metrics."""
    digits = format_amount(abs(total), unit).partition(" ")[0].replace(",", "").rstrip("%")
    steps = int(Decimal(digits).scaleb(scale.decimals))
    return -steps if total < 0 else steps


def _drawn(part: Comparison, taken: TakenApart, values: tuple[float, float]) -> Waterfall:
    unit = part.metric.unit
    then, now = (shown_amount(value, unit) for value in values)
    changed = part.status in ("regressed", "expected", "improved", "inconclusive")
    return Waterfall(
        metric=part.metric.key,
        title=f"{then} -> {now}: {taken.scale.signed(taken.total)}",
        open=changed and not part.metric.key.endswith(_COUNTS),
        width=_WIDTH,
        bars=tuple(_bars(taken, unit, Row("Total", then, now))),
    )


def _bars(taken: TakenApart, unit: Unit, total: Row) -> Iterator[Bar]:
    names = short_names(
        (piece.label for group in taken.groups for piece in group.pieces), LONGEST_NAME
    )
    spans = [*_spans(taken, unit, names, total)]
    low = min(0, *(min(start, end) for _, _, start, end in spans))
    high = max(0, *(max(start, end) for _, _, start, end in spans))
    scale = _WIDTH / max(high - low, 1)
    for level, row, start, end in spans:
        yield Bar(
            replace(
                row,
                change=taken.scale.signed(end - start),
                count=shown_share(end - start, taken.total),
            ),
            x=f"{min((min(start, end) - low) * scale, _WIDTH - 1):.1f}",
            width=f"{max(abs(end - start) * scale, 1.0):.1f}",
            direction="up" if end >= start else "down",
            zero=f"{-low * scale:.1f}",
            level=level,
        )


def _spans(
    taken: TakenApart, unit: Unit, names: Mapping[str, str], total: Row
) -> Iterator[tuple[str, Row, int, int]]:
    """Level, row, and from where to where the running total goes."""
    at = 0
    for group in taken.groups:
        if group.category:
            yield "category", Row(group.category), at, at + group.change
        for piece in group.pieces:
            yield "part", _row(piece, unit, names[piece.label]), at, at + piece.change
            at += piece.change
    if taken.rest:
        why = "differences of medians" if taken.unexplained else "rounding"
        yield "rest", Row(why), at, at + taken.rest
    yield "total", total, 0, taken.total


def _row(piece: Piece, unit: Unit, name: str) -> Row:
    if piece.then is None and piece.now is None:
        return Row(name)
    then, now = piece.factors
    return Row(
        name,
        then=shown_part(piece.then, unit, then),
        now=shown_part(piece.now, unit, now),
        tag="renamed" if piece.before else how_changed(piece.then, piece.now),
        full=piece.label if piece.label != name else "",
        before=piece.before,
        relaunched=relaunched(piece.then, piece.now),
    )
