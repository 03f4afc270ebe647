"""A change taken apart into steps that add up to exactly the change that is shown.

All amounts are whole numbers of the last digit that is shown, so that no rounding is left over:
a category's step is the sum of its kernels' steps, and what the kernels do not explain, because
the medians of parts need not add up to the median of the whole, is a step of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pytest_nsys.measure.measurement import Part
from pytest_nsys.support.units import Unit, format_amount, parse_amount
from pytest_nsys.verdict.verdict import Contribution

MOST_KERNELS = 12
"""So many kernels are steps of their own; of the others a category has one step together."""

_MOST_DECIMALS = 7
"""Baselines keep thousandths: of two of these, as floats, the difference may be 0.0009995."""

_ALWAYS = 3
_LEAST = 0.01


@dataclass(frozen=True)
class Scale:
    """A unit and a number of decimals; amounts are whole numbers of its smallest step."""

    factor: float
    unit: str
    decimals: int

    @classmethod
    def of(cls, amount: float, unit: Unit, all_amounts: Sequence[float]) -> Scale:
        """The scale in which `format_amount` shows the amount: four digits, fewer if they do."""
        name = format_amount(abs(amount), unit).partition(" ")[2]
        factor = parse_amount(f"1 {name}", unit) if name else 1.0
        scaled = abs(amount) / factor
        most = min(_MOST_DECIMALS, max(0, 3 - math.floor(math.log10(scaled)))) if scaled else 0
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
        """The amount in steps, rounded."""
        return round(amount / self.factor * self._power)

    def signed(self, steps: int) -> str:
        """So many steps as a change for people: ``+144.3 us``."""
        # Not as a float: a large change in small steps has more digits than that holds.
        amount = Decimal(steps).scaleb(-self.decimals)
        return f"{amount:+.{self.decimals}f} {self.unit}".rstrip()


@dataclass(frozen=True)
class Step:
    """What one kernel, or several small ones, contribute.

    Attributes:
        label: what it is; of a renamed kernel the name now; of several, how many.
        before: the name it had, where it was another.
        then: its part of a round then; None if it is new, or stands for several.
        now: its part of a round now; None if it is gone, or stands for several.
        change: in steps of the scale.
    """

    label: str
    change: int
    before: str = ""
    then: Part | None = None
    now: Part | None = None


@dataclass(frozen=True)
class Group:
    """What the kernels of one category contribute together: the sum of its steps."""

    category: str
    steps: tuple[Step, ...]

    @property
    def change(self) -> int:
        """In steps of the scale."""
        return sum(step.change for step in self.steps)


@dataclass(frozen=True)
class Waterfall:
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


def waterfall(
    then: float,
    now: float,
    unit: Unit,
    contributions: Sequence[Contribution],
    renamed: Mapping[str, str] | None = None,
) -> Waterfall:
    """The change from ``then`` to ``now`` by category and kernel.

    Args:
        then: the value of the whole in the baseline.
        now: its value now.
        unit: of both, and of the contributions.
        contributions: what the parts contribute, in the unit; they need not add up to the change.
        renamed: by the name in the baseline, the name now, of kernels that are one under two names.
    """
    total = now - then
    scale = Scale.of(total, unit, [total, *(part.change for part in contributions)])
    steps = _joined(contributions, scale, renamed or {})
    kept = _kept(list(steps), abs(scale.steps(total)))
    groups: dict[str, list[Step]] = defaultdict(list)
    small: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        part = step.now or step.then
        category = (part.category if part else "") or "other"
        (groups if step in kept else small)[category].append(step)
    for category, several in small.items():
        change = sum(step.change for step in several)
        if len(several) == 1 and several[0].change:
            groups[category].append(several[0])
        elif change:
            groups[category].append(Step(f"{len(several)} smaller changes", change))
    found = [Group(category, tuple(steps)) for category, steps in groups.items()]
    found.sort(key=lambda group: (-group.change, group.category))
    shown = _shown(total, unit, scale)
    rest = shown - sum(group.change for group in found)
    missing = total - sum(part.change for part in contributions)
    return Waterfall(scale, shown, tuple(found), rest, bool(scale.steps(missing)))


def _joined(
    contributions: Sequence[Contribution], scale: Scale, renamed: Mapping[str, str]
) -> list[Step]:
    """The steps; those of a renamed kernel, gone under one name and new under another, as one."""
    changes = {part.label: part for part in contributions}
    pairs = {old: new for old, new in renamed.items() if old in changes and new in changes}
    old_of = {new: old for old, new in pairs.items()}
    steps = []
    for part in contributions:
        if part.label in pairs:
            continue
        old = changes[old_of[part.label]] if part.label in old_of else None
        steps.append(
            Step(
                part.label,
                scale.steps(part.change) + (scale.steps(old.change) if old else 0),
                old.label if old else "",
                old.baseline if old else part.baseline,
                part.current,
            )
        )
    return sorted(steps, key=lambda step: (-step.change, step.label))


def _kept(steps: Sequence[Step], total: int) -> list[Step]:
    ranked = sorted(steps, key=lambda step: -abs(step.change))[:MOST_KERNELS]
    return [
        step
        for rank, step in enumerate(ranked)
        if step.change and (rank < _ALWAYS or abs(step.change) >= _LEAST * total)
    ]


def _shown(total: float, unit: Unit, scale: Scale) -> int:
    """The change in steps, just as `format_amount` rounds it in the table of metrics."""
    digits = format_amount(abs(total), unit).partition(" ")[0].replace(",", "").rstrip("%")
    steps = int(Decimal(digits).scaleb(scale.decimals))
    return -steps if total < 0 else steps
