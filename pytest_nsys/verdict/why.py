"""What counters say of the kernels by which a test got slower."""

from __future__ import annotations

from pytest_nsys.ncu.counters import Pair, paired
from pytest_nsys.ncu.why import sentence
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.verdict.wording import place, short_names


def counted(verdict: Verdict) -> tuple[Pair, ...]:
    """The kernels that were counted in this run, each with what the baseline has of it."""
    before = verdict.baseline.counters if verdict.baseline is not None else ()
    return paired(before, verdict.measurement.counters)


def why_lines(verdict: Verdict) -> tuple[str, ...]:
    """A line for each counted kernel that made the test slower: its name, and a sentence."""
    slower = {(part.window, one.label) for part in verdict.worse for one in part.culprits}
    told = [pair for pair in counted(verdict) if (pair.window, pair.kernel) in slower]
    names = short_names(pair.kernel for pair in told)
    return tuple(f"{place(pair.window)}{names[pair.kernel]}: {sentence(pair)}" for pair in told)
