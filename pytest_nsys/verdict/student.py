"""Student's t distribution with a whole number of degrees of freedom.

For these its probabilities are finite sums (M. Abramowitz, I. A. Stegun, Handbook of Mathematical
Functions, 26.7.3 and 26.7.4), so that nothing but a sum and a bisection is needed. The tests hold
it to `scipy.special.stdtrit`, a package of more than 100 MB.
"""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=256)
def critical_value(freedom: int, level: float) -> float:
    """The value that such a variable exceeds with the probability ``level``.

    Args:
        freedom: degrees of freedom, from 1 on.
        level: between 0 and 1, both excluded.
    """
    if level > 0.5:
        return -critical_value(freedom, 1 - level)
    low, high = 0.0, 1.0
    while exceeds(freedom, high) > level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if exceeds(freedom, middle) > level:
            low = middle
        else:
            high = middle
    return middle


def exceeds(freedom: int, value: float) -> float:
    """The probability that such a variable exceeds a value from 0 on."""
    angle = math.atan(value / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for step in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 - within) / 2
