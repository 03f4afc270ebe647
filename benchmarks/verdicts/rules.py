"""The rules that are compared: ours, the obvious ones, and those of three benchmarking tools.

Each says of two sets of samples whether the second is slower. The tools' rules are written anew
from what they do; the revisions read are named with each. What is a "baseline" differs: a tool that
compares with one stored run gets one process, the others all of them.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pytest_nsys.catalogue import lookup
from pytest_nsys.measure.measurement import (
    Environment,
    Measurement,
    Part,
    Parts,
    Samples,
    WindowMeasurement,
    centre,
)
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.clock import CLOCK
from pytest_nsys.verdict.compare import compare
from pytest_nsys.verdict.rule import default_rule
from pytest_nsys.verdict.verdict import Comparison

SamplesByMetric = Mapping[str, Samples]
"""Samples by metric, as in `pytest_nsys.measure.measurement.WindowMeasurement`."""

Says = Callable[[SamplesByMetric, SamplesByMetric, str], bool]
"""Whether a metric is slower: of the baseline, of one process now, by its key."""

COUNT = "gpu.kernel_count"
CONFIRMATIONS = 2


@dataclass(frozen=True)
class Rule:
    """A rule of a table.

    Attributes:
        name: how the table calls it.
        says: the rule.
        about: what it does, and where that was read.
    """

    name: str
    says: Says
    about: str


# Ours


def ours(
    then: SamplesByMetric,
    supply: Sequence[SamplesByMetric],
    key: str,
    tolerance: Tolerance,
    *,
    another_gpu: bool = False,
) -> str:
    """The status of one metric by the gate's own code, with its confirmations.

    Args:
        then: the baseline.
        supply: one process each: the one of the run, then those that a suspicion is measured
            again in, as far as there are any.
        key: the metric.
        tolerance: of it.
        another_gpu: whether the baseline is known to be that of another GPU.
    """
    baseline = _measurement(pick(then, key), "another" if another_gpu else "this")
    spec = Spec(warmup=1, rounds=1, timeout_s=1.0, tolerance={key: tolerance})
    status = "ok"
    for count in range(1, min(len(supply), 1 + CONFIRMATIONS) + 1):
        now = joined(supply[:count], (key, CLOCK, COUNT))
        comparisons = compare(spec, _measurement(now, "this"), baseline, default_rule)
        found = next(part for part in comparisons if part.metric == lookup(key))
        status = found.status
        if not _suspected(found):
            break
    return status


def _suspected(part: Comparison) -> bool:
    """As `pytest_nsys.verdict.verdict.Verdict.is_suspected`, of the one metric."""
    return part.beyond and part.status in ("regressed", "inconclusive")


def pick(samples: SamplesByMetric, key: str) -> SamplesByMetric:
    """The metric, the clock and the number of kernels, without metrics that scatter too."""
    return {name: samples[name] for name in (key, CLOCK, COUNT) if name in samples}


def joined(processes: Sequence[SamplesByMetric], keys: Sequence[str]) -> SamplesByMetric:
    """Samples side by side, of the metrics that all of them have."""
    return {
        key: tuple(chain.from_iterable(one[key] for one in processes))
        for key in keys
        if all(key in one for one in processes)
    }


def _measurement(samples: SamplesByMetric, gpu: str) -> Measurement:
    kernels = Parts((Part("all", centre(samples[COUNT])),)) if COUNT in samples else Parts()
    window = WindowMeasurement("test", samples, breakdown={"kernels": kernels})
    return Measurement("test", "gpu", 1, 1, {"test": window}, Environment(gpu_digests=(gpu,)))


# The obvious ones


def single(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """One round against one round."""
    return now[key][0][0] > 1.05 * then[key][0][0]


def mean(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """Means of all rounds."""
    return statistics.fmean(pooled(now, key)) > 1.05 * statistics.fmean(pooled(then, key))


def minimum(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """The fastest rounds."""
    return min(pooled(now, key)) > 1.05 * min(pooled(then, key))


def mann_whitney(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """Ranks alone: p < 0.05, two-sided, and slower (H. B. Mann, D. R. Whitney, Ann. Math. Stat.
    18(1), 1947)."""
    before, after = pooled(then, key), pooled(now, key)
    return _p_value(before, after) < 0.05 and _slower(before, after)


def _slower(before: Sequence[float], after: Sequence[float]) -> bool:
    return statistics.median(after) > statistics.median(before)


def _p_value(before: Sequence[float], after: Sequence[float]) -> float:
    """Of the two-sided test. Without ties it depends on U alone, and is looked up by it."""
    if len({*before, *after}) < len(before) + len(after):
        return _tested(before, after)
    return _p_of(sum(a > b for a in after for b in before), len(before), len(after))


@functools.cache
def _p_of(u: int, before: int, after: int) -> float:
    """For the statistic of the later samples; samples that have it are made up."""
    whole, rest = divmod(u, before)
    above = [before] * whole + [rest] * (whole < after) + [0] * (after - whole - 1)
    tiny = 1 / (2 * after)
    return _tested(range(before), [k - 1 + tiny * (i + 1) for i, k in enumerate(above)])


def _tested(before: Sequence[float], after: Sequence[float]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(after, before, alternative="two-sided").pvalue)


def pooled(samples: SamplesByMetric, key: str) -> list[float]:
    """All rounds of all processes."""
    return list(chain.from_iterable(samples[key]))


# nvbench


def nvbench(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """SLOW: the means differ by more than the smaller of the two relative standard deviations.

    With fewer than five rounds a standard deviation counts as unknown, and one of zero does too.
    """
    before, after = then[key][0], now[key][0]
    noises = [noise for noise in map(_relative_deviation, (before, after)) if noise]
    change = statistics.fmean(after) / statistics.fmean(before) - 1
    return bool(noises) and change > min(noises)


def _relative_deviation(rounds: Sequence[float]) -> float | None:
    return statistics.stdev(rounds) / statistics.fmean(rounds) if len(rounds) >= 5 else None


def nvbench_robust(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """SLOW: a gap of 0.5 % between the intervals from minimum to third quartile.

    The same must hold in cycles, where the clock is known (the mean of the process's rounds);
    that does not apply to a time of the host.
    """
    before, after = _interval(then[key][0]), _interval(now[key][0])
    if not _gap(before, after):
        return False
    if key == "wall.time" or CLOCK not in then or CLOCK not in now:
        return True
    clocks = [statistics.fmean(samples[CLOCK][0]) for samples in (then, now)]
    in_cycles = [
        (low * hz, high * hz) for (low, high), hz in zip((before, after), clocks, strict=True)
    ]
    return _gap(*in_cycles)


def _interval(rounds: Sequence[float]) -> tuple[float, float]:
    """Minimum and third quartile, that of rank round(0.75 (n - 1)), halves up."""
    ordered = sorted(rounds)
    return ordered[0], ordered[int(0.75 * (len(ordered) - 1) + 0.5)]


def _gap(before: tuple[float, float], after: tuple[float, float]) -> bool:
    return after[0] > before[1] and (after[0] - before[1]) / before[1] >= 0.005


# asv


def asv(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """Worse by the factor 1.1 in the median, and Mann-Whitney's p < 0.002.

    Raises:
        ValueError: with so few rounds asv compares confidence intervals, which is not done here.
    """
    from math import comb

    before, after = pooled(then, key), pooled(now, key)
    if 1 / comb(len(before) + len(after), len(after)) >= 0.002:
        raise ValueError(f"{len(before)} and {len(after)} rounds are too few for the rank test")
    if statistics.median(before) >= statistics.median(after) / 1.1:
        return False
    return _p_value(before, after) < 0.002


# pytest-benchmark


def benchmark_mean(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """``--benchmark-compare-fail=mean:5%``."""
    return statistics.fmean(now[key][0]) / statistics.fmean(then[key][-1]) * 100 - 100 > 5


def benchmark_min(then: SamplesByMetric, now: SamplesByMetric, key: str) -> bool:
    """``--benchmark-compare-fail=min:5%``."""
    return min(now[key][0]) / min(then[key][-1]) * 100 - 100 > 5


OTHERS: tuple[Rule, ...] = (
    Rule("single run, 5%", single, "the first round against the baseline's first round"),
    Rule("mean, 5%", mean, "the mean of the rounds against that of all the baseline's rounds"),
    Rule("minimum, 5%", minimum, "the fastest round against the fastest of the baseline"),
    Rule(
        "Mann-Whitney, p < 0.05",
        mann_whitney,
        "all rounds against all of the baseline, two-sided, and the median is higher",
    ),
    Rule(
        "nvbench-compare-legacy",
        nvbench,
        "SLOW where the means differ by more than the smaller of the two relative standard "
        "deviations; one stored run (NVIDIA/nvbench 66212f1, python/scripts/nvbench_compare.py)",
    ),
    Rule(
        "nvbench-compare-robust",
        nvbench_robust,
        "SLOW where the intervals from minimum to third quartile are 0.5 % apart, in time and in "
        "cycles; from summaries, default preset; one stored run (NVIDIA/nvbench 66212f1, "
        "docs/nvbench_compare_robust.md)",
    ),
    Rule(
        "asv compare",
        asv,
        "the median is higher by the factor 1.1 (the default), and Mann-Whitney p < 0.002 "
        "(airspeed-velocity/asv 7032df7, asv/commands/compare.py and asv/_stats.py)",
    ),
    Rule(
        "pytest-benchmark mean:5%",
        benchmark_mean,
        "--benchmark-compare-fail; one stored run, the last "
        "(ionelmc/pytest-benchmark 47d66c8, src/pytest_benchmark/utils.py)",
    ),
    Rule("pytest-benchmark min:5%", benchmark_min, "the same of the fastest round"),
)
