"""Where a series of runs changes its level, and how far it drifts."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

_SHORTEST = 3
"""Runs that a level of a noisy series needs."""

_PENALTY = 6.0
"""Times log(n). Of series of 40 runs without a change at most one in 75 gets one; where noise stays
from run to run (autocorrelation 0.4), one in 7 (benchmarks/change_points.py)."""

_CLIP = 3.0
_ENDS = (slice(3), slice(4), slice(-4, None), slice(-3, None))
"""The neighbours of the first two and the last two runs; others are the middle of five."""

_FEW = 5
_BLOCKS = 8
"""Parts of a long series, whose medians tell a drift from noise."""

_SURE = 4.0
"""Standard errors that a drift is larger than: a history has hundreds of series."""

_LIKELIHOOD = 3.84
"""Twice the logarithm of how much less likely than the likeliest a place of a change may be: what
chi-squared with one degree of freedom exceeds in 5 % of cases."""

_QUARTILE = 1.1503 * math.sqrt(2)
"""Upper quartile of the absolute difference of two values of normal noise of one."""


@dataclass(frozen=True)
class Shift:
    """A change of level.

    Attributes:
        index: the first run of the new level.
        before: median of the runs from the last change to this one.
        after: median of the runs from this change to the next.
        earliest: the first run that noise lets the new level begin with; ``index`` without noise.
        latest: the last one.
    """

    index: int
    before: float
    after: float
    earliest: int
    latest: int


@dataclass(frozen=True)
class Drift:
    """A change in many small steps.

    Attributes:
        before: median of the first runs.
        after: median of the last runs.
        step: the largest change from one run to the next, either way, noise included.
    """

    before: float
    after: float
    step: float


def finds_shifts() -> bool:
    """Whether the library that looks for changes in noisy series is installed."""
    return find_spec("ruptures") is not None


def needs_library(values: Sequence[float]) -> bool:
    """Whether a series is noisy, and long enough that a change can be told from noise."""
    return noise(values) > 0 and len(values) >= 2 * _SHORTEST


def too_few(values: Sequence[float]) -> bool:
    """Whether a series is too short to say anything of: it varies, but a change cannot be told
    from noise yet, or there is nothing that it could differ from."""
    return len(values) < 2 or (len(values) < 2 * _SHORTEST and len(set(values)) > 1)


def noise(values: Sequence[float]) -> float:
    """The standard deviation of a series around its level, which may change now and then.

    From the upper quartile of the differences of neighbours: few changes and outliers do not
    count, and a series that jumps between two values every other run is noisy. 0 where three of
    four runs are like the one before.
    """
    steps = sorted(abs(now - then) for then, now in itertools.pairwise(values))
    return steps[(len(steps) - 1) * 3 // 4] / _QUARTILE if steps else 0.0


def shifts(values: Sequence[float]) -> tuple[Shift, ...]:
    """The changes of level, in order.

    A series without noise changes where its values do, but for single odd runs. In one with noise
    they are searched with PELT (Killick, Fearnhead, Eckley 2012) and the squared error; before
    it, values are drawn to within three standard deviations of their neighbours' median, so that
    outliers are none. Where a straight line says as much as all changes together, it is a drift,
    and there are none.

    Args:
        values: finite numbers, one per run.
    """
    if len(values) < 2:
        return ()
    if not needs_library(values):
        return _exact_shifts(values) if noise(values) == 0 else ()
    if not finds_shifts():
        return ()
    scale = max(noise(values), 1e-9 * max(map(abs, values)))  # what a float can tell apart
    return _levels(values, _search([value / scale for value in values]))


def _exact_shifts(values: Sequence[float]) -> tuple[Shift, ...]:
    starts = [0]
    for index in range(1, len(values)):
        if values[index] == values[index - 1]:
            continue
        if len(starts) > 1 and index - starts[-1] == 1 and values[index] == values[index - 2]:
            starts.pop()  # one odd run, and all was as before it
        else:
            starts.append(index)
    return _levels(values, starts[1:])


def _levels(values: Sequence[float], found: Sequence[int]) -> tuple[Shift, ...]:
    edges = [0, *found, len(values)]
    medians = [statistics.median(values[start:end]) for start, end in itertools.pairwise(edges)]
    scale = noise(values)
    shifts = []
    for number, index in enumerate(found):
        start, end = edges[number], edges[number + 2]
        before, after = medians[number : number + 2]
        earliest, latest = _place(values[start:end], index - start, before, after, scale)
        shifts.append(Shift(index, before, after, start + earliest, start + latest))
    return tuple(shifts)


def _place(
    values: Sequence[float], index: int, before: float, after: float, scale: float
) -> tuple[int, int]:
    """The first and the last run with which the new level may begin, by their likelihood."""
    if not scale:
        return index, index

    def misfit(value: float, level: float) -> float:
        return min(abs(value - level) / scale, _CLIP) ** 2

    # What it costs to begin with the run rather than with the first one.
    costs = [0.0]
    costs += itertools.accumulate(misfit(v, before) - misfit(v, after) for v in values[:-1])
    earliest = latest = index
    limit = costs[index] + _LIKELIHOOD
    while earliest > 1 and costs[earliest - 1] <= limit:
        earliest -= 1
    while latest < len(values) - 1 and costs[latest + 1] <= limit:
        latest += 1
    return earliest, latest


def _search(values: Sequence[float]) -> list[int]:
    """The first runs of new levels, of a series whose noise is 1."""
    import numpy as np
    from ruptures import KernelCPD

    series = np.asarray(values)
    series = series - np.median(series)
    fives = np.median(np.lib.stride_tricks.sliding_window_view(series, 5), axis=1)
    ends = [np.median(series[part]) for part in _ENDS]
    around = np.concatenate([ends[:2], fives, ends[2:]])
    clipped = np.clip(series, around - _CLIP, around + _CLIP)
    search = KernelCPD(kernel="linear", min_size=_SHORTEST, jump=1).fit(clipped[:, None])
    penalty = _PENALTY * math.log(len(series))
    found = [int(index) for index in search.predict(pen=penalty)[:-1]]
    runs = np.arange(len(series))
    line = clipped - np.polyval(np.polyfit(runs, clipped, 1), runs)
    parts = np.split(clipped, found)
    left = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    # A slope costs as much as one change.
    return found if left + penalty * len(found) < float((line**2).sum()) + penalty else []


def drift(values: Sequence[float], found: Sequence[Shift] = ()) -> Drift | None:
    """How far a series moves in small steps; None where a single step, or noise, explains it.

    The series is taken in up to eight parts of at least five runs (fewer of a short one). Its last
    part differs from the first by more than twice any change of level and any step from part to
    part, and by more than four times what the noise of these runs explains.

    Args:
        values: finite numbers, one per run.
        found: its changes of level.
    """
    few = max(min(_FEW, len(values) // 4), len(values) // _BLOCKS)
    if few < 2:
        return None
    before, after = statistics.median(values[:few]), statistics.median(values[-few:])
    parts = [
        statistics.median(values[start : start + few])
        for start in range(0, len(values) - few + 1, few)
    ]
    step = max(
        *(abs(now - then) for then, now in itertools.pairwise(parts)),
        *(abs(shift.after - shift.before) for shift in found),
        0.0,
    )
    moved = abs(after - before)
    if moved <= 2 * step or moved <= _SURE * noise(values) * math.sqrt(2 / few):
        return None
    largest = max(abs(now - then) for then, now in itertools.pairwise(values))
    return Drift(before, after, largest)
