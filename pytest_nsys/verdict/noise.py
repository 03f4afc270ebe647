"""How much a timed metric scatters: within a session, between sessions, and in a comparison.

The model is that of a nested design: a sample is the test's true value, plus an offset of its
session (clocks, memory layout, autotuning), plus an error of its round. Rounds of one session
share the offset, so that more rounds do not replace another session.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_nsys.catalogue import Metric, parse_range, undivided
from pytest_nsys.measure.measurement import Sessions, centre, session_medians
from pytest_nsys.windows.record import CLIENT

PRIOR_SPREAD = 0.003
"""Between sessions, as a fraction of the median, before anything is known of a test: the middle
of what was measured on H200s (0.04 % to 0.6 %)."""

HOST_SPREAD = 0.05
"""The same of a metric that the host sets the pace of: 2 % to 20 % there."""

CLIENT_SPREAD = 0.03
"""The same of what clients of a server measure, over all requests of a round. Servers that the GPU
sets the pace of have less; one in Python that the host sets the pace of had 5 %."""

PRIOR_FREEDOM = 4.0
"""How many degrees of freedom that prior is worth: as much as five sessions of the test."""

_HOST_PACED = ("gpu.idle", "gpu.busy_pct", "gpu.max_gap", "launch.", "process.")

_MAD_TO_SD = 1.4826  # of normally distributed values
_MEDIAN_VARIANCE = math.pi / 2  # of a median over that of a mean, for many normal values


@dataclass(frozen=True)
class Noise:
    """The scatter of one metric, in its own unit.

    Attributes:
        within: standard deviation of a round about its session's median.
        between: standard deviation of a session's median, for sessions of as many rounds as were
            measured: the scatter of the offsets and what is left of that of the rounds.
        freedom: degrees of freedom that ``between`` was estimated with, the prior's included.
        rounds: rounds per session that it is for.
    """

    within: float
    between: float
    freedom: float
    rounds: float

    def of_sessions(self, rounds: float) -> float:
        """``between`` for sessions of another number of rounds."""
        offset = self.between**2 - _of_median(self.rounds) * self.within**2
        return math.sqrt(max(offset, 0.0) + _of_median(rounds) * self.within**2)

    def of_change(
        self, baseline: int, current: int, rounds: tuple[float, float] | None = None
    ) -> float:
        """Standard error of the change.

        Args:
            baseline: sessions then.
            current: sessions now.
            rounds: rounds per session then and now; those of the estimate if None.
        """
        then, now = rounds or (self.rounds, self.rounds)
        return math.hypot(
            self.of_sessions(then) * math.sqrt(_of_median(baseline)),
            self.of_sessions(now) * math.sqrt(_of_median(current)),
        )


def prior_spread(metric: Metric) -> float:
    """What to expect of a metric's spread between sessions, as a fraction of its median."""
    in_range = parse_range(undivided(metric.key))
    key = in_range[1] if in_range else metric.key
    if key.startswith(CLIENT):
        return CLIENT_SPREAD
    by_host = metric.side == "host" or key.startswith(_HOST_PACED)
    return HOST_SPREAD if by_host else PRIOR_SPREAD


def mean_rounds(sessions: Sequence[Sequence[float]]) -> float:
    """Rounds per session: harmonic, because it is the variance of a median that is averaged."""
    lengths = [len(session) for session in sessions if session]
    return statistics.harmonic_mean(lengths) if lengths else 1.0


def estimate(*measurements: Sessions, spread: float = PRIOR_SPREAD) -> Noise:
    """The noise of a metric, from all its measurements; each about its own centre.

    The variance between sessions is a moderated one, the weighted mean of the variance seen and
    of a prior: two or three sessions say too little of a variance to be believed alone (G. K.
    Smyth, Linear models and empirical Bayes methods, Stat. Appl. Genet. Mol. Biol. 3(1), 2004).
    Within a session it is the squared median absolute deviation, scaled to the standard deviation
    of a normal distribution, so that single outliers do not count; the mean of the measurements'
    squares, so that a noisy one is not taken for quiet because the other has more rounds.

    Args:
        measurements: the samples of each.
        spread: what to expect between sessions, as a fraction of the median.
    """
    scatter = [_within(sessions) for sessions in measurements]
    known = [value**2 for value in scatter if value is not None]
    within = math.sqrt(statistics.fmean(known)) if known else 0.0
    rounds = mean_rounds([session for sessions in measurements for session in sessions])
    size = max((abs(centre(sessions)) for sessions in measurements if any(sessions)), default=0.0)
    prior = (spread * size) ** 2 + _of_median(rounds) * within**2
    seen, freedom = 0.0, 0
    for sessions in measurements:
        medians = session_medians(sessions)
        if len(medians) > 1:
            seen += statistics.variance(medians) * (len(medians) - 1)
            freedom += len(medians) - 1
    variance = (PRIOR_FREEDOM * prior + seen) / (PRIOR_FREEDOM + freedom)
    return Noise(within, math.sqrt(variance), PRIOR_FREEDOM + freedom, rounds)


def _within(sessions: Sessions) -> float | None:
    """The scatter of one measurement's rounds; None if no session has two of them."""
    deviations = [value for session in sessions for value in _deviations(session)]
    return _MAD_TO_SD * statistics.median(deviations) if deviations else None


def _deviations(session: Sequence[float]) -> Sequence[float]:
    """How far the rounds are from their median.

    One deviation is zero by construction, and says nothing.
    """
    if len(session) < 2:
        return ()
    middle = statistics.median(session)
    return sorted(abs(value - middle) for value in session)[1:]


def _of_median(count: float) -> float:
    """The variance of the median of so many values, as a multiple of that of one value.

    pi/2n, which is right for many normal values and a little too large for a few (M. G. Kendall,
    A. Stuart, The Advanced Theory of Statistics, vol. 1, 10.11).
    """
    return min(1.0, _MEDIAN_VARIANCE / count)
