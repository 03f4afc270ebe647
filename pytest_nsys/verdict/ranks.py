"""The Mann-Whitney U test, one-sided: whether samples are larger than others, by their ranks.

As in `scipy.stats.mannwhitneyu`, to which the tests hold it: to import that package takes as long
as all the rest of a judgement.

H. B. Mann, D. R. Whitney, On a test of whether one of two random variables is stochastically larger
than the other, Ann. Math. Stat. 18(1), 1947.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

_EXACT_TO = 8
"""Where one of the samples is larger than this, or values tie, the normal approximation is used."""


def larger_by_chance(values: Sequence[float], others: Sequence[float]) -> float:
    """The probability that so many of ``values`` are above so many of ``others`` if both are alike.

    Args:
        values: what is thought to be larger; at least one.
        others: what it is compared with; at least one.
    """
    one, other, below = len(values), len(others), sorted(others)
    # A tie counts half.
    above = sum(bisect_left(below, value) + bisect_right(below, value) for value in values) / 2
    ties = [count for count in Counter([*values, *others]).values() if count > 1]
    if min(one, other) <= _EXACT_TO and not ties:
        return _exact(int(above), one, other)
    return _approximate(above, one, other, ties)


def _exact(above: int, one: int, other: int) -> float:
    """The share of all orders of the values in which at least so many pairs are in favour."""
    # The number of orders with u such pairs is the coefficient of q^u in the Gaussian binomial
    # (one + other choose one): the product of (1 - q^(other + i)) / (1 - q^i). They are integers of
    # any size.
    one, other = sorted((one, other))
    length = one * other + 1
    orders = [1] + [0] * (length - 1)
    for i in range(1, one + 1):
        for u in range(length - 1, other + i - 1, -1):
            orders[u] -= orders[u - other - i]
        for u in range(i, length):
            orders[u] += orders[u - i]
    return sum(orders[above:]) / math.comb(one + other, one)


def _approximate(above: float, one: int, other: int, ties: Sequence[int]) -> float:
    """By the normal distribution, corrected for ties and for whole numbers of pairs."""
    count = one + other
    tied = sum(size**3 - size for size in ties) / (count * (count - 1))
    deviation = math.sqrt(one * other / 12 * (count + 1 - tied))
    distance = above - one * other / 2 - 0.5
    if not deviation:  # all are equal
        return 1.0
    return 0.5 * math.erfc(distance / deviation / math.sqrt(2))
