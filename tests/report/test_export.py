"""The formats of other tools: what they say, and that those would take it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import ReportError
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.plan.options import Mode
from pytest_nsys.report.export import bencher_document, github_lists, write_export
from pytest_nsys.report.run import RunReport
from pytest_nsys.support.text import printable
from pytest_nsys.verdict.judge import Policy, judge
from tests.support import made
from tests.support.formats import check_bencher, check_github

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)
SMALLER, BIGGER = "customSmallerIsBetter", "customBiggerIsBetter"
ROUNDS = [190e3, 187648.0, 187e3, 188e3, 187500.0]


def measured(nodeid: str = "t.py::test", window: str = "test", **samples: Any) -> Measurement:
    found = {"gpu.kernel_time": ROUNDS, "gpu.kernel_count": [5.0] * 5, **samples}
    return replace(made.measurement(made.window(found, name=window)), nodeid=nodeid)


def served(**samples: Any) -> Measurement:
    window = {
        "client.tokens_per_s": [93.49, 94.0, 92.0],
        "client.ttft_p50": [15.06e6, 15.1e6, 15.0e6],
        "client.output_tokens": [64.0] * 3,
        **samples,
    }
    return replace(made.measurement(made.window(window, name="load")), nodeid="t.py::test_serving")


def report(
    *measurements: Measurement, then: Measurement | None = None, mode: Mode = "profile"
) -> RunReport:
    return RunReport(mode, tuple(judge(SPEC, one, then, Policy(mode)) for one in measurements))


def test_a_test_is_a_benchmark_and_what_gates_it_are_its_measures() -> None:
    run = report(measured(), then=measured(**{"gpu.kernel_time": [44e3] * 5}))
    document = bencher_document(run)
    check_bencher(document)
    assert [*document] == ["t.py::test"]
    assert document["t.py::test"]["gpu.kernel_time"] == {
        "value": 187648,
        "lower_value": 187000,
        "upper_value": 190000,
    }
    assert document["t.py::test"]["gpu.kernel_count"]["value"] == 5
    assert "gpu.busy" not in document["t.py::test"], "it gates nothing"
    lists = github_lists(run)
    check_github(lists[SMALLER])
    assert lists[BIGGER] == []
    time = next(one for one in lists[SMALLER] if one["name"] == "t.py::test gpu.kernel_time")
    assert time == {
        "name": "t.py::test gpu.kernel_time",
        "unit": "ns",
        "value": 187648,
        "range": "± 500",
        "extra": "regressed\n44 us -> 187.6 us (+326%)\nnvidia-h200",
    }
    count = next(one for one in lists[SMALLER] if one["name"] == "t.py::test gpu.kernel_count")
    assert (count["unit"], count["range"]) == ("count", "± 0")


def test_without_a_baseline_it_is_what_gates_by_default() -> None:
    for mode in ("profile", "update"):
        run = report(measured(), served(), mode=mode)
        document = bencher_document(run)
        check_bencher(document)
        assert document["t.py::test"].keys() == {"gpu.kernel_time", "gpu.kernel_count"}
        assert document["t.py::test_serving [load]"].keys() == {
            "client.ttft_p50",
            "client.tokens_per_s",
        }
        assert github_lists(run)[BIGGER] == [
            {
                "name": "t.py::test_serving [load] client.tokens_per_s",
                "unit": "1/s",
                "value": 93.49,
                "range": "± 1",
                "extra": "nvidia-h200",
            }
        ]


def test_what_json_or_the_tool_cannot_hold_is_left_out_or_shortened() -> None:
    run = report(measured("t.py::test[\ud800" + "é" * 3000 + "]", "w" * 70))
    document = bencher_document(run)
    check_bencher(document)
    (name,) = document
    assert name.startswith("t.py::test[\\ud800éé")
    other = bencher_document(report(measured("t.py::test[\ud800" + "é" * 3001 + "]", "w" * 70)))
    assert [*other] != [name], "what was cut is told apart"
    odd = report(measured(**{"gpu.kernel_time": [math.inf] * 5}))
    assert bencher_document(odd)["t.py::test"].keys() == {"gpu.kernel_count"}
    assert bencher_document(report()) == {}


@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=80), st.floats(0, 1e15))
def test_whatever_names_and_values_are_the_tools_take_it(
    nodeids: list[str], window: str, value: float
) -> None:
    tests = [
        measured(nodeid or "-", window or "-", **{"gpu.kernel_time": [value, value + 1, value]})
        for nodeid in {printable(nodeid): nodeid for nodeid in nodeids}.values()
    ]
    run = report(*tests)
    check_bencher(json.loads(json.dumps(bencher_document(run))))
    for entries in github_lists(run).values():
        check_github(json.loads(json.dumps(entries)))


def test_files_are_written_and_a_list_that_would_be_empty_is_not(tmp_path: Path) -> None:
    run = report(measured(), served())
    write_export(run, "bencher", tmp_path / "new/bmf.json")
    assert json.loads((tmp_path / "new/bmf.json").read_text()) == bencher_document(run)
    folder = tmp_path / "lists"
    write_export(run, "github-benchmark", folder)
    files = {path.stem: json.loads(path.read_text()) for path in folder.iterdir()}
    assert files == github_lists(run)
    write_export(report(measured()), "github-benchmark", folder)
    assert [path.stem for path in folder.iterdir()] == [SMALLER], "nothing of an earlier run stays"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ReportError, match="file"):
        write_export(report(measured()), "github-benchmark", file)
    with pytest.raises(ReportError, match=str(tmp_path)):
        write_export(report(measured()), "bencher", tmp_path)
