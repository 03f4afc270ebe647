"""How often ``pytest-nsys history`` sees changes that are none, and finds those there are.

    python benchmarks/change_points.py [SERIES]

Prints, for histories of several lengths and kinds of noise (standard deviation 1), the share of
series without a change in which one was seen, and of series with one step after two thirds, of 2, 3
and 4 standard deviations, those in which one was seen at most two runs off; likewise of drifts, and
of series that rise evenly by so much.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pytest_nsys.storage.history.changes import drift, shifts

Series = NDArray[np.float64]
CHANCE = np.random.default_rng(1)


def normal(runs: int) -> Series:
    return CHANCE.normal(size=runs)


def student(runs: int) -> Series:
    """Of three degrees of freedom, brought to a standard deviation of 1."""
    return CHANCE.standard_t(3, runs) / np.sqrt(3)


def outliers(runs: int) -> Series:
    """Normal; one run of twenty is slower, by ten standard deviations on average."""
    return normal(runs) + (CHANCE.random(runs) < 0.05) * CHANCE.exponential(10, runs)


def bimodal(runs: int) -> Series:
    """Two levels; three of ten runs are at the upper one."""
    values = CHANCE.normal(0, 0.3, runs) + 2 * (CHANCE.random(runs) < 0.3)
    return values / np.hypot(0.3, 2 * np.sqrt(0.21))


def autocorrelated(runs: int) -> Series:
    """A part of each run's deviation, 0.4 of it, stays to the next."""
    values = normal(runs)
    for run in range(1, runs):
        values[run] += 0.4 * values[run - 1]
    return values * np.sqrt(1 - 0.4**2)


KINDS: tuple[Callable[[int], Series], ...] = (normal, student, outliers, bimodal, autocorrelated)


def main(number: int) -> None:
    print("| noise | runs | no step | of 2 | of 3 | of 4 | no drift | of 2 | of 3 | of 4 |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        for runs in (10, 20, 40, 100, 365):
            shares = [*steps(kind, runs, number), *drifts(kind, runs, number)]
            print(f"| {kind.__name__} | {runs} |", *(f"{share:.1%} |" for share in shares))


def steps(kind: Callable[[int], Series], runs: int, number: int) -> list[float]:
    """The shares of series without a step, and with one of 2, 3 and 4, in which one is seen."""
    at = runs * 2 // 3
    alone = sum(bool(shifts((100 + kind(runs)).tolist())) for _ in range(number))
    found = [alone / number]
    for step in (2, 3, 4):
        series = [100 + kind(runs) + step * (np.arange(runs) >= at) for _ in range(number)]
        seen = [shifts(values.tolist()) for values in series]
        hits = sum(any(abs(one.index - at) <= 2 for one in some) for some in seen)
        found.append(hits / number)
    return found


def drifts(kind: Callable[[int], Series], runs: int, number: int) -> list[float]:
    """The shares of series that rise by 0, 2, 3 and 4 in which a drift is seen."""
    found = []
    for rise in (0, 2, 3, 4):
        line = 100 + rise * np.arange(runs) / (runs - 1)
        series = [(line + kind(runs)).tolist() for _ in range(number)]
        hits = sum(drift(values, shifts(values)) is not None for values in series)
        found.append(hits / number)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
