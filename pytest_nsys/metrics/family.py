"""Metrics with a name in brackets: ``kernel[gemm*].time``, ``category[gemm].time``, ``api[..]``."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pytest_nsys.catalogue import FamilyKey
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.window import api_name
from pytest_nsys.support.arrays.grouping import are_among
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.windows.cut import Cut


def family_metric(cut: Cut, key: FamilyKey, naming: Naming) -> Floats:
    """The metric for every window of the cut."""
    lines = cut.call_names if key.family == "api" else cut.kernel_names
    wanted = [string for string, raw in cut.trace.strings.items() if _matches(raw, key, naming)]
    found = lines.only(are_among(lines.name, wanted))
    return cut.times(found) if key.measure == "time" else cut.counts(found)


def _matches(raw: str, key: FamilyKey, naming: Naming) -> bool:
    if key.family == "api":
        return fnmatchcase(api_name(raw), key.pattern)
    if key.family == "category":
        return naming.category(raw) == key.pattern
    return fnmatchcase(naming.canonical(raw), key.pattern) or fnmatchcase(raw, key.pattern)
