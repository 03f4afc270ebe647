"""More decisions than were measured: processes drawn from the recorded ones, rounds recombined.

A recorded process of a test is taken apart into its offset (its median over that of all the test's
processes) and its residuals (each round over its process's median). A simulated process has the
offset of one recorded process and the residuals of another, in the order they were measured; kernel
time, wall time and clock stay together. So process offsets, drifts within a process and outliers
are as they were; and some noise counts twice, because an offset holds some of its process's
residuals.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rules import SamplesByMetric

from pytest_nsys.verdict.clock import CLOCK

KERNELS = "gpu.kernel_time"
WALL = "wall.time"

PROCESSES = 3  # of a baseline
FRESH = 3  # of a run at most: its own and two confirmations

_Rounds = dict[str, list[float]]
Disturb = Callable[[random.Random, _Rounds], _Rounds]


@dataclass(frozen=True)
class Pool:
    """The recorded processes of one test, taken apart.

    Attributes:
        centre: median of the processes' medians, by metric.
        offsets: of each process, by metric, as a factor.
        residuals: of each process, by metric, of each round, as a factor.
    """

    centre: Mapping[str, float]
    offsets: Sequence[Mapping[str, float]]
    residuals: Sequence[Mapping[str, Sequence[float]]]


def take_apart(processes: Iterable[SamplesByMetric]) -> Pool:
    """The pool of recorded processes, each with the same metrics.

    Args:
        processes: one process each.
    """
    all_of = [{key: list(rounds[0]) for key, rounds in one.items()} for one in processes]
    keys = set.intersection(*(set(one) for one in all_of))
    medians = [{key: statistics.median(one[key]) for key in keys} for one in all_of]
    centre = {key: statistics.median(m[key] for m in medians) for key in keys}
    return Pool(
        centre,
        [{key: m[key] / centre[key] for key in keys} for m in medians],
        [
            {key: [value / m[key] for value in one[key]] for key in keys}
            for one, m in zip(all_of, medians, strict=True)
        ],
    )


def draw(
    pool: Pool, chance: random.Random, disturb: Disturb, percent: float = 0.0
) -> SamplesByMetric:
    """One simulated process; kernels take ``percent`` longer, and the wall as much more time."""
    offset, residual = chance.choice(pool.offsets), chance.choice(pool.residuals)
    rounds = {
        key: [pool.centre[key] * offset[key] * value for value in residual[key]]
        for key in pool.centre
    }
    more = [percent / 100 * value for value in rounds[KERNELS]]
    for key in (KERNELS, WALL):
        rounds[key] = [value + extra for value, extra in zip(rounds[key], more, strict=True)]
    return {key: (tuple(values),) for key, values in disturb(chance, rounds).items()}


def as_recorded(chance: random.Random, rounds: _Rounds) -> _Rounds:  # noqa: ARG001
    """Nothing more than was seen."""
    return rounds


def outliers(chance: random.Random, rounds: _Rounds) -> _Rounds:
    """One round in twenty takes 10 to 100 % longer."""
    factors = [
        1 + chance.uniform(0.1, 1.0) if chance.random() < 0.05 else 1.0 for _ in rounds[KERNELS]
    ]
    return _scaled(rounds, factors)


def bimodal_clock(chance: random.Random, rounds: _Rounds) -> _Rounds:
    """In one process of four the clock is 6 % lower, and is seen to be."""
    if chance.random() >= 0.25:
        return rounds
    slower = _scaled(rounds, [1 / 0.94 for _ in rounds[KERNELS]])
    if CLOCK in rounds:
        slower[CLOCK] = [0.94 * value for value in rounds[CLOCK]]
    return slower


def bimodal_unseen(chance: random.Random, rounds: _Rounds) -> _Rounds:
    """The same where NVML is missing."""
    return {key: v for key, v in bimodal_clock(chance, rounds).items() if key != CLOCK}


def _scaled(rounds: _Rounds, factors: Sequence[float]) -> _Rounds:
    """With kernels so much slower, and the wall's time by as many ns more."""
    more = [value * (factor - 1) for value, factor in zip(rounds[KERNELS], factors, strict=True)]
    return {
        **rounds,
        **{
            key: [value + extra for value, extra in zip(rounds[key], more, strict=True)]
            for key in (KERNELS, WALL)
        },
    }


NOISES: Mapping[str, Disturb] = {
    "as recorded": as_recorded,
    "and outliers (5 % of rounds, +10 to +100 %)": outliers,
    "and two clocks (a quarter of processes, -6 %)": bimodal_clock,
    "and two clocks that NVML does not show": bimodal_unseen,
}
"""The recorded noise, and worse ones made of it."""
