"""The statistical rule: do two sets of samples of one metric differ, and which way?

One function behind one signature, so that another rule takes its place without anything else
knowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Literal, Protocol

from pytest_nsys.catalogue import Metric
from pytest_nsys.measure.measurement import Samples, centre, process_medians
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.noise import Noise, estimate, mean_rounds, prior_spread
from pytest_nsys.verdict.ranks import larger_by_chance
from pytest_nsys.verdict.student import critical_value

Decision = Literal["ok", "improved", "regressed", "inconclusive"]

Doubt = Literal["", "process", "ranks"]
"""Why a change beyond the limit is none for certain: a process that does not show it, or the
rounds' ranks."""

FAMILY_LEVEL = 0.01
"""The probability that noise alone makes a comparison of one test look like a change, before it
is measured again; shared by all timed metrics that gate the test."""

POWER = 0.95
"""How surely a change of the size called detectable is seen."""


@dataclass(frozen=True)
class Ruling:
    """What a rule says of one metric; amounts are in its unit.

    Attributes:
        decision: the answer.
        baseline: the value compared with.
        current: the value compared.
        limit: the largest change that passes: the tolerance, or the noise or the clock's resolution
            where that is larger.
        noise: standard error of the change; None where a metric is compared exactly.
        detectable: the smallest true change that such a comparison finds with 95 % probability.
        beyond: whether the change is beyond the tolerance in the worse direction, be it noise or
            not: what is measured again before it fails.
        doubt: what speaks against a change beyond the limit.
        strays: of an exact metric, the rounds that alone would have been a regression, though their
            processes' medians are none.
    """

    decision: Decision
    baseline: float
    current: float
    limit: float
    noise: float | None = None
    detectable: float = 0.0
    beyond: bool = False
    doubt: Doubt = ""
    strays: int = 0


class Rule(Protocol):
    """Compares the samples of one metric."""

    def __call__(
        self,
        metric: Metric,
        tolerance: Tolerance,
        baseline: Samples,
        current: Samples,
        *,
        level: float = FAMILY_LEVEL,
        resolution: float = 0.0,
    ) -> Ruling: ...


def default_rule(
    metric: Metric,
    tolerance: Tolerance,
    baseline: Samples,
    current: Samples,
    *,
    level: float = FAMILY_LEVEL,
    resolution: float = 0.0,
) -> Ruling:
    """Exact metrics against the baseline's range, timed ones against tolerance and noise.

    Args:
        metric: what is compared.
        tolerance: how far it may move.
        baseline: its samples then.
        current: its samples now.
        level: the probability of a false alarm that this metric may use up.
        resolution: the change below which a timed metric says nothing, in its unit.
    """
    if metric.kind == "exact":
        return _exact(metric, tolerance, baseline, current)
    return _timed(metric, tolerance, baseline, current, level, resolution)


def _exact(metric: Metric, tolerance: Tolerance, baseline: Samples, current: Samples) -> Ruling:
    """Beyond the range of the baseline's samples by more than the tolerance.

    For a deterministic metric the range is a single value: then, with no tolerance, it is a test
    for equality. One process is enough to be worse, whatever the others say, and better are all.
    """
    sign = 1 if metric.worse == "up" else -1
    then = [sign * sample for process in baseline for sample in process]
    best, worst = min(then), max(then)
    now = max(sign * median for median in process_medians(current))
    allowed = worst + tolerance.limit(abs(worst))
    decision: Decision = "ok"
    nearest, value = centre(baseline), centre(current)
    if now > allowed:
        decision, nearest, value = "regressed", sign * worst, sign * now
    elif now < best - tolerance.limit(abs(best)):
        decision, nearest = "improved", sign * best
    rounds = [sign * sample for process in current for sample in process]
    return Ruling(
        decision,
        nearest,
        value,
        tolerance.limit(abs(worst)) + abs(sign * worst - nearest),
        strays=0 if decision == "regressed" else sum(sample > allowed for sample in rounds),
    )


def _timed(
    metric: Metric,
    tolerance: Tolerance,
    baseline: Samples,
    current: Samples,
    level: float,
    resolution: float,
) -> Ruling:
    """Beyond the tolerance, beyond what noise and the clock explain, and confirmed by the ranks.

    The change of the medians is held against its standard error with Student's t (see
    `pytest_nsys.verdict.noise`), and the rounds' ranks must agree (one-sided Mann-Whitney U test),
    where so few rounds can attain the level at all. Every process must show it: one that is within
    the baseline's range says that processes of this test are in one state or another, of which the
    baseline knows one. A change within the tolerance is "ok" only where noise would not have hidden
    one beyond it, or where the change's upper confidence limit is within the tolerance (a test of
    non-inferiority at 95 %).
    """
    then, now = centre(baseline), centre(current)
    allowed = tolerance.limit(then)
    noise = estimate(baseline, current, spread=prior_spread(metric))
    rounds = mean_rounds(baseline), mean_rounds(current)
    error = noise.of_change(len(baseline), len(current), rounds)
    by_noise = critical(noise, level) * error
    limit = max(allowed, by_noise, resolution)
    change = now - then if metric.worse == "up" else then - now
    decision: Decision
    doubt = _doubt(baseline, current, up=now > then, level=level) if abs(change) > limit else ""
    if abs(change) > limit and not doubt:
        decision = "regressed" if change > 0 else "improved"
    elif change > allowed:
        decision = "inconclusive"
    elif by_noise <= allowed or change + critical(noise, 1 - POWER) * error <= allowed:
        decision = "ok"
    else:
        decision = "inconclusive"
    return Ruling(
        decision,
        baseline=then,
        current=now,
        limit=limit,
        noise=error,
        detectable=detectable(noise, max(allowed, resolution), error, level),
        beyond=change > allowed,
        doubt=doubt,
    )


def _doubt(baseline: Samples, current: Samples, *, up: bool, level: float) -> Doubt:
    """What speaks against a change beyond the limit."""
    then, now = process_medians(baseline), process_medians(current)
    if (min(now) <= max(then)) if up else (max(now) >= min(then)):
        return "process"
    return "" if ranks_agree(baseline, current, up=up, level=level) else "ranks"


def critical(noise: Noise, level: float) -> float:
    """The one-sided critical value of Student's t distribution at this level."""
    return critical_value(noise.freedom, level)


def detectable(noise: Noise, allowed: float, error: float, level: float) -> float:
    """The smallest true change that is found with a probability of 95 %.

    That which is above the limit by what noise takes away in one of twenty cases.
    """
    return max(allowed, critical(noise, level) * error) + critical(noise, 1 - POWER) * error


def is_out_of_reach(metric: Metric, baseline: float, change: float) -> bool:
    """Whether no value can be worse by so much: what is better the more of it there is cannot fall
    by all that there is."""
    return metric.worse == "down" and 0 < baseline <= change


def ranks_agree(baseline: Samples, current: Samples, *, up: bool, level: float) -> bool:
    """Whether a one-sided Mann-Whitney U test of the rounds rejects equality, where it can."""
    then = [sample for process in baseline for sample in process]
    now = [sample for process in current for sample in process]
    if 1 / comb(len(then) + len(now), len(now)) > level:
        return True
    return (larger_by_chance(now, then) if up else larger_by_chance(then, now)) <= level
