"""How precisely the median of a few values is known, whatever their distribution is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from statistics import median

CONFIDENCE = 0.95


def median_rank(count: int, confidence: float = CONFIDENCE) -> int | None:
    """The rank r for which the median lies between the r-th smallest and r-th largest value.

    For ``count`` independent values of any one continuous distribution, the interval from the
    r-th smallest to the r-th largest holds its median with the probability 1 - 2 P(B < r), B
    being binomial of ``count`` and 1/2 (David and Nagaraja, Order Statistics, 3rd edition, 2003,
    section 7.1). Of the ranks for which this is at least ``confidence`` it is the largest: that
    of the shortest interval.

    Returns:
        The rank, from 1; None where there are too few values for any (fewer than 6 for 95 %).
    """
    # In whole numbers, of 2^count: from 1,024 values on, that is too large for a float.
    outside = int(Fraction(1 - confidence) * 2**count)
    rank, below, term = 0, 0, 1  # below: 2^count P(B < rank); term: count over rank
    while 2 * (below + term) <= outside:
        below += term
        term = term * (count - rank) // (rank + 1)
        rank += 1
    return rank or None


def half_width(values: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """Half the length of the confidence interval of the median; None for too few values."""
    rank = median_rank(len(values), confidence)
    if rank is None:
        return None
    ordered = sorted(values)
    return (ordered[-rank] - ordered[rank - 1]) / 2


def is_precise(values: Sequence[float], precision: float) -> bool:
    """Whether the median is known to within ``precision`` of itself, with 95 % confidence.

    Whoever looks after every value and stops at the first yes is a little less sure than that:
    it is a rule for when to stop, and no test.

    Args:
        values: what was measured, none below zero.
        precision: the largest half-width of the interval, as a fraction of the median.
    """
    half = half_width(values)
    return half is not None and half <= precision * median(values)
