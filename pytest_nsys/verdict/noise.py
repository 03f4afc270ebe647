"""How much a timed metric scatters: within a process, between processes, and in a comparison.

The model is that of a nested design: a sample is the test's true value, plus an offset of its
process (clocks, memory layout, autotuning), plus an error of its round. Rounds of one process
share the offset, so that more rounds do not replace another process.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_nsys.catalogue import CLIENT, Metric, parse_range, undivided
from pytest_nsys.measure.measurement import Samples, centre, process_medians

PRIOR_SPREAD = 0.003
"""Between processes, as a fraction of the median, before anything is known of a test: the middle
of what was measured on H200s (0.04 % to 0.6 %)."""

HOST_SPREAD = 0.05
"""The same of a metric that the host sets the pace of: 2 % to 20 % there."""

CLIENT_SPREAD = 0.03
"""The same of what clients of a server measure, over all requests of a round. Servers that the GPU
sets the pace of have less; one in Python that the host sets the pace of had 5 %."""

PRIOR_FREEDOM = 4
"""How many degrees of freedom that prior is worth: as much as five processes of the test."""

_HOST_PACED = ("gpu.idle", "gpu.busy_pct", "gpu.max_gap", "launch.", "process.")

_MAD_TO_SD = 1.4826  # of normally distributed values
_MEDIAN_VARIANCE = math.pi / 2  # of a median over that of a mean, for many normal values


@dataclass(frozen=True)
class Noise:
    """The scatter of one metric, in its own unit.

    Attributes:
        within: standard deviation of a round about its process's median.
        between: standard deviation of a process's median, for processes of as many rounds as were
            measured: the scatter of the offsets and what is left of that of the rounds.
        freedom: degrees of freedom that ``between`` was estimated with, the prior's included.
        rounds: rounds per process that it is for.
    """

    within: float
    between: float
    freedom: int
    rounds: float

    def of_processes(self, rounds: float) -> float:
        """``between`` for processes of another number of rounds."""
        offset = self.between**2 - _of_median(self.rounds) * self.within**2
        return math.sqrt(max(offset, 0.0) + _of_median(rounds) * self.within**2)

    def of_change(
        self, baseline: int, current: int, rounds: tuple[float, float] | None = None
    ) -> float:
        """Standard error of the change.

        Args:
            baseline: processes then.
            current: processes now.
            rounds: rounds per process then and now; those of the estimate if None.
        """
        then, now = rounds or (self.rounds, self.rounds)
        return math.hypot(
            self.of_processes(then) * math.sqrt(_of_median(baseline)),
            self.of_processes(now) * math.sqrt(_of_median(current)),
        )


def prior_spread(metric: Metric) -> float:
    """What to expect of a metric's spread between processes, as a fraction of its median."""
    in_range = parse_range(undivided(metric.key))
    key = in_range[1] if in_range else metric.key
    if key.startswith(CLIENT):
        return CLIENT_SPREAD
    by_host = metric.side == "host" or key.startswith(_HOST_PACED)
    return HOST_SPREAD if by_host else PRIOR_SPREAD


def mean_rounds(processes: Sequence[Sequence[float]]) -> float:
    """Rounds per process: harmonic, because it is the variance of a median that is averaged."""
    lengths = [len(process) for process in processes if process]
    return statistics.harmonic_mean(lengths) if lengths else 1.0


def estimate(*measurements: Samples, spread: float = PRIOR_SPREAD) -> Noise:
    """The noise of a metric, from all its measurements; each about its own centre.

    The variance between processes is a moderated one, the weighted mean of the variance seen and
    of a prior: two or three processes say too little of a variance to be believed alone (G. K.
    Smyth, Linear models and empirical Bayes methods, Stat. Appl. Genet. Mol. Biol. 3(1), 2004).
    Within a process it is the squared median absolute deviation, scaled to the standard deviation
    of a normal distribution, so that single outliers do not count; the mean of the measurements'
    squares, so that a noisy one is not taken for quiet because the other has more rounds.

    Args:
        measurements: the samples of each.
        spread: what to expect between processes, as a fraction of the median.
    """
    scatter = [median_deviation(processes) for processes in measurements]
    known = [(_MAD_TO_SD * value) ** 2 for value in scatter if value is not None]
    within = math.sqrt(statistics.fmean(known)) if known else 0.0
    rounds = mean_rounds([process for processes in measurements for process in processes])
    size = max((abs(centre(samples)) for samples in measurements if any(samples)), default=0.0)
    prior = (spread * size) ** 2 + _of_median(rounds) * within**2
    seen, freedom = 0.0, 0
    for processes in measurements:
        medians = process_medians(processes)
        if len(medians) > 1:
            seen += statistics.variance(medians) * (len(medians) - 1)
            freedom += len(medians) - 1
    variance = (PRIOR_FREEDOM * prior + seen) / (PRIOR_FREEDOM + freedom)
    return Noise(within, math.sqrt(variance), PRIOR_FREEDOM + freedom, rounds)


def median_deviation(processes: Samples) -> float | None:
    """How far a typical round is from the median of its process; None if no process has two."""
    deviations = [value for process in processes for value in _deviations(process)]
    return statistics.median(deviations) if deviations else None


def _deviations(process: Sequence[float]) -> Sequence[float]:
    """How far the rounds are from their median.

    One deviation is zero by construction, and says nothing.
    """
    if len(process) < 2:
        return ()
    middle = statistics.median(process)
    return sorted(abs(value - middle) for value in process)[1:]


def _of_median(count: float) -> float:
    """The variance of the median of so many values, as a multiple of that of one value.

    pi/2n, which is right for many normal values and a little too large for a few (M. G. Kendall,
    A. Stuart, The Advanced Theory of Statistics, vol. 1, 10.11).
    """
    return min(1.0, _MEDIAN_VARIANCE / count)
