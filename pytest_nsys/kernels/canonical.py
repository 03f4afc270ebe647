"""The canonical name of a kernel: what it computes, without how it was tuned."""

from __future__ import annotations

import re
from functools import lru_cache

from pytest_nsys.kernels.demangled import simplify
from pytest_nsys.kernels.labels import simplify_label

_LABEL = re.compile(r"[\w$]+")

# One pass settles every name seen so far; a few more settle what looks like several things at once.
_PASSES = 4


@lru_cache(maxsize=16384)
def canonical(raw: str) -> str:
    """The canonical name of a kernel.

    Removed: the parameter list, the return type, anonymous and versioned namespaces, casts of
    integer constants, lambda numbers that only repeat a data type, numbers and hashes given by code
    generators, and whatever was tuned (tiles, stages, clusters, split-K, warps, alignment, vector
    widths, schedules, the instruction set). Tuned template arguments become ``*``, so that the
    others keep their places.

    Kept: everything else. In particular data types, layouts, epilogues, directions (fprop, dgrad,
    wgrad), functors, and constants that nobody has declared to be tuning.

    It is total (it raises for no string, and a name it cannot read is its own canonical name) and
    idempotent: ``canonical(canonical(name)) == canonical(name)``.
    """
    name = raw
    for _ in range(_PASSES):
        simpler = _simplify_once(name)
        if simpler == name:
            return name
        name = simpler
    # No rest in sight: only a name made up to be difficult comes here. It stays as it is, so that a
    # second call, too, ends here and gives the same.
    return raw


def _simplify_once(name: str) -> str:
    if _LABEL.fullmatch(name):
        return simplify_label(name) or name
    return simplify(name) or name
