"""How often ``pytest-nsys history`` sees changes of level that are none, and finds those there are.

    python benchmarks/change_points.py [SERIES]

Prints, for histories of several lengths and kinds of noise (standard deviation 1), the share of
series without a change in which one was seen, and of series with one step after two thirds, of 2, 3
and 4 standard deviations, those in which one was seen at most two runs off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pytest_nsys.storage.history.changes import shifts

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
    print("| noise | runs | none | step of 2 | of 3 | of 4 |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        for runs in (10, 20, 40, 100):
            alone = sum(bool(shifts((100 + kind(runs)).tolist())) for _ in range(number))
            found = []
            for step in (2, 3, 4):
                at = runs * 2 // 3
                series = [100 + kind(runs) + step * (np.arange(runs) >= at) for _ in range(number)]
                seen = [shifts(values.tolist()) for values in series]
                hits = sum(any(abs(one.index - at) <= 2 for one in some) for some in seen)
                found.append(f"{hits / number:.1%}")
            print(f"| {kind.__name__} | {runs} | {alone / number:.1%} | {' | '.join(found)} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
