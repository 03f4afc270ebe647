"""Unified memory: what was migrated, and the page faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from pytest_nsys.metrics.window import copies_of
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.trace.schema import MemcpyKind
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut

_KINDS = (MemcpyKind.UM_H2D, MemcpyKind.UM_D2H, MemcpyKind.UM_D2D)


def records_unified_memory(options: Sequence[str]) -> bool:
    """Whether a capture with these options of nsys was to record unified memory."""
    words = [word for option in options for word in option.split("=", 1)]
    return any(word.startswith("--cuda-um-") and value == "true" for word, value in pairwise(words))


def has_unified_memory(trace: Trace) -> bool:
    """Whether the capture recorded any migration or page fault."""
    kinds = trace.copies["kind"].to_numpy()
    return len(trace.faults) > 0 or bool(np.isin(kinds, _KINDS).any())


def _bytes(cut: Cut) -> Floats:
    return cut.total(copies_of(cut, *_KINDS), cut.trace.copies["bytes"].to_numpy())


def _faults(cut: Cut) -> Floats:
    faults = cut.trace.faults
    return cut.total(cut.members(faults["start"]), faults["count"].to_numpy())


UNIFIED_METRICS: Mapping[str, Callable[[Cut], Floats]] = {
    "um.bytes": _bytes,
    "um.faults": _faults,
}
"""Per key, the function that computes it for every window of a cut."""
