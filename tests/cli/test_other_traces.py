"""Traces of torch.profiler and Proton, as the commands read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Answer, document_of
from tests.support.exports.kineto import hatchet, two_steps, write_text


def test_stats_says_what_is_there_and_what_cannot_be_known(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    path = two_steps().write(tmp_path / "t.json.gz")
    document = document_of(command("stats", path, "--format", "json"))
    assert document["metrics"]["gpu.kernel_count"] == 4
    assert not {"mem.peak", "api.count", "api.time"} & document["metrics"].keys()
    (steps,) = document["ranges"]
    assert (steps["name"], steps["count"]) == ("ProfilerStep", 2)
    assert "api.time" not in steps["instances"]
    code, out, _ = command("stats", path)
    assert code == 0
    assert "no value of mem.*: what the driver allocates is not in it" in out
    code, out, _ = command("stats", path, "--range", "ProfilerStep", "--skip", "1")
    assert (code, "gpu.kernel_count     2" in " ".join(out.split("  ")) or "2" in out) == (0, True)


def test_a_regression_between_two_traces_names_the_kernel(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = two_steps().write(tmp_path / "before.json")
    after = two_steps(150.5).write(tmp_path / "after.json")
    code, out, _ = command("diff", before, after)
    headline = " ".join(out.partition("\n\n")[0].split())
    assert code == 1
    assert "gpu.kernel_time +48.8%" in headline
    assert "gemm_kernel<float> +100 us (2x)" in headline
    assert "no value of mem.*" in headline
    document = json.loads(after.read_text())
    for event in document["traceEvents"]:
        if "gemm" in event["name"]:
            event["args"]["grid"] = [4, 1, 1]
    write_text(after, json.dumps(document))
    code, out, _ = command("diff", before, after, "--range", "ProfilerStep")
    assert code == 1
    assert "grid" in out
    assert "one instance of 'ProfilerStep'" in out
    assert command("diff", before, before, "--html", tmp_path / "d.html")[0] == 0


def test_trees_of_proton_are_compared_by_their_sums(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    sides = [
        write_text(
            tmp_path / f"{ns}.hatchet", json.dumps(hatchet({"gemm": (10, ns), "add": (2, 7)}))
        )
        for ns in (200_000, 300_000)
    ]
    code, out, _ = command("diff", *sides, "--html", tmp_path / "d.html", "--format", "json")
    assert code == 1
    assert "gemm" in out
    code, out, _ = command("compare", *sides)
    assert code == 0
    assert "kernel time +50.0%" in out
    code, out, _ = command("stats", sides[0], "--range", "step")
    assert (code, "bottlenecks" in out.partition("metrics")[2]) == (0, False)
    code, _, err = command("export", "--perfetto", sides[0], "-o", tmp_path / "p.json")
    assert (code, "does not say when a kernel ran" in err) == (2, True)


def test_only_one_side_may_lack_something(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    trace = two_steps().write(tmp_path / "t.json")
    code, out, _ = command("compare", captures["basic"], trace)
    assert code == 0
    assert "B: no value of mem.*" in " ".join(out.split())
    code, out, _ = command("diff", captures["basic"], trace)
    assert "mem.peak of window 'test' is not in this run" in out


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_damaged_trace_is_one_error(
    command: Callable[..., Answer], tmp_path: Path, name: str
) -> None:
    path = write_text(tmp_path / name, '{"traceEvents": [{"ph": "X", "cat": "kern')
    code, out, err = command("stats", path)
    assert (code, out) == (2, "")
    assert "is damaged or was cut off" in err
    assert "Traceback" not in err


def test_what_export_drew_is_no_trace(command: Callable[..., Answer], tmp_path: Path) -> None:
    two_steps().write(tmp_path / "t.json.gz")
    assert command("export", "--perfetto", tmp_path / "t.json.gz")[0] == 0
    drawn = tmp_path / "t.perfetto.json.gz"
    code, _, err = command("stats", drawn)
    assert (code, "is what pytest-nsys export drew" in err) == (2, True)
    write_text(tmp_path / "other.json", "{}")
    document = document_of(command("stats", tmp_path, "--format", "json"))
    assert document["metrics"]["gpu.kernel_count"] == 4
    assert document["metrics"]["sync.count"] == 2
    told = " ".join(document["defects"])
    assert "1 of 3 files were drawn by pytest-nsys export: left out" in told
    assert "1 of 3 files have nothing of a GPU: left out" in told
