"""Trends as a JSON document of a versioned schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_nsys.storage.history.changes import Drift, Shift
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.overview import Event, overview
from pytest_nsys.storage.history.trend import Difference, TestTrends, Trend

SCHEMA = 1


def history_document(tests: Iterable[TestTrends]) -> dict[str, Any]:
    """All tests, the gravest first, and the runs that changed any; amounts are in the metric's
    unit."""
    whole = overview(tests)
    return {
        "schema": SCHEMA,
        "events": [_event(event) for event in whole.events],
        "tests": [
            {
                "nodeid": test.nodeid,
                "device": test.device,
                "state": test.state,
                "runs_since": whole.gone.get((test.nodeid, test.device), 0),
                "runs": [{**_run(entry), "status": entry.status} for entry in test.entries],
                "trends": [_trend(trend) for trend in test.trends],
            }
            for test in whole.tests
        ],
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "after": _run(event.then),
        **_run(event.now),
        "versions": _versions(event.differences),
        "changes": [
            {
                "nodeid": one.test.nodeid,
                "device": one.test.device,
                "window": one.trend.window,
                "metric": one.trend.metric.key,
                **_change(one.trend, one.shift),
            }
            for one in event.changes
        ],
    }


def _versions(found: Iterable[Difference]) -> list[dict[str, str]]:
    return [{"name": one.name, "before": one.before, "after": one.after} for one in found]


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
        "state": trend.state,
        "noise": trend.noise,
        "searched": trend.searched,
        "changes": [
            {
                **_run(trend.entries[shift.index]),
                **_change(trend, shift),
                "earliest": _run(trend.entries[shift.earliest]),
                "latest": _run(trend.entries[shift.latest]),
                "versions": _versions(trend.changed_with(shift)),
            }
            for shift in trend.shifts
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
