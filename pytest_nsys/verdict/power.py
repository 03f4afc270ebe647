"""What a comparison could find: how many processes and rounds resolve a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_nsys.verdict.noise import PRIOR_FREEDOM, Noise
from pytest_nsys.verdict.rule import FAMILY_LEVEL, critical, detectable

PROCESSES = (1, 2, 3, 5, 8)
ROUNDS = (5, 10, 20, 50)


@dataclass(frozen=True)
class Plan:
    """One way to measure; amounts are in the metric's unit.

    Attributes:
        baseline: processes of the baseline.
        processes: processes of the run that is compared with it.
        rounds: rounds of each process.
        limit: the largest change that passes: the tolerance, or the noise where it is larger.
        detectable: the smallest true change that is found with 95 % probability.
    """

    baseline: int
    processes: int
    rounds: int
    limit: float
    detectable: float


def plan(
    noise: Noise,
    allowed: float,
    *,
    baseline: int,
    processes: int,
    rounds: int,
    level: float = FAMILY_LEVEL,
    resolution: float = 0.0,
) -> Plan:
    """What a comparison with so many processes and rounds would find, at the noise that was seen.

    Args:
        noise: of the metric, as estimated from the baseline.
        allowed: the tolerance, in the metric's unit.
        baseline: processes of the baseline.
        processes: processes of the run.
        rounds: rounds of each process of the run; those of the baseline are as they are.
        level: the probability of a false alarm that the metric may use up.
        resolution: the change below which the metric says nothing, in its unit.
    """
    freedom = PRIOR_FREEDOM + (baseline - 1) + (processes - 1)
    planned = replace(noise, freedom=freedom)
    error = noise.of_change(baseline, processes, (noise.rounds, rounds))
    return Plan(
        baseline,
        processes,
        rounds,
        limit=max(allowed, resolution, critical(planned, level) * error),
        detectable=detectable(planned, max(allowed, resolution), error, level),
    )


def cheapest(
    noise: Noise,
    allowed: float,
    *,
    baseline: int,
    rounds: int,
    level: float = FAMILY_LEVEL,
    resolution: float = 0.0,
    processes: Sequence[int] = PROCESSES,
) -> Plan | None:
    """The first plan that noise does not limit: few processes before few rounds.

    A process costs seconds, and a set-up; a round costs what the test takes. Where the baseline
    itself is too noisy, one of as many processes as the run is tried. None if nothing suffices.
    """
    for count in processes:
        for then in sorted({baseline, max(baseline, count)}):
            for number in sorted({rounds, *(n for n in ROUNDS if n > rounds)}):
                found = plan(
                    noise,
                    allowed,
                    baseline=then,
                    processes=count,
                    rounds=number,
                    level=level,
                    resolution=resolution,
                )
                if found.limit <= allowed:
                    return found
    return None
