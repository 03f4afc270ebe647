"""Which of the kernels that were measured ncu is to count."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_nsys.measure.measurement import Part
from pytest_nsys.ncu.run import Wanted
from pytest_nsys.plan.batches import PlannedTest

MOST_KERNELS = 3
"""So many of a test are counted: the first is mostly the one that matters."""


def wanted_parts(test: PlannedTest, window: str, parts: Sequence[Part]) -> Wanted:
    """The kernels of a window, as nsys has seen them, as what is to be counted."""
    return Wanted(
        test,
        window,
        {part.label: _names(part) for part in parts},
        launches=round(sum(part.count for part in parts)),
    )


def _names(part: Part) -> tuple[str, ...]:
    """What nsys has called a kernel; its label is no name where it leaves something open."""
    return part.raw if part.raw and "*" in part.label else (*part.raw, part.label)
