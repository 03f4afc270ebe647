"""On which side of a change a commit is: as the good one, or as the bad one.

A change of the test between GOOD and BAD is looked for, not any. So a commit is held against the
middle between the two, with the statistics of the gate: the standard error of the change, Student's
t, and the resolution of kernels' times (`pytest_nsys.verdict.rule`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_nsys.catalogue import Kind, Metric, lookup
from pytest_nsys.errors import UnknownMetric
from pytest_nsys.measure.measurement import Samples, process_medians
from pytest_nsys.support.units import Tolerance, Unit
from pytest_nsys.verdict.noise import estimate, prior_spread
from pytest_nsys.verdict.power import plan
from pytest_nsys.verdict.rule import FAMILY_LEVEL, critical, default_rule

PROCESSES = (2, 3, 5, 8)
"""How many processes of each of the two commits are tried."""

_SHARE = 0.8
"""Of half the change, how much noise may explain where processes are planned: now and then they
scatter more, and a step that is inconclusive is measured again, which takes longer."""

Side = Literal["good", "bad", "inconclusive"]


@dataclass(frozen=True)
class Target:
    """What got worse.

    Attributes:
        nodeid: the test.
        window: its window.
        key: of the metric.
        unit: of the metric.
        kind: of the metric.
        worse: the direction in which it gets worse.
    """

    nodeid: str
    window: str
    key: str
    unit: Unit
    kind: Kind
    worse: Literal["up", "down"]

    @property
    def metric(self) -> Metric:
        """The metric; one of a project's own is known by what the results say of it."""
        try:
            return lookup(self.key)
        except UnknownMetric:
            return Metric(self.key, self.unit, self.kind, about="", worse=self.worse)


@dataclass(frozen=True)
class Reading:
    """What GOOD and another commit measured beside each other.

    Attributes:
        good: samples of GOOD.
        here: samples of the commit.
        resolution: the change below which the metric says nothing, in its unit.
    """

    good: Samples
    here: Samples
    resolution: float = 0.0

    def and_again(self, other: Reading) -> Reading:
        """The processes of both."""
        return Reading(
            self.good + other.good,
            self.here + other.here,
            max(self.resolution, other.resolution),
        )


@dataclass(frozen=True)
class Shift:
    """How far a commit is from GOOD, in the metric's unit; above 0 is worse.

    Attributes:
        amount: the change.
        limit: what noise, or the resolution, explains.
        low: the lower end of the 95 % confidence interval of the change.
        high: its upper end.
        processes: the change of each process of the commit.
        good: the value of GOOD.
        here: that of the commit.
    """

    amount: float
    limit: float
    low: float
    high: float
    processes: tuple[float, ...]
    good: float
    here: float


def shift(target: Target, reading: Reading, level: float, reference: float = 0.0) -> Shift:
    """How far a commit is from GOOD.

    Args:
        target: what is looked at.
        reading: what was measured.
        level: the probability that noise alone goes beyond the limit, in one direction.
        reference: the value of GOOD in the run that the search began with. What the machine has
            become slower by since then made both slower, and the change grew with them: a timed
            change is given as the share of GOOD's value that it is, times this. 0: as it is.
    """
    metric = target.metric
    none = Tolerance()
    ruling = default_rule(
        metric, none, reading.good, reading.here, level=level, resolution=reading.resolution
    )
    then, now = ruling.baseline, ruling.current
    factor = reference / then if metric.kind == "timed" and reference and then else 1.0
    scale = factor if metric.worse == "up" else -factor
    changes = tuple(scale * (median - then) for median in process_medians(reading.here))
    amount, around, limit = scale * (now - then), 0.0, 0.0
    if ruling.noise is not None:
        noise = estimate(reading.good, reading.here, spread=prior_spread(metric))
        around = critical(noise, 0.025) * ruling.noise * factor
        limit = ruling.limit * factor
    return Shift(amount, limit, amount - around, amount + around, changes, then, now)


def side_of(one: Shift, good: float, bad: float) -> Side:
    """Whether a commit is as GOOD or as BAD.

    It is on the side that its change is nearer to. That is certain where noise explains no half of
    the way from one to the other: then it does not bring a commit of one level beyond the middle.
    A commit in between (another one made part of the change) may be either, for the levels come
    nearer to each other with each step, and so the search ends at one of these commits.

    It is inconclusive where noise is larger than that and hides on which side the commit is, and
    where some processes are as GOOD and others as BAD.

    Args:
        one: the commit.
        good: the largest change of those that are as GOOD; 0 is that of GOOD itself.
        bad: the smallest change of those that are as BAD.
    """
    middle, half = (good + bad) / 2, (bad - good) / 2
    if one.limit > max(half, abs(one.amount - middle)):
        return "inconclusive"
    clear = half / 2
    if min(one.processes) < middle - clear and max(one.processes) > middle + clear:
        return "inconclusive"
    return "bad" if one.amount > middle else "good"


def is_worse(target: Target, reading: Reading) -> bool:
    """Whether a commit is worse than the one beside it by more than noise explains."""
    rule = default_rule(
        target.metric, Tolerance(), reading.good, reading.here, resolution=reading.resolution
    )
    return rule.decision == "regressed"


def enough_processes(
    target: Target, reading: Reading, half: float, level: float, least: int = PROCESSES[0]
) -> int:
    """How many processes of each commit tell a change of ``half`` from none; the most that are
    tried, where that is not enough.

    Args:
        target: what is looked at.
        reading: what was measured first; it says how large the noise is.
        half: half of the change, in the metric's unit.
        level: as of `shift`.
        least: no fewer are asked for.
    """
    if target.kind == "exact":
        return least
    noise = estimate(reading.good, reading.here, spread=prior_spread(target.metric))
    rounds, allowed = round(noise.rounds), _SHARE * half
    counts = [least, *(count for count in PROCESSES if count > least)]
    for count in counts:
        planned = plan(noise, allowed, baseline=count, processes=count, rounds=rounds, level=level)
        if planned.limit <= allowed:
            return count
    return counts[-1]


def level_of(steps: int) -> float:
    """What each of so many decisions may go wrong by, for 1 % in a search (Bonferroni)."""
    return FAMILY_LEVEL / max(1, steps)
