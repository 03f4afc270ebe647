"""What the results of a run say of a test."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys.bisection.results import compared, culprit_of, reading_of
from pytest_nsys.bisection.sides import Reading, Target

COUNT = Target("t", "decode", "gpu.kernel_count", "1", "exact", "up")


def _part(**changes: Any) -> dict[str, Any]:
    part = {
        **{"key": COUNT.key, "unit": "1", "kind": "exact", "worse": "up", "gated": True},
        **{"status": "regressed", "note": "", "change": -2, "limit": 0, "resolution": 0},
        "culprits": [{"label": "gemm", "baseline_count": 3, "current_count": 0, "change": -2}],
        **{"samples": [[1, 1]], "baseline_samples": [[3]]},
    }
    return {**part, **changes}


def _document(*parts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    windows = [
        {"name": "test", "zero": [], "metrics": []},
        {"name": "decode", "zero": changes.pop("zero", []), "metrics": [*parts]},
    ]
    test = {"nodeid": "t", "status": "ok", "notes": changes.pop("notes", []), "windows": windows}
    other = {**test, "nodeid": "other", "windows": []}
    return {"tests": [other, test], "unmeasured": [], **changes}


def test_a_reading_is_that_of_the_metric_in_its_window() -> None:
    document = _document(_part(key="other"), _part())
    assert reading_of(document, COUNT) == Reading(((3,),), ((1, 1),), 0)
    assert culprit_of(document, COUNT) == "gemm -2 (3x)"
    (one,) = compared(document, COUNT.key)
    assert one.certainty == float("inf")
    assert not [*compared(_document(_part(gated=False)))]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (_document(_part(status="incomparable", note="other units")), "other units"),
        (_document(_part(baseline_samples=None)), "gpu.kernel_count cannot be compared"),
        (_document(notes=["another device"]), "gpu.kernel_count was not measured: another device"),
        (
            {"tests": [], "unmeasured": [{"nodeid": "t", "reason": "failed"}]},
            "the test was not measured: failed",
        ),
        ({"tests": [], "unmeasured": []}, ""),
    ],
)
def test_why_there_is_none(document: dict[str, Any], said: str) -> None:
    assert reading_of(document, COUNT) == said


def test_what_is_zero_on_both_sides_is_equal() -> None:
    assert reading_of(_document(zero=[COUNT.key]), COUNT) == Reading(((0.0,),), ((0.0,),))
    assert culprit_of(_document(), COUNT) == ""
