"""Trends as a JSON document of a versioned schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_nsys.storage.history.changes import Drift, Shift
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.trend import TestTrends, Trend

SCHEMA = 1


def history_document(tests: Iterable[TestTrends]) -> dict[str, Any]:
    """All tests; amounts are in the metric's unit."""
    return {
        "schema": SCHEMA,
        "tests": [
            {
                "nodeid": test.nodeid,
                "device": test.device,
                "runs": [{**_run(entry), "status": entry.status} for entry in test.entries],
                "trends": [_trend(trend) for trend in test.trends],
            }
            for test in tests
        ],
    }


def _run(entry: Entry) -> dict[str, Any]:
    return {"date": entry.date.isoformat(), "commit": entry.commit}


def _trend(trend: Trend) -> dict[str, Any]:
    values, tolerance = trend.values, trend.tolerance
    return {
        "window": trend.window,
        "metric": trend.metric.key,
        "unit": trend.metric.unit,
        "tolerance": tolerance and {"relative": tolerance.relative, "absolute": tolerance.absolute},
        "values": [
            {**_run(entry), "value": value}
            for entry, value in zip(trend.entries, values, strict=True)
        ],
        "first": values[0],
        "last": values[-1],
        "min": min(values),
        "max": max(values),
        "searched": trend.searched,
        "changes": [
            {**_run(trend.entries[shift.index]), **_change(trend, shift)} for shift in trend.shifts
        ],
        "drift": trend.drift and {**_change(trend, trend.drift), "largest_step": trend.drift.step},
    }


def _change(trend: Trend, change: Shift | Drift) -> dict[str, Any]:
    return {
        "before": float(change.before),
        "after": float(change.after),
        "worse": trend.is_worse(change.before, change.after),
        "over_tolerance": trend.is_over(change.before, change.after),
    }
