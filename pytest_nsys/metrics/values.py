"""All metrics of windows at once, and the ones with a name in brackets that are asked for:
``kernel[gemm*].time``, ``category[gemm].time``, ``api[cudaMalloc].count``."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from pytest_nsys.catalogue import FamilyKey, parse_family
from pytest_nsys.cuda.names import api_name
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.busy import BUSY_METRICS, Busyness
from pytest_nsys.metrics.custom import custom_values
from pytest_nsys.metrics.processes import process_values
from pytest_nsys.metrics.sampled import sampled_values
from pytest_nsys.metrics.unified import UNIFIED_METRICS, has_unified_memory
from pytest_nsys.metrics.window import WINDOW_METRICS
from pytest_nsys.support.arrays.grouping import are_among
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.windows.cut import Cut


def window_values(
    cut: Cut, naming: Naming, *, extra: Collection[str] = (), unified: bool = False
) -> dict[str, Floats]:
    """Per metric that was measured, one value per window of the cut; NaN where it has none.

    Args:
        cut: the windows.
        naming: how kernels are named.
        extra: keys of parametrised metrics (``kernel[gemm*].time``); others are ignored.
        unified: whether the capture was to record unified memory; if it was not, and nothing of
            it is there, its metrics were not measured.
    """
    busyness = Busyness(cut, naming)
    values = {key: compute(cut) for key, compute in WINDOW_METRICS.items()}
    values |= {key: compute(busyness) for key, compute in BUSY_METRICS.items()}
    if unified or has_unified_memory(cut.trace):
        values |= {key: compute(cut) for key, compute in UNIFIED_METRICS.items()}
    values |= process_values(busyness)
    values |= sampled_values(cut)
    values |= custom_values(cut)
    for key in extra:
        family = parse_family(key)
        if family is not None:
            values[key] = family_metric(cut, family, naming)
    return {key: column for key, column in values.items() if cut.trace.knows(key)}


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
        return fnmatchcase(naming.category(raw), key.pattern)
    return fnmatchcase(naming.canonical(raw), key.pattern) or fnmatchcase(raw, key.pattern)
