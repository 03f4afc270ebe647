"""A row of values as a row of characters."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"


def sparkline(values: Sequence[float], width: int, levels: str = BLOCKS) -> str:
    """One character per value, from the smallest to the largest; of more than ``width`` values
    the median of neighbours.

    Args:
        values: any finite numbers, at least one.
        width: the most characters.
        levels: the characters, from low to high.
    """
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    shown = [statistics.median(values[start:end]) for start, end in itertools.pairwise(edges)]
    low, high = min(shown), max(shown)
    if low == high:
        return levels[0] * count
    top = len(levels) - 1
    return "".join(levels[round((value - low) / (high - low) * top)] for value in shown)


def levels_for(encoding: str | None) -> str:
    """The characters that a terminal of this encoding has."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return BLOCKS
