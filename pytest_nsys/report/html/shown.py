"""Numbers and names as the page shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from pytest_nsys.measure.measurement import Part
from pytest_nsys.support.units import Unit, format_amount, format_full_change

KERNEL_TIME = "gpu.kernel_time"
"""What is shown of a test before all else."""

NOTHING = "\N{EN DASH}"
"""In the place of what there is not."""


LONGEST_NAME = 80
"""Characters of a kernel's name in a table; more are behind it."""

T = TypeVar("T")


def clients_first(columns: Sequence[T]) -> Sequence[T]:
    """What is shown of servers, beginning with what their clients see: throughput, first token."""
    return (*columns[1:3], *columns[:1], *columns[3:])


def shown_amount(value: float | None, unit: Unit) -> str:
    return NOTHING if value is None or not math.isfinite(value) else format_amount(value, unit)


def shown_share(part: float, total: float) -> str:
    """A part in percent, which never is "-0%"."""
    return f"{round(100 * part / total)}%" if total else NOTHING


def shown_change(then: float | None, now: float | None, unit: Unit) -> str:
    """The change in the unit, and as a share where that says something."""
    if then is None or now is None or not math.isfinite(now - then):
        return NOTHING
    return format_full_change(then, now, unit)


def shown_part(part: Part | None, unit: Unit, factor: float = 1.0) -> str:
    """The amount of a part of a round, and how often there was one.

    Args:
        part: the part.
        unit: of the amount.
        factor: what the amount is multiplied by: one over the units, where it is per unit.
    """
    if part is None:
        return NOTHING
    amount = shown_amount(part.amount(unit) * factor, unit)
    return amount if unit == "1" else f"{amount} ({shown_amount(part.count, '1')}x)"


def sortable(value: float | None) -> str:
    """A number that a script sorts by; empty where there is none."""
    return f"{value:.6g}" if value is not None and math.isfinite(value) else ""
