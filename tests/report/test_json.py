"""The JSON report: its schema, its numbers, and how the file is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.errors import NsysError
from pytest_nsys.insights.bottlenecks import Bottleneck
from pytest_nsys.measure.measurement import Part
from pytest_nsys.measure.processes import join_processes
from pytest_nsys.ncu.counters import DURATION, FP64, KernelCounters
from pytest_nsys.plan.expected import ExpectedChange
from pytest_nsys.report.json import report_document, write_json
from pytest_nsys.report.run import RunReport, Unmeasured
from pytest_nsys.storage.baselines import Change
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import SEVERITY, Contribution
from tests.support.builders import (
    FLASH,
    GEMM,
    SPEC,
    before,
    kernel,
    measurement,
    slower,
    steady,
    verdict,
    window,
)
from tests.support.harness import ROOT
from tests.support.json_page import page

NUMBER = (int, float)
MAYBE = (int, float, type(None))
STATUSES = set(SEVERITY)

LAUNCH = {
    "grid": [int],
    "block": [int],
    **dict.fromkeys(["registers", "shared_bytes", "local_bytes"], int),
    "occupancy_pct": MAYBE,
    "limited_by": str,
}
CULPRIT = {
    "label": str,
    "baseline_label": str,
    "baseline_count": NUMBER,
    "current_count": NUMBER,
    "change": NUMBER,
    "baseline_launch": (None, LAUNCH),
    "current_launch": (None, LAUNCH),
}
METRIC = {
    "key": str,
    "unit": {"ns", "B", "1", "%", "B/s", "FLOP", "FLOP/s", "Hz", "°C", "W"},
    "kind": {"exact", "timed"},
    "worse": {"up", "down"},
    "status": STATUSES,
    "gated": bool,
    "note": str,
    "accepted": str,
    "baseline": MAYBE,
    "current": MAYBE,
    "change": MAYBE,
    "tolerance": (None, {"relative": NUMBER, "absolute": NUMBER}),
    "limit": MAYBE,
    "noise": MAYBE,
    "detectable": MAYBE,
    "resolution": NUMBER,
    "samples": [[MAYBE]],
    "baseline_samples": (None, [[MAYBE]]),
    "culprits": [CULPRIT],
}
KERNEL = {
    "name": str,
    "category": str,
    "count": MAYBE,
    "total_ns": MAYBE,
    "baseline_count": MAYBE,
    "baseline_total_ns": MAYBE,
}
CALL = {key: shape for key, shape in KERNEL.items() if key != "category"}
COPY = {**CALL, "bytes": MAYBE, "baseline_bytes": MAYBE}
WINDOW = {
    "name": str,
    "units": Mapping,
    "precision": str,
    "zero": [str],
    "metrics": [METRIC],
    "kernels": [KERNEL],
    "copies": [COPY],
    "memsets": [COPY],
    "calls": [CALL],
    "syncs": [CALL],
}
TEST = {
    "nodeid": str,
    "device": str,
    "recordings": [str],
    "status": STATUSES,
    "failed": bool,
    "headline": str,
    "knobs": [str],
    "improvements": [str],
    "below_limit": [str],
    "notes": [str],
    "warnings": [str],
    "against": str,
    "family_level": NUMBER,
    "demands": [{"window": str, "status": STATUSES, "text": str}],
    "counters": [
        {
            **dict.fromkeys(["kernel", "window", "sentence"], str),
            **dict.fromkeys(["launches", "baseline_launches"], NUMBER),
            "metrics": [
                {
                    **dict.fromkeys(["key", "label"], str),
                    **dict.fromkeys(["baseline", "current"], MAYBE),
                }
            ],
        }
    ],
    "findings": [
        {
            **dict.fromkeys(["name", "window", "summary", "advice"], str),
            "share": NUMBER,
            "evidence": [str],
        }
    ],
    "windows": [WINDOW],
}
UNITS = {"ns", "B", "1", "%", "B/s", "1/s", "FLOP", "FLOP/s", "Hz", "°C", "W"}
TABLE = {
    "gates": {"test", "server"},
    "columns": [{"head": str, "keys": [str], "unit": UNITS}],
    "rows": [
        {
            "nodeid": str,
            "window": str,
            "status": STATUSES,
            "figures": [{"current": MAYBE, "baseline": MAYBE, "scatter": MAYBE}],
        }
    ],
}
DOCUMENT = {
    "schema": int,
    "tool": {"name": str, "version": str},
    "mode": {"profile", "gate", "update", "update-new"},
    "command": str,
    "notes": [str],
    "counts": dict.fromkeys([*SEVERITY, "unmeasured"], int),
    "seconds": Mapping,
    "environment": (
        None,
        {
            **dict.fromkeys(["gpu", "driver", "cuda", "nsys", "date", "commit"], str),
            "trace": [str],
            "versions": Mapping,
            "gpu_digests": [str],
            "server": [str],
        },
    ),
    "figures": [TABLE],
    "tests": [TEST],
    "unmeasured": [{"nodeid": str, "reason": str, "baselines": [str]}],
    "baselines_written": [{"path": str, "nodeid": str, "new": bool}],
    "orphans": [{"path": str, "nodeid": str, "device": str, "looks_like": str, "unmarked": bool}],
}


def check(value: Any, shape: Any, where: str = "$") -> None:
    """A value against a shape: a type, a set of values, a list, an object, or None or a shape."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert value.keys() == shape.keys(), where
        for key in shape:
            check(value[key], shape[key], f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            check(item, shape[0], f"{where}[{number}]")
    elif isinstance(shape, set):
        assert value in shape, where
    elif isinstance(shape, tuple) and shape[0] is None:
        if value is not None:
            check(value, shape[1], where)
    else:
        assert isinstance(value, shape), f"{where}: {value!r}"
        assert isinstance(value, bool) == (shape is bool), where


def a_run() -> RunReport:
    written = slower("tests/test_b.py::test_b").measurement
    return RunReport(
        mode="gate",
        verdicts=(
            steady(),
            slower(),
            verdict(written, mode="gate"),
            verdict(written, written, spec=replace(SPEC, budget={"gpu.kernel_time": 1e6})),
        ),
        unmeasured=(Unmeasured("tests/test_c.py::test_c", "the worker died"),),
        changes=(Change(Path("baselines/b.json"), None, written),),
        seconds={"worker": 12.5},
        command="pytest --nsys-baseline ...",
        notes=("the capture lost 3 events",),
    )


def document(run: RunReport) -> dict[str, Any]:
    """The document with samples after a trip through JSON that knows no NaN."""
    text = json.dumps(report_document(run, samples=True), allow_nan=False)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def written(folder: Path, run: RunReport, *, samples: bool = False) -> dict[str, Any]:
    """What is in the file of a run."""
    write_json(run, folder / "run.json", samples=samples)
    loaded: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return loaded


def metrics(test: Mapping[str, Any], window: int = 0) -> dict[str, dict[str, Any]]:
    return {metric["key"]: metric for metric in test["windows"][window]["metrics"]}


@pytest.mark.parametrize("run", [a_run(), RunReport("profile")], ids=["full", "empty"])
def test_is_what_the_schema_says(run: RunReport) -> None:
    check(document(run), DOCUMENT)


def test_says_what_the_run_found() -> None:
    found = document(a_run())
    counts = {status: number for status, number in found["counts"].items() if number}
    assert counts == {"ok": 1, "regressed": 1, "new": 1, "over budget": 1, "unmeasured": 1}
    assert [test["failed"] for test in found["tests"]] == [False, True, True, True]
    assert found["environment"]["versions"] == {"python": "3.12.3", "torch": "2.11.0"}
    assert found["unmeasured"] == [
        {"nodeid": "tests/test_c.py::test_c", "reason": "the worker died", "baselines": []}
    ]
    assert found["baselines_written"] == [
        {"path": "baselines/b.json", "nodeid": "tests/test_b.py::test_b", "new": True}
    ]
    assert found["tests"][3]["demands"][0]["status"] == "over budget"


def test_a_regressed_metric_and_its_culprits() -> None:
    test = document(RunReport("profile", (slower(),)))["tests"][0]
    time = metrics(test)["gpu.kernel_time"]
    assert time["status"] == "regressed"
    assert time["gated"]
    assert (time["baseline"], time["current"], time["change"]) == (2365693, 2531800, 166107)
    assert time["tolerance"] == {"relative": 0.03, "absolute": 5000}
    assert time["limit"] == pytest.approx(0.03 * 2365693)
    assert 0 < time["noise"] < time["limit"] < time["detectable"] < time["change"]
    count = metrics(test)["memcpy.h2d.count"]
    assert (count["limit"], count["noise"], count["detectable"]) == (0, None, None)
    assert test["family_level"] == 0.01
    assert time["samples"] == [[2530900, 2531500, 2531800, 2532200, 2532900]]
    assert time["baseline_samples"] == [[2364793, 2365393, 2365693, 2366093, 2366793]]
    assert sum(culprit["change"] for culprit in time["culprits"]) == time["change"]
    assert time["culprits"][0] == {
        "label": FLASH,
        "baseline_label": FLASH,
        "baseline_count": 32,
        "current_count": 32,
        "change": 180447,
        "baseline_launch": None,
        "current_launch": None,
    }


def test_kernels_then_and_now() -> None:
    test = document(RunReport("profile", (slower(),)))["tests"][0]
    kernels = {part["name"]: part for part in test["windows"][0]["kernels"]}
    assert kernels[FLASH]["category"] == "attention"
    assert (kernels[FLASH]["baseline_total_ns"], kernels[FLASH]["total_ns"]) == (1010003, 1190450)
    assert (kernels["rms_norm"]["baseline_count"], kernels["rms_norm"]["count"]) == (65, 0)
    assert (kernels["rms_norm_v2"]["baseline_count"], kernels["rms_norm_v2"]["count"]) == (0, 65)


def test_copies_and_calls_then_and_now() -> None:
    window = document(RunReport("profile", (slower(),)))["tests"][0]["windows"][0]
    copies = {part["name"]: part for part in window["copies"]}
    assert copies["h2d 4 KiB"] == {
        "name": "h2d 4 KiB",
        "count": 2,
        "total_ns": 2400,
        "bytes": 8192,
        "baseline_count": 1,
        "baseline_total_ns": 1200,
        "baseline_bytes": 4096,
    }
    assert window["syncs"] == [
        {
            "name": "cudaStreamSynchronize",
            "count": 1,
            "total_ns": 45000,
            "baseline_count": 1,
            "baseline_total_ns": 44000,
        }
    ]
    assert (window["calls"], window["memsets"]) == ([], [])


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        names = set(value) - {"worker", "python", "torch", "token"}
        return names.union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


def test_the_page_is_that_of_this_schema_and_names_every_key() -> None:
    path = ROOT / "docs" / "json.md"
    assert path.read_text() == page(), "make docs"
    run = a_run()
    now = measurement(window(kernel(GEMM, 1, 5000), units={"token": 5}))
    found = document(replace(run, verdicts=(*run.verdicts, verdict(now, now))))
    missing = [key for key in sorted(keys_of(found)) if f'"{key}"' not in page()]
    assert not [key for key in missing if key not in SEVERITY]
    assert f"Schema {found['schema']}." in page()


def test_bottlenecks_are_told_with_their_evidence() -> None:
    one = Bottleneck("host-bound", 0.7, "The device waits.", ("idle 7 ms",), "Launch less.", "w")
    now = replace(slower().measurement, bottlenecks=(one,))
    found = document(RunReport("profile", (verdict(now),)))
    check(found, DOCUMENT)
    assert found["tests"][0]["findings"] == [
        {
            "name": "host-bound",
            "window": "w",
            "share": 0.7,
            "summary": "The device waits.",
            "evidence": ["idle 7 ms"],
            "advice": "Launch less.",
        }
    ]
    assert not [key for key in keys_of(found) if f'"{key}"' not in page() and key not in SEVERITY]


def test_without_a_baseline_every_metric_is_listed() -> None:
    test = document(RunReport("profile", (verdict(slower().measurement),)))["tests"][0]
    found = metrics(test)
    every = slower().measurement.windows["test"].samples.keys()
    assert {*found, *test["windows"][0]["zero"]} == every
    for metric in found.values():
        assert metric["status"] == "new"
        assert metric["samples"]
        nothing = ("baseline", "baseline_samples", "change", "tolerance", "limit", "noise")
        assert [metric[key] for key in nothing] == [None] * 6
        assert not metric["gated"]
    assert found["gpu.kernel_time"]["current"] == 2531800
    assert {part["baseline_count"] for part in test["windows"][0]["kernels"]} == {None}


def test_metrics_that_nobody_compares_are_listed_after_the_others() -> None:
    main = window(kernel(GEMM, 1, 5))
    samples = {"kernel[nvjet*].time": ((5.0,),), **main.samples}
    now = measurement(replace(main, samples=samples))
    test = document(RunReport("profile", (verdict(now, now),)))["tests"][0]
    keys = list(metrics(test))
    assert keys[-1] == "kernel[nvjet*].time"
    assert metrics(test)["kernel[nvjet*].time"]["status"] == "ok"


def test_other_units_leave_nothing_to_compare_with() -> None:
    now = measurement(window(kernel(GEMM, 1, 5000), units={"token": 5}))
    then = before(now, window(kernel(GEMM, 1, 5000), units={"token": 6}))
    test = document(RunReport("profile", (verdict(now, then),)))["tests"][0]
    time = metrics(test)["gpu.kernel_time"]
    assert (time["baseline"], time["current"], time["change"]) == (None, 5000, None)
    assert "6 token" in time["note"]
    assert {metric["status"] for metric in metrics(test).values()} == {"incomparable"}
    assert test["windows"][0]["units"] == {"token": 5}


def test_a_window_that_only_the_baseline_has() -> None:
    now = measurement(window(kernel(GEMM, 1, 5000)))
    then = before(now, *now.windows.values(), window(kernel(GEMM, 2, 7000), name="decode"))
    gone = document(RunReport("profile", (verdict(now, then),)))["tests"][0]["windows"][1]
    assert gone["name"] == "decode"
    assert gone["metrics"][0]["status"] == "incomparable"
    assert gone["metrics"][0]["current"] is None
    assert gone["kernels"][0] == {
        "name": GEMM,
        "category": "gemm",
        "count": None,
        "total_ns": None,
        "baseline_count": 2,
        "baseline_total_ns": 7000,
    }


def test_what_is_no_number_is_null() -> None:
    samples = [math.nan, math.inf, 1.5, 2.0, 1e300]
    now = measurement(window(kernel(GEMM, 1, 5), wall_time=samples))
    (wall,) = (
        metric
        for metric in metrics(document(RunReport("profile", (verdict(now),)))["tests"][0]).values()
        if metric["key"] == "wall.time"
    )
    assert wall["samples"] == [[None, None, 1.5, 2, 1e300]]


def test_a_tolerance_and_a_copy_count_as_they_are() -> None:
    spec = replace(SPEC, tolerance={"gpu.kernel_time": Tolerance(relative=0.5)})
    now = slower()
    judged = verdict(now.measurement, now.baseline, spec=spec)
    found = metrics(document(RunReport("profile", (judged,)))["tests"][0])
    assert found["gpu.kernel_time"]["tolerance"] == {"relative": 0.5, "absolute": 0}
    assert found["memcpy.h2d.count"]["culprits"] == [
        {
            **{"label": "h2d 4 KiB", "baseline_count": 1, "current_count": 2, "change": 1},
            **{"baseline_launch": None, "current_launch": None, "baseline_label": "h2d 4 KiB"},
        }
    ]


def test_sessions_stand_side_by_side_and_the_value_is_the_median_of_theirs() -> None:
    one, two = (measurement(window(kernel(GEMM, 1, ns))) for ns in (5000, 7000))
    judged = verdict(join_processes([one, two, one]), one)
    found = metrics(document(RunReport("profile", (judged,)))["tests"][0])
    time = found["gpu.kernel_time"]
    assert [process[2] for process in time["samples"]] == [5000, 7000, 5000]
    assert len(time["baseline_samples"]) == 1
    assert time["current"] == 5000
    assert found["wall.time"]["current"] == judged.measurement.windows["test"]["wall.time"]


def test_an_accepted_regression_says_why() -> None:
    entry = ExpectedChange(reason="new kernel", until=date(2999, 1, 1))
    now = slower()
    judged = judge(SPEC, now.measurement, now.baseline, Policy("gate", expected=(entry,)))
    test = document(RunReport("gate", (replace(judged, against="main"),)))["tests"][0]
    time = metrics(test)["gpu.kernel_time"]
    assert (test["status"], test["failed"], test["against"]) == ("expected", False, "main")
    assert (time["status"], time["accepted"]) == (
        "expected",
        "accepted until 2999-01-01: new kernel",
    )


def test_metrics_that_are_zero_on_both_sides_are_named_alone() -> None:
    now = measurement(window(kernel(GEMM, 1, 5000)))
    test = document(RunReport("gate", (verdict(now, now, mode="gate"),)))["tests"][0]
    assert "memcpy.h2d.count" in test["windows"][0]["zero"]
    assert "memcpy.h2d.count" not in metrics(test)
    copies = Part("h2d 4 KiB", 1, 800, 4096)
    then = before(now, window(kernel(GEMM, 1, 5000), copies=[copies]))
    test = document(RunReport("gate", (verdict(now, then, mode="gate"),)))["tests"][0]
    assert metrics(test)["memcpy.h2d.count"]["change"] == -1
    assert "memcpy.h2d.count" not in test["windows"][0]["zero"]


def test_a_round_that_is_not_zero_is_told(tmp_path: Path) -> None:
    main = window(kernel(GEMM, 1, 5000))
    samples = {**main.samples, "sync.count": ((0.0, 0.0, 1.0),)}
    now = measurement(replace(main, samples=samples))
    test = document(RunReport("gate", (verdict(now, now, mode="gate"),)))["tests"][0]
    assert metrics(test)["sync.count"]["samples"] == [[0, 0, 1]]


def test_the_file_has_samples_where_they_are_asked_for(tmp_path: Path) -> None:
    with_samples = written(tmp_path, a_run(), samples=True)
    assert with_samples == document(a_run())
    for test in with_samples["tests"]:
        for one in test["windows"]:
            for metric in one["metrics"]:
                del metric["samples"], metric["baseline_samples"]
    assert written(tmp_path, a_run()) == with_samples


def test_numbers_have_the_digits_that_say_something() -> None:
    times = [1234567.123456, 12.345678, 1 / 3, 4 / 300_000, 7.0]
    now = measurement(window(kernel(GEMM, 1, 5), wall_time=times))
    test = document(RunReport("profile", (verdict(now),)))["tests"][0]
    told = metrics(test)["wall.time"]["samples"]
    assert told == [[1234567.123, 12.3457, 0.333333, 0.0000133333, 7]]


def test_each_window_has_a_line_of_its_own(tmp_path: Path) -> None:
    write_json(a_run(), tmp_path / "run.json")
    lines = (tmp_path / "run.json").read_text().splitlines()
    assert sum(line.strip().startswith('{"name": "test"') for line in lines) == 0
    assert sum(line.strip().startswith('{"name":"test"') for line in lines) == 4


def test_writes_the_file_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "run.json"
    write_json(a_run(), path)
    write_json(RunReport("profile"), path)
    assert json.loads(path.read_text())["tests"] == []
    assert [entry.name for entry in path.parent.iterdir()] == ["run.json"]


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(NsysError, match="taken cannot be written"):
        write_json(RunReport("profile"), tmp_path / "taken")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_text_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    odd = slower("tests/test_\udc80.py::test_x[\u202e\x00]")
    culprit = Contribution("\udc80", Part("\udc80", 1, 5), None, -5)
    parts = tuple(replace(part, culprits=(culprit,)) for part in odd.comparisons)
    write_json(RunReport("profile", (replace(odd, comparisons=parts),)), tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="ascii")
    test = json.loads(text)["tests"][0]
    assert test["nodeid"] == "tests/test_\\udc80.py::test_x[\u202e\x00]"
    assert test["windows"][0]["metrics"][0]["culprits"][0]["label"] == "\\udc80"


def test_counters_stand_beside_those_of_the_baseline_with_what_they_say() -> None:
    then, now = (
        KernelCounters("gemm", "test", 2, {DURATION: ns, FP64: share})
        for ns, share in ((100.0, 0.0), (900.0, 86.0))
    )
    after = slower().measurement
    earlier = before(after, *after.windows.values())
    judged = verdict(replace(after, counters=(now,)), replace(earlier, counters=(then,)))
    found = document(RunReport("profile", (judged,)))
    check(found, DOCUMENT)
    (counters,) = found["tests"][0]["counters"]
    assert counters["sentence"] == "double precision: fp64 pipe 0.0 % -> 86.0 %"
    assert {one["key"]: (one["baseline"], one["current"]) for one in counters["metrics"]} == {
        DURATION: (100, 900),
        FP64: (0, 86),
    }
