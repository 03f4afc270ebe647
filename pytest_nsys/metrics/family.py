"""Metrics with a name in brackets: ``kernel[gemm*].time``, ``category[gemm].time``, ``api[..]``."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from pytest_nsys.catalogue import FamilyKey
from pytest_nsys.cut import Cut, Floats, Members
from pytest_nsys.metrics.naming import Naming
from pytest_nsys.metrics.window import api_name, durations


def family_metric(cut: Cut, key: FamilyKey, naming: Naming) -> Floats:
    """The metric for every window of the cut."""
    if key.family == "api":
        table, members, column = cut.trace.calls, cut.calls, "name"
    else:
        table, members, column = cut.trace.kernels, cut.kernels, "name"
    wanted = [string for string, raw in cut.trace.strings.items() if _matches(raw, key, naming)]
    chosen = np.isin(table[column].to_numpy()[members.row], wanted)
    rows = Members(members.window[chosen], members.row[chosen])
    return cut.total(rows, durations(table) if key.measure == "time" else None)


def _matches(raw: str, key: FamilyKey, naming: Naming) -> bool:
    if key.family == "api":
        return fnmatchcase(api_name(raw), key.pattern)
    if key.family == "category":
        return naming.category(raw) == key.pattern
    return fnmatchcase(naming.canonical(raw), key.pattern) or fnmatchcase(raw, key.pattern)
