"""What a judgement says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_nsys.catalogue import Metric
from pytest_nsys.measurement import Measurement, Part
from pytest_nsys.quantities import Tolerance

Status = Literal[
    "ok", "improved", "regressed", "inconclusive", "new", "incomparable", "over budget", "violated"
]
"""Of a comparison, a demand, or a whole test, whose status is the worst of its parts."""

SEVERITY: Mapping[Status, int] = {
    "ok": 0,
    "improved": 1,
    "new": 2,
    "inconclusive": 3,
    "incomparable": 4,
    "violated": 5,
    "over budget": 6,
    "regressed": 7,
}
"""The worse, the higher."""


@dataclass(frozen=True)
class Contribution:
    """How much of a metric's change one kernel, copy or call makes up.

    Attributes:
        label: what it is.
        baseline: its part of a round then; None if it is new.
        current: its part of a round now; None if it is gone.
        change: in the metric's unit; contributions of one metric add up to its change.
    """

    label: str
    baseline: Part | None
    current: Part | None
    change: float


@dataclass(frozen=True)
class Comparison:
    """One metric of one window against its baseline.

    Attributes:
        window: name of the window.
        metric: what is compared.
        status: the outcome; "ok" also for metrics that are only shown.
        gated: whether it can fail the test.
        baseline: median of the baseline; None if there is none.
        current: median of the current samples; None if it was not measured.
        tolerance: what it was gated with.
        culprits: what the change is made of, largest part first; only where it got worse.
        note: why it is incomparable or new, in words.
    """

    window: str
    metric: Metric
    status: Status
    gated: bool
    baseline: float | None
    current: float | None
    tolerance: Tolerance | None = None
    culprits: tuple[Contribution, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Demand:
    """A budget, ``require``, ``forbid`` or ``check`` that does not hold.

    Attributes:
        window: name of the window.
        status: "over budget" or "violated".
        text: what was demanded and what was found, one sentence.
    """

    window: str
    status: Status
    text: str


@dataclass(frozen=True)
class Verdict:
    """The judgement of one test.

    Attributes:
        nodeid: the test.
        status: the worst of its parts.
        failed: whether the test fails by it, in the mode it was judged in.
        measurement: what was judged.
        baseline: what it was judged against, if there is any.
        comparisons: by window and metric, in the catalogue's order.
        demands: those that do not hold.
        notes: what a reader should know besides: why there is nothing to compare with.
    """

    nodeid: str
    status: Status
    failed: bool
    measurement: Measurement
    baseline: Measurement | None = None
    comparisons: tuple[Comparison, ...] = ()
    demands: tuple[Demand, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def worse(self) -> tuple[Comparison, ...]:
        """The gated comparisons that are regressed."""
        return tuple(part for part in self.comparisons if part.status == "regressed")
