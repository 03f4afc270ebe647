"""What other tools demand of what is exported for them, by their published rules.

Those are Bencher's JSON schema (https://bencher.dev/bmf.json) and the lengths of its names, and
what github-action-benchmark parses custom lists with (``src/extract.ts``).
"""

from __future__ import annotations

import math
from typing import Any


def check_bencher(document: Any) -> None:
    """What the schema and Bencher's own checks of names demand."""
    assert isinstance(document, dict)
    for benchmark, measures in document.items():
        assert 0 < len(benchmark.encode()) <= 1024
        for measure, metric in measures.items():
            assert 0 < len(measure.encode()) <= 64
            assert {"value"} <= {*metric} <= {"value", "lower_value", "upper_value"}
            assert all(type(value) in (int, float) for value in metric.values())
            assert all(map(math.isfinite, metric.values()))
            assert metric["lower_value"] <= metric["value"] <= metric["upper_value"]


def check_github(entries: Any) -> None:
    """What its parser demands, and names that each value can be found by in the next run."""
    assert isinstance(entries, list)
    names = [entry["name"] for entry in entries]
    assert len(names) == len({*names})
    for entry in entries:
        assert {"name", "unit", "value"} <= {*entry} <= {"name", "unit", "value", "range", "extra"}
        assert type(entry["value"]) in (int, float)
        assert math.isfinite(entry["value"])
        assert all(type(entry[key]) is str for key in entry if key != "value")
        assert float(entry.get("range", "± 0").removeprefix("± ")) >= 0
