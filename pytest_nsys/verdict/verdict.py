"""What a judgement says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from pytest_nsys.catalogue import Metric
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.rule import FAMILY_LEVEL

Status = Literal[
    "ok",
    "improved",
    "expected",
    "new",
    "inconclusive",
    "incomparable",
    "violated",
    "over budget",
    "regressed",
]
"""Of a comparison, a requirement, or a whole test, whose status is the worst of its parts; from the
best to the worst. "expected" is a regression that was announced beforehand."""

SEVERITY: Mapping[Status, int] = {status: place for place, status in enumerate(get_args(Status))}
"""The worse, the higher."""


@dataclass(frozen=True)
class Contribution:
    """How much of a metric's change one kernel, copy or call makes up.

    Attributes:
        label: what it is.
        baseline: its part of a round then; None if it is new.
        current: its part of a round now; None if it is gone.
        change: in the metric's unit; contributions of one metric add up to its change.
        factors: what the amounts of a round then and now are multiplied by, to be in the metric's
            unit: one over the units that a round processed, for ``X.per_unit``.
        before: of a kernel that goes by another name now, that in the baseline.
    """

    label: str
    baseline: Part | None
    current: Part | None
    change: float
    factors: tuple[float, float] = (1.0, 1.0)
    before: str = ""


Cause = Literal["clock", "gpu"]
"""What limits the resolution: the clock's ticks, or that the baseline is another GPU's."""


@dataclass(frozen=True)
class Resolution:
    """The change, in the metric's unit, below which kernels' times say nothing, and why."""

    amount: float = 0.0
    cause: Cause = "clock"


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
        limit: the largest change that passes, in the metric's unit: the tolerance's, or the noise
            or the resolution where that is larger; None where nothing was compared.
        noise: standard error of the change; None of an exact metric.
        detectable: the smallest true change that this comparison would have found with 95 %
            probability; None of an exact metric.
        resolution: the change below which kernels' times say nothing; 0 for other metrics.
        beyond: whether a timed metric is beyond its tolerance, be it by noise or not.
        reason: why a regression is expected, and until when; "" if it is not.
        culprits: what the change is made of, largest part first; only where it got worse.
        note: why it is incomparable, new or inconclusive, in words.
    """

    window: str
    metric: Metric
    status: Status
    gated: bool
    baseline: float | None
    current: float | None
    tolerance: Tolerance | None = None
    limit: float | None = None
    noise: float | None = None
    detectable: float | None = None
    resolution: Resolution = field(default_factory=Resolution)
    beyond: bool = False
    reason: str = ""
    culprits: tuple[Contribution, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Requirement:
    """A budget, ``require``, ``forbid`` or ``check`` that does not hold.

    Attributes:
        window: name of the window.
        status: "over budget" or "violated".
        text: what was required and what was found, one sentence.
        said: what a ``check`` says of it: its message, or its source. Only the terminal shows it:
            either may hold anything.
    """

    window: str
    status: Status
    text: str
    said: str = ""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one test.

    Attributes:
        nodeid: the test; with its device as if that were a parameter, where recordings of several
            devices are judged together. The measurement's is pytest's own.
        status: the worst of its parts; where it failed, of those that it failed by.
        failed: whether the test fails by it, in the mode it was judged in.
        measurement: what was judged.
        baseline: what it was judged against, if there is any.
        comparisons: by window and metric, in the catalogue's order.
        unmet: the requirements that do not hold.
        notes: what a reader should know besides: why there is nothing to compare with, or what
            was odd about the GPU.
        warnings: what a reader is to know though the test passed: rounds outside the baseline's
            range, a baseline whose processes disagree.
        family_level: the probability that noise alone makes any timed metric of this test look
            changed in one comparison; each has an equal share of it.
        against: the revision that was measured in the same run, in the place of a stored baseline;
            "" for a stored one.
    """

    nodeid: str
    status: Status
    failed: bool
    measurement: Measurement
    baseline: Measurement | None = None
    comparisons: tuple[Comparison, ...] = ()
    unmet: tuple[Requirement, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
    warnings: tuple[str, ...] = ()
    family_level: float = FAMILY_LEVEL
    against: str = ""

    @property
    def worse(self) -> tuple[Comparison, ...]:
        """The gated comparisons that are regressed, those of which a culprit is known first, since
        what clients see is an effect."""
        found = (part for part in self.comparisons if part.status == "regressed")
        return tuple(sorted(found, key=lambda part: not part.culprits))

    @property
    def is_suspected(self) -> bool:
        """Whether a timed metric calls for another process before the test fails by it."""
        return any(
            part.beyond and part.status in ("regressed", "inconclusive")
            for part in self.comparisons
        )

    @property
    def expected(self) -> tuple[Comparison, ...]:
        """The comparisons that are worse and were expected to be."""
        return tuple(part for part in self.comparisons if part.status == "expected")

    def as_expected(self, reason: str) -> Verdict:
        """The same of a test that was expected to fail by it, and why it was."""
        marked = (
            replace(part, status="expected", reason=reason) if part.status == "regressed" else part
            for part in self.comparisons
        )
        notes = (*self.notes, f"it fails as expected: {reason}")
        return replace(self, status="expected", failed=False, comparisons=(*marked,), notes=notes)
