"""The GPU metrics of a capture: samples, and what each is of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace import mending, schema
from pytest_nsys.trace.source import ABSENT, Source, texts, whole_numbers

_GPU_BITS = 0xFF


def read_samples(source: Source, defects: list[str]) -> tuple[pd.DataFrame, dict[int, str]]:
    """The samples by time, and the names of the metrics in them.

    nsys numbers the metrics of each GPU by themselves. Here a number means one name on all: it
    is nsys's, but for names that have another number on another GPU.
    """
    names = _names(source)
    found = source.integers(schema.SAMPLES, schema.COLUMNS[schema.SAMPLES])
    if found is None:
        if names:
            defects.append(f"the export names GPU metrics, and has no {schema.SAMPLES}")
        found = {name: np.empty(0, np.int64) for name in schema.COLUMNS[schema.SAMPLES]}
    columns = {
        "time": found["timestamp"],
        "device": found["typeId"],
        "metric": found["metricId"],
        "value": found["value"],
    }
    table = schema.SAMPLES
    columns = mending.started(table, columns, defects, "time")
    columns["metric"], sampled = _one_number_per_name(columns["device"], columns["metric"], names)
    # Others than percentages may be anything: nsys itself writes negative counts of warps.
    shares = [number for number, name in sampled.items() if "%" in name]
    wrong = (columns["value"] < 0) | (columns["value"] > 100)
    wrong &= np.isin(columns["metric"], shares)
    columns = mending.dropped(columns, wrong, table, "are percentages beyond 0 to 100", defects)
    nameless = columns["metric"] == ABSENT
    mending.note(nameless, table, "are of a metric without a name", "in no metric", defects)
    columns["device"] = np.where(columns["device"] == ABSENT, ABSENT, columns["device"] & _GPU_BITS)
    order = np.argsort(columns["time"], kind="stable")
    return pd.DataFrame({name: values[order] for name, values in columns.items()}), sampled


def _names(source: Source) -> dict[tuple[int, int], str]:
    """Names of metrics by type (that is, GPU) and number."""
    table = source.table(schema.SAMPLED, schema.COLUMNS[schema.SAMPLED])
    if table is None:
        return {}
    kinds, numbers = (
        whole_numbers(schema.SAMPLED, table[name]).tolist() for name in ("typeId", "metricId")
    )
    rows = zip(kinds, numbers, texts(table["metricName"]), strict=True)
    return {(kind, number): name for kind, number, name in rows}


def _one_number_per_name(
    kinds: Ints, metrics: Ints, names: dict[tuple[int, int], str]
) -> tuple[Ints, dict[int, str]]:
    """Per sample the number of its metric, -1 where that has no name; and the names."""
    sampled: dict[int, str] = {}
    number_of: dict[str, int] = {}
    for (_, number), name in sorted(names.items()):
        if name not in number_of:
            free = number if number not in sampled else max(sampled) + 1
            number_of[name] = free
            sampled[free] = name
    found = np.full(len(metrics), ABSENT, dtype=np.int64)
    for kind in pd.unique(kinds).tolist():
        rows = np.flatnonzero(kinds == kind)
        values, codes = np.unique(metrics[rows], return_inverse=True)
        numbers = [number_of.get(names.get((kind, key), ""), ABSENT) for key in values.tolist()]
        found[rows] = np.array(numbers, dtype=np.int64)[codes.reshape(-1)]
    return found, sampled
