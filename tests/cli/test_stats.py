"""``pytest-nsys stats``: what it says of stored captures."""

from __future__ import annotations

import lzma
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.catalogue import METRICS, SAID_BY_TESTS
from pytest_nsys.metrics.breakdown import WHOLE_GRAPH
from pytest_nsys.metrics.records import STATE_METRICS
from pytest_nsys.offline.stats import SPREAD, stats_document
from pytest_nsys.offline.stats_tests_text import window_lines
from pytest_nsys.offline.stats_text import launch_words
from pytest_nsys.trace import load_trace, schema
from tests.simgpu.standin import write_standin
from tests.support.command import Answer, document_of, record, step
from tests.support.exports.traces import PID, TraceBuilder
from tests.support.harness import ROOT, SIMGPU


@pytest.mark.parametrize("name", ["basic", "train", "llama_node"])
def test_stats_as_json_have_exactly_this_schema(
    command: Callable[..., Answer], captures: dict[str, Path], name: str
) -> None:
    document = document_of(command("stats", captures[name], "--format", "json"))
    assert list(document) == [
        *("schema", "environment", "defects", "metrics", "kernels", "categories", "copies"),
        *("memsets", "calls", "syncs", "allocations", "streams", "devices", "processes", "tests"),
        *("ranges", "outside", "findings"),
    ]
    assert document["schema"] == 2
    assert document["environment"] == {
        "gpu": "NVIDIA H200",
        "driver": "580.159.04",
        "cuda": "13.0",
        "nsys": "2025.3.2.0",
        "schema": "3.20.3",
    }
    keys = list(document["metrics"])
    assert keys == sorted(keys)
    # No capture here sampled GPU metrics, recorded unified memory or is of several processes, and
    # none has every copy. What NVML says of the GPUs, and a client of a server, is in no capture,
    # nor is the work that tests say they do.
    elsewhere = ("sm.", "tensor.", "dram.", "pcie.", "um.", "process.", *STATE_METRICS)
    elsewhere += ("client.", "step.", "prefill.", "decode.", *SAID_BY_TESTS)
    expected = {metric.key for metric in METRICS if not metric.key.startswith(elsewhere)}
    assert {key for key in expected if not key.endswith(".throughput")} < set(keys) <= expected
    assert all(isinstance(value, (int, float)) for value in document["metrics"].values())
    for kernel in document["kernels"]:
        assert list(kernel) == [
            *("name", "canonical", "category", "count"),
            *("total_ns", "min_ns", "max_ns", "median_ns", "configurations", "launches"),
        ]
        assert kernel["min_ns"] <= kernel["median_ns"] <= kernel["max_ns"] <= kernel["total_ns"]
    totals = [kernel["total_ns"] for kernel in document["kernels"]]
    assert totals == sorted(totals, reverse=True)
    assert sum(totals) == document["metrics"]["gpu.kernel_time"]
    for part in document["ranges"]:
        assert list(part) == ["name", "count", "metrics", "instances"]
        assert list(part["instances"]) == list(SPREAD)
        assert set(part["metrics"]) <= set(keys)
    fields = {
        **{"categories": ["name", "count", "total_ns"], "calls": ["name", "count", "total_ns"]},
        **{"syncs": ["name", "count", "total_ns"], "allocations": ["name", "count", "bytes"]},
        "copies": ["name", "count", "total_ns", "bytes"],
        "memsets": ["name", "count", "total_ns", "bytes"],
        "streams": ["device", "process", "stream", "count", "total_ns"],
        "findings": ["name", "share", "summary", "evidence", "advice"],
    }
    for section, names in fields.items():
        assert document[section], section
        assert all(list(row) == names for row in document[section]), section
    assert document["devices"] == document["processes"] == document["tests"] == []
    assert list(document["outside"]["ranges"]) == ["count", "total_ns"]
    assert document["outside"]["tests"] is None


@pytest.mark.parametrize("name", ["train", "llama_node", "peer_metrics", "graph_graph"])
def test_the_parts_of_stats_add_up(
    command: Callable[..., Answer], captures: dict[str, Path], name: str
) -> None:
    document = document_of(command("stats", captures[name], "--format", "json"))
    metrics = document["metrics"]

    def total(section: str, field: str) -> int:
        return sum(row[field] for row in document[section])

    assert total("categories", "total_ns") == metrics["gpu.kernel_time"]
    assert total("categories", "count") == metrics["gpu.kernel_count"]
    assert total("calls", "count") == metrics["api.count"]
    assert total("syncs", "count") == metrics["sync.count"]
    assert total("syncs", "total_ns") == metrics["sync.time"]
    assert total("memsets", "bytes") == metrics["memset.bytes"]
    kinds = ("h2d", "d2h", "d2d", "p2p")
    assert total("copies", "bytes") == sum(metrics[f"memcpy.{kind}.bytes"] for kind in kinds)
    operations = total("streams", "count") - metrics["gpu.kernel_count"]
    assert operations == total("copies", "count") + total("memsets", "count")
    whole = {row["name"] for row in document["kernels"]} & {WHOLE_GRAPH}
    assert bool(whole) is (name == "graph_graph")


def test_stats_of_a_range_are_of_all_its_instances(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    path = captures["train"]
    document = document_of(command("stats", path, "--range", "bwd", "--format", "json"))
    assert document["metrics"]["gpu.kernel_count"] == 16 * 12
    assert sum(kernel["count"] for kernel in document["kernels"]) == 16 * 12
    (part,) = document["ranges"]
    assert (part["name"], part["count"]) == ("bwd", 16)
    assert part["metrics"] == document["metrics"]
    whole = document_of(command("stats", path, "--format=json"))
    assert [(part["name"], part["count"]) for part in whole["ranges"]] == [
        *[("bwd", 16), ("fwd", 16), ("h2d", 16), ("opt", 16)]
    ]
    assert part in whole["ranges"]


def test_a_kernel_in_nested_ranges_of_one_name_is_listed_once(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    builder.range("a", 0, 100)
    builder.range("a", 10, 90)
    builder.kernel("gemm", 50, 7)
    path = builder.export(tmp_path / "x.sqlite")
    document = document_of(command("stats", path, "--range=a", "--format=json"))
    assert [(row["name"], row["count"]) for row in document["kernels"]] == [("gemm", 1)]


def test_the_plugins_own_ranges_are_not_listed(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    path = step().export(tmp_path / "x.sqlite")
    document = document_of(command("stats", path, "--format=json"))
    assert [(part["name"], part["count"]) for part in document["ranges"]] == [("step", 3)]


@pytest.mark.parametrize("name", ["basic", "train", "llama_node"])
@pytest.mark.parametrize("arguments", [(), ("--range", "fwd")])
def test_a_table_of_stats_fits_eighty_columns(
    command: Callable[..., Answer],
    captures: dict[str, Path],
    name: str,
    arguments: tuple[str, ...],
) -> None:
    if arguments and name != "train":
        arguments = ("--range", {"basic": "step", "llama_node": "graph_replay"}[name])
    code, out, err = command("stats", captures[name], *arguments)
    assert (code, err) == (0, "")
    assert out.startswith("gpu NVIDIA H200, driver 580.159.04")
    for line in out.splitlines():
        assert len(line) <= 80, line


def test_a_table_of_stats_shows_metrics_kernels_and_ranges(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    out = command("stats", captures["train"])[1]
    assert ["gpu.kernel_time", "5.444", "ms"] in [line.split() for line in out.splitlines()]
    assert "   980.4 us =     16 x  61.33 us  gemm" in out.splitlines()
    assert "NVTX ranges:" in out
    many = command("stats", captures["llama_node"])[1]
    assert " more (--format json has all)" in many


def test_stats_say_how_kernels_are_launched(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    kernels = document_of(command("stats", captures["train"], "--format=json"))["kernels"]
    assert kernels[0]["configurations"] == 1
    assert kernels[0]["launches"] == [
        {
            **{"grid": [4, 64], "block": [128], "registers": 128},
            **{"shared_bytes": 13056, "local_bytes": 0},
            **{"occupancy_pct": 25, "limited_by": "registers", "count": 16, "total_ns": 980436},
        }
    ]
    several = [kernel for kernel in kernels if kernel["configurations"] > 4]
    assert [len(kernel["launches"]) for kernel in several] == [4]
    out = command("stats", captures["train"])[1].splitlines()
    at = out.index("      xmma_gemm_f32f32_f32f32_f32_tn_n_ffma")
    assert out[at + 1 : at + 3] == [
        "        grid 4x64, block 128, 128 registers, 12.75 KiB shared, occupancy 25%",
        "        (registers)",
    ]
    # A capture without these columns.
    document = document_of(command("stats", captures["triton"], "--format=json"))
    assert {kernel["configurations"] for kernel in document["kernels"]} == {0}
    assert "occupancy" not in command("stats", captures["triton"])[1]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ((95, 5), "grid 2, block 32, 16 registers, 8 B local"),
        ((60, 40), "mostly grid 2, block 32, 16 registers, 8 B local"),
        ((40, 30, 30), "in 3 launch configurations"),
    ],
)
def test_a_kernel_of_several_launch_configurations(times: tuple[int, ...], said: str) -> None:
    how = {"grid": [2], "block": [32], "registers": 16, "shared_bytes": 0, "local_bytes": 8}
    unknown = {"occupancy_pct": None, "limited_by": ""}
    launches = [{**how, **unknown, "count": 1, "total_ns": time} for time in times]
    kernel = {"configurations": len(times), "launches": launches, "total_ns": sum(times)}
    assert launch_words(kernel) == said


def test_stats_of_a_capture_without_gpu_work_are_zero(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    path = builder.export(tmp_path / "x.sqlite", gpus=())
    document = document_of(command("stats", path, "--format=json"))
    assert document["kernels"] == document["ranges"] == []
    assert document["metrics"]["gpu.kernel_time"] == 0
    assert command("stats", path)[0] == 0


def test_packed_exports_and_recordings_are_read(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    plain = document_of(command("stats", captures["train"], "--format=json"))
    packed = tmp_path / "train.sqlite.xz"
    packed.write_bytes(lzma.compress(captures["train"].read_bytes(), preset=0))
    assert document_of(command("stats", packed, "--format=json")) == plain
    recording = record(tmp_path / "recording", step())
    single = document_of(command("stats", recording, "--format=json"))
    assert single["metrics"]["gpu.kernel_count"] == 3
    capture = document_of(command("stats", recording / "capture-1.sqlite.xz", "--format=json"))
    assert capture == single


def test_a_recording_with_several_captures_is_told_by_its_tests(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    recording = record(tmp_path / "recording", step(), step(2))
    code, out, err = command("stats", recording)
    assert (code, err) == (0, "")
    assert out.splitlines()[:6] == [
        "gpu NVIDIA H200, driver 580.1, cuda 13.0, nsys 2025.3.2",
        "",
        "tests (medians over 3 rounds):",
        "      kernel time  kernels  copies  syncs  peak",
        "  t0       100 us        1       2      0   0 B",
        "  t1       100 us        1       2      0   0 B",
    ]
    assert out.endswith(f":\n  pytest-nsys stats {recording}/capture-1.sqlite.xz\n")
    document = document_of(command("stats", recording, "--format=json"))
    assert list(document) == ["schema", "environment", "tests", "findings", "captures"]
    assert document["captures"] == ["capture-1.sqlite.xz", "capture-2.sqlite.xz"]
    rows = [(row["nodeid"], row["window"], row["rounds"]) for row in document["tests"]]
    assert rows == [("t.py::t0", "test", 3), ("t.py::t1", "test", 3)]
    code, out, err = command("stats", recording, "--process", "7")
    assert (code, out) == (2, "")
    assert "is a recording with 2 captures" in err
    assert f"name one of them, such as {recording}/capture-1.sqlite.xz" in err
    lost = record(tmp_path / "lost", step(), step(), problem="lost")
    code, _, err = command("stats", lost)
    assert code == 2
    assert "holds no measured test" in err


SERVERS = ROOT / "examples" / "servers" / "recordings" / "h200"


def test_servers_have_their_windows_and_what_clients_saw(command: Callable[..., Answer]) -> None:
    code, out, err = command("stats", SERVERS)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    at = lines.index("servers under load (medians over rounds):")
    assert lines[at + 1 :][:12] == [
        "                   kernel/token  tokens/s  TTFT p50       p95   busy",
        "  test_serving",
        "    concurrency-1      576.7 us   170.6/s  9.611 ms  24.22 ms  10.7%",
        "    concurrency-8      645.9 us     149/s  61.99 ms  103.3 ms  10.4%",
        "    sustained          648.7 us   148.6/s  47.48 ms  56.95 ms   9.9%",
        "",
        "what clients saw:",
        "  test_serving.py::test_serving",
        "                   TTFT p50       p95  TPOT p50   latency       p95  requests/s",
        "    concurrency-1  9.611 ms  10.61 ms  4.554 ms   23.4 ms  24.22 ms     42.65/s",
        "    concurrency-8  61.99 ms  98.25 ms  4.983 ms  67.47 ms  103.3 ms     74.49/s",
        "    sustained      47.48 ms  51.44 ms    4.9 ms  52.76 ms  56.95 ms     74.31/s",
    ]
    at = lines.index("  test_serving.py::test_serving [concurrency-1]")
    assert lines[at + 1 : at + 3] == [
        "    gemm 45.2%, elementwise 29.1%, copy 15.1%, reduce 6.49%, attention 4.05%",
        "    nvjet_tst_bz_TNT                                  184x  1.764 ms  38.2%",
    ]
    assert "bottlenecks in test_serving.py::test_serving [sustained]:" in lines
    assert all(len(line) <= 80 for line in lines[:-1]), "but for the path"
    document = document_of(command("stats", SERVERS, "--format=json"))
    first = document["tests"][0]
    assert first["units"] == {"token": 8, "request": 2}
    metrics = first["metrics"]
    assert metrics["gpu.kernel_time.per_token"] == metrics["gpu.kernel_time"] / 8
    assert metrics["client.tokens_per_s"] == pytest.approx(170.6, abs=0.1)
    assert sum(part["total_ns"] for part in first["categories"]) == pytest.approx(
        sum(part["total_ns"] for part in first["kernels"]), abs=len(first["kernels"])
    )
    assert {row["window"] for row in document["findings"]} == {
        *("concurrency-1", "concurrency-8", "sustained")
    }


@pytest.mark.parametrize("name", ["stats", "diff", "compare"])
def test_a_range_may_be_a_window_of_tests(command: Callable[..., Answer], name: str) -> None:
    paths = [SERVERS] if name == "stats" else [SERVERS, SERVERS]
    code, out, err = command(name, *paths, "--range", "conc*-8")
    assert (code, err) == (0, "")
    assert "concurrency-8" in out
    assert "concurrency-1" not in out
    code, out, err = command(name, *paths, "--range", "prefill")
    assert (code, out) == (2, "")
    assert "has no window 'prefill'\n  windows: concurrency-1, concurrency-8, sustained" in err
    example = ROOT / "examples" / "recordings" / "h200"
    paths = [example] * len(paths)
    code, out, err = command(name, *paths, "--range", "backward")
    assert (code, err) == (0, "")
    assert "backward" in out
    assert "test_gemm" not in out
    code, out, err = command(name, *paths, "--range", "none")
    assert (code, out) == (2, "")
    assert "no NVTX range 'none'" in err
    assert "\n  ranges: none\n  windows: 'backward', 'forward', 'optimizer'\n" in err
    for typed, said in (("foward", "did you mean 'forward'?"), ("none", "name one of these")):
        code, out, err = command(name, *paths, "--range", typed)
        assert (code, out) == (2, "")
        assert f"What to do: {said}" in err
    _, _, err = command(name, *paths, "--range=forward", "--skip=1")
    assert "What to do: it is a window of tests: leave out --skip and --process" in err
    if name == "compare":
        _, _, err = command(name, example, "--range=foward")
        assert "windows: backward, forward, optimizer\nWhat to do: did you mean" in err
    servers = [SERVERS] * len(paths)
    assert "did you mean 'sustained'?" in command(name, *servers, "--range=sustaind")[2]


@pytest.mark.parametrize(
    "words",
    [("stats",), ("export", "--perfetto"), ("scrub",), ("ncu",)],
    ids=lambda words: words[0],
)
def test_a_folder_of_recordings_is_told_with_those_in_it(
    command: Callable[..., Answer], tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = ROOT / "examples" / "recordings"
    target = () if words[0] == "ncu" else ("-o", tmp_path / "copy.sqlite.xz")
    test = ("test_examples.py::test_gemm",) if words[0] == "ncu" else ()
    code, out, err = command(*words, folder, *test, *(target if words[0] != "stats" else ()))
    assert (code, out) == (2, "")
    assert f"{folder} holds recordings\n  h200, h200-slips\n" in err
    assert f"name one, such as {folder / 'h200'}" in err


def test_errors_of_requests_and_idle_windows_are_told() -> None:
    def row(window: str, **metrics: float) -> dict[str, Any]:
        found = {f"client.{key}": value for key, value in metrics.items()}
        return {
            **{"nodeid": "t.py::t", "window": window, "rounds": 1, "units": {}},
            **{"metrics": found, "categories": [], "kernels": []},
        }

    lines = window_lines([row("a", ttft_p50=1e6, errors=0.0), row("b", errors=2.0)])
    at = lines.index("what clients saw:")
    assert [line.split() for line in lines[at + 2 : at + 5]] == [
        ["TTFT", "p50", "errors"],
        ["a", "1", "ms", "0"],
        ["b", "-", "2"],
    ]
    assert lines[-2:] == ["  t.py::t [b]", "    no kernels"]
    many = window_lines([row(f"w{number}", errors=0.0) for number in range(30)])
    assert many[-1] == "  and 6 windows more (--format json has all)"
    assert window_lines([]) == []


def test_a_report_is_exported_by_nsys(
    command: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nsys = write_standin(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(SIMGPU / "path"))
    app = "import simgpu; simgpu.launch('gemm', 10); simgpu.synchronize()"
    profile = ["profile", "--trace=cuda,nvtx", "-o", str(tmp_path / "report")]
    subprocess.run([nsys, *profile, sys.executable, "-c", app], check=True, capture_output=True)
    report = tmp_path / "report.nsys-rep"
    asked = ("--format=json", "--nsys-executable", nsys)
    document = document_of(command("stats", report, *asked))
    assert document["metrics"]["gpu.kernel_count"] == 1
    assert command("diff", report, report, "--nsys-executable", nsys)[0] == 0
    older = tmp_path / "older.qdrep"
    older.write_bytes(report.read_bytes())
    assert document_of(command("stats", older, *asked)) == document
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert document_of(command("stats", report, "--format=json")) == document
    code, _, err = command("stats", report, "--nsys-executable", tmp_path / "none")
    assert code == 2
    assert "there is no program" in err


def test_an_unknown_range_lists_those_there_are(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    code, out, err = command("stats", captures["train"], "--range", "backward")
    assert (code, out) == (2, "")
    assert "no NVTX range 'backward'" in err
    assert "ranges: 'bwd', 'fwd', 'h2d', 'opt'" in err
    assert "What to do: name one of these; * and ? are wild" in err
    for near, known in (("fdw", "fwd"), (":opts", ":opt")):
        _, _, err = command("stats", captures["train"], "--range", near)
        assert f"What to do: did you mean {known!r}?" in err


def test_an_unknown_range_of_a_capture_without_any_says_none(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    builder.kernel("gemm", 10, 10)
    assert "ranges: none" in command("stats", builder.export(tmp_path / "x"), "--range=a")[2]


def test_every_device_and_every_process_has_its_own_metrics(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    document = document_of(command("stats", captures["nccl"], "--format", "json"))
    assert [(row["device"], row["name"]) for row in document["devices"]] == [
        *[(0, "NVIDIA H200"), (1, "NVIDIA H200")]
    ]
    assert len(document["processes"]) == 2
    for section in ("devices", "processes"):
        for key in ("gpu.kernel_count", "gpu.kernel_time", "memcpy.h2d.bytes", "mem.alloc_count"):
            parts = sum(row["metrics"][key] for row in document[section])
            assert parts == document["metrics"][key], (section, key)
    assert all("api.count" not in row["metrics"] for row in document["devices"])
    calls = [row["metrics"]["api.count"] for row in document["processes"]]
    assert sum(calls) == document["metrics"]["api.count"]
    assert min(calls) > 0
    out = command("stats", captures["nccl"])[1]
    assert out.startswith("gpu 2x NVIDIA H200, driver ")
    for title in ("devices:", "processes:", "streams:"):
        assert title in out.splitlines()


def test_devices_and_processes_of_a_range_are_those_of_the_range(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    builder.range("step", 100, 200)
    other = (9 << 24) + 1
    builder.made.range(100, 200, "step", globalTid=other)
    builder.kernel("gemm", 50, 3)
    builder.kernel("gemm", 110, 5, device=0)
    builder.kernel("gemm", 120, 7, device=1, tid=other)
    builder.kernel("gemm", 300, 9, device=1, tid=other)
    path = builder.export(tmp_path / "x.sqlite", gpus=("A", "B"))
    document = document_of(command("stats", path, "--range=step", "--format=json"))
    times = {row["device"]: row["metrics"]["gpu.kernel_time"] for row in document["devices"]}
    assert times == {0: 5, 1: 7}
    times = {row["process"]: row["metrics"]["gpu.kernel_time"] for row in document["processes"]}
    assert times == {7: 5, 9: 7}
    assert [(row["process"], row["count"]) for row in document["streams"]] == [(7, 1), (9, 1)]
    assert document["allocations"] == document["tests"] == []
    assert document["outside"] == {"ranges": None, "tests": None}


def test_what_was_launched_in_no_range_is_counted(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    builder.range("outer", 100, 300)
    builder.range("inner", 120, 200)
    builder.range("later", 400, 500)
    for launched, ns in ((99, 1), (100, 2), (150, 4), (299, 8), (300, 16), (450, 32), (500, 64)):
        builder.kernel("gemm", launched, ns)
    builder.memset(350, 128, 4)
    path = builder.export(tmp_path / "x.sqlite")
    document = document_of(command("stats", path, "--format=json"))
    assert document["outside"]["ranges"] == {"count": 4, "total_ns": 1 + 16 + 64 + 128}
    assert "  in no NVTX range: 4 GPU operations, 209 ns" in command("stats", path)[1]


def test_tests_are_listed_from_records_or_from_labels_alone(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = step(2)
    builder.window(90, 95, nodeid="t.py::t1", kind="sentinel", round=-1)
    builder.kernel("setup", 50, 11)
    folder = record(tmp_path / "recording", builder)
    document = document_of(command("stats", folder, "--format=json"))
    shown = [(test["nodeid"], test["window"], test["rounds"]) for test in document["tests"]]
    assert shown == [("t.py::t0", "test", 3), ("t.py::t1", "test", 3)]
    assert [test["metrics"]["gpu.kernel_count"] for test in document["tests"]] == [1, 1]
    assert all("mem.peak" in test["metrics"] for test in document["tests"])
    assert document["outside"]["tests"] == {"count": 1, "total_ns": 11}
    labels = document_of(command("stats", folder / "capture-1.sqlite.xz", "--format=json"))
    assert labels == document
    out = command("stats", folder)[1]
    lines = out.splitlines()
    assert lines.index("tests (medians over 3 rounds):") < lines.index("metrics that are not zero:")
    assert "  t0       100 us        1       2      0   0 B" in lines
    assert "  in no round of a test: 1 GPU operation, 11 ns" in lines
    assert "the whole capture, with what ran around the tests:" in lines


def test_a_recording_whose_capture_lost_windows_says_so(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = step()
    folder = record(tmp_path / "recording", builder)
    fewer = step()
    del fewer.rows[schema.NVTX][-3:]
    path = fewer.export(tmp_path / "fewer.sqlite")
    (folder / "capture-1.sqlite.xz").write_bytes(lzma.compress(path.read_bytes(), preset=0))
    document = document_of(command("stats", folder, "--format=json"))
    assert document["tests"] == []
    (defect,) = document["defects"]
    assert "windows are missing in the capture: its tests are left out" in defect


def test_what_nsys_misses_in_processes_without_a_gpu_is_no_defect_of_a_whole_recording(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    path = ROOT / "examples" / "recordings" / "h200"
    assert "nsys says" not in command("stats", path)[1]
    missed = [
        "No NVTX events collected. Does the process use NVTX?",
        "CUDA profiling might have not been started correctly.",
        "Events were lost.",
    ]
    alone = TraceBuilder()
    alone.kernel("gemm", 100, 10)
    for builder, shown in ((step(), missed[2:]), (alone, missed)):
        path = builder.export(tmp_path / "x.sqlite")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE DIAGNOSTIC_EVENT (severity, text)")
            rows = [(2, text) for text in missed]
            connection.executemany("INSERT INTO DIAGNOSTIC_EVENT VALUES (?, ?)", rows)
            connection.commit()
        said = document_of(command("stats", path, "--format=json"))["defects"]
        assert sorted(said) == sorted(f"nsys says: {text}" for text in shown)
        path.unlink()


def test_the_steps_of_an_engine_fit_eighty_columns(command: Callable[..., Answer]) -> None:
    folder = ROOT / "examples" / "engines" / "recordings" / "h200-engines"
    lines = command("stats", folder)[1].splitlines()
    # The last is a command, with the folder.
    assert max(map(len, lines[:-1])) <= 80
    steps = lines[lines.index("steps of the engine:") :]
    heads = [line.split() for line in steps if "decode/step" in line or "in flight" in line]
    below = ["decode/step", "prefill/request"]
    above = ["steps", "tokens", "in", "flight", "step", "gap", "idle"]
    assert heads == [above, below, above, below, above], "the last has no phases"
    (first,) = (line.split() for line in steps[:12] if "473.8 us" in line)
    assert first == ["concurrency-1", "473.8", "us", "365.9", "us"]


def test_what_is_wrong_with_a_capture_is_said(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    builder.kernel("gemm", 100, 10)
    builder.memory(150, 64, address=1, free=True)
    builder.range("open", 10, -1)
    path = builder.export(tmp_path / "x.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE DIAGNOSTIC_EVENT (severity, text)")
        rows = [(2, "Events\x1b[2J might be lost."), (2, "Events\x1b[2J might be lost."), (1, "ok")]
        connection.executemany("INSERT INTO DIAGNOSTIC_EVENT VALUES (?, ?)", rows)
        connection.commit()
    assert document_of(command("stats", path, "--format=json"))["defects"] == [
        "frees of memory whose allocation was not recorded: 1; they change nothing",
        "NVTX ranges that never ended: 1; left out",
        "nsys says 2 times: Events\x1b[2J might be lost.",
    ]
    out = command("stats", path)[1]
    assert "notes on this capture:" in out
    assert "\x1b" not in out


def test_findings_are_shown(command: Callable[..., Answer], captures: dict[str, Path]) -> None:
    document = document_of(command("stats", captures["train"], "--format", "json"))
    names = [finding["name"] for finding in document["findings"]]
    assert "host-bound" in names
    out = command("stats", captures["train"])[1]
    after = out.partition("bottlenecks:\n")[2]
    assert after.startswith("host-bound: ")
    assert "  try: " in after


@pytest.mark.parametrize(
    "name", ["nccl", "processes", "peer_metrics", "unified", "jax_lost", "graph_graph", "zoo"]
)
def test_any_capture_fits_eighty_columns(
    command: Callable[..., Answer], captures: dict[str, Path], name: str
) -> None:
    code, out, err = command("stats", captures[name])
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80


def test_long_lists_and_names_fit_eighty_columns_too(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    for number in range(50):
        at = 1000 * (number + 1)
        builder.range(f"a long name of a range, of which there are {number:4} " * 3, at, at + 500)
        builder.kernel("x" * 300 + str(number), at + 10, 3, device=number % 8, stream=number)
        builder.copy(at + 20, 1, 1000 * (number + 1))
    path = builder.export(tmp_path / "x.sqlite", gpus=["NVIDIA GeForce RTX 5090 Ti"] * 8)
    out = command("stats", path)[1]
    assert max(map(len, out.splitlines())) <= 80
    for rest in (50 - 30, 50 - 20, 50 - 12):
        assert f"  and {rest} more (--format json has all)" in out.splitlines()
    assert out.startswith("gpu 8x NVIDIA GeForce RTX 5090 Ti, driver 580.1, cuda 13.0")


@pytest.mark.parametrize("rows", [1, 50])
def test_ranges_measured_in_pieces_are_the_same(
    captures: dict[str, Path], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    trace = load_trace(captures["llama_node"])
    at_once = stats_document(trace)
    monkeypatch.setattr("pytest_nsys.measure.windows.ROWS_AT_ONCE", rows)
    assert stats_document(trace) == at_once


def test_a_range_holds_what_its_process_did(command: Callable[..., Answer], tmp_path: Path) -> None:
    """Two ranks: each is in its range once, and meanwhile the other has work of its own."""
    builder = TraceBuilder()
    first, second = PID + 1, PID + (1 << 24) + 1
    for tid, at, device in ((first, 10_000, 0), (second, 50_000, 1)):
        builder.made.range(at, at + 10_000, "sync", globalTid=tid)
        builder.kernel("wait", at + 2_000, 1_000, device=device, tid=tid)
    builder.kernel("compute", 15_000, 1_000, device=1, tid=second)
    path = builder.export(tmp_path / "ranks.sqlite")

    def stats(*arguments: str) -> dict[str, Any]:
        return document_of(command("stats", path, *arguments, "--format=json"))

    document = stats("--range=sync")
    assert document["metrics"]["gpu.kernel_count"] == 2
    assert document["metrics"]["gpu.kernel_time"] == 2_000
    assert [(row["name"], row["count"]) for row in document["kernels"]] == [("wait", 2)]
    (part,) = document["ranges"]
    assert (part["count"], part["metrics"]["gpu.kernel_time"]) == (2, 2_000)
    whole = stats()
    assert whole["ranges"] == [part]
    assert whole["metrics"]["gpu.kernel_count"] == 3
    assert whole["outside"]["ranges"] == {"count": 1, "total_ns": 1_000}

    numbers = [row["process"] for row in whole["processes"]]
    found = [stats("--range=sync", f"--process={number}") for number in numbers]
    assert [one["metrics"]["gpu.kernel_count"] for one in found] == [1, 1]
    alone = [stats(f"--process={number}") for number in numbers]
    assert [one["metrics"]["gpu.kernel_count"] for one in alone] == [1, 2]
    code, _, err = command("stats", path, "--process=99")
    assert code == 2
    assert "no process 99 that used CUDA or NVTX" in err
    assert f"processes: {numbers[0]}, {numbers[1]}" in err


def test_the_first_instances_can_be_left_out_and_the_spread_is_told(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    for number, ns in enumerate((9_000, 1_000, 2_000, 3_000)):
        builder.range("step", number * 20_000, number * 20_000 + 10_000)
        builder.kernel("gemm", number * 20_000 + 10, ns)
    builder.range("once", 90_000, 91_000)
    path = builder.export(tmp_path / "steps.sqlite")

    def instances(*arguments: str) -> dict[str, Any]:
        document = document_of(command("stats", path, *arguments, "--format=json"))
        found: dict[str, Any] = document["ranges"][-1]["instances"]
        assert found["gpu.kernel_count"] == {"min": 1, "median": 1, "max": 1, "mean": 1, "sd": 0}
        return found["gpu.kernel_time"]

    time = instances()
    assert (time["min"], time["median"], time["max"], time["mean"]) == (1_000, 2_500, 9_000, 3_750)
    assert time["sd"] == pytest.approx(3593.976)
    later = {"min": 1_000, "median": 2_000, "max": 3_000, "mean": 2_000, "sd": 1_000}
    assert instances("--range=step", "--skip=1") == later
    _, out, _ = command("stats", path, "--range=st*p", "--skip=1")
    assert "  step       3     wall  10 us   10 us  10 us  0 ns" in out
    assert "                kernels   1 us    2 us   3 us  1 us" in out
    code, _, err = command("stats", path, "--range=step", "--skip=4")
    assert code == 2
    assert "nothing is left of the NVTX range 'step' without its first 4 instances" in err
    assert "instances: 4" in err
    code, _, err = command("stats", path, "--skip=1")
    assert code == 2
    assert "name it with --range" in err


@pytest.mark.parametrize("name", ["a.sqlite", "a.nsys-rep", "a.qdrep", "a.sqlite.xz", "folder"])
def test_a_pointer_of_git_lfs_in_the_place_of_a_capture_is_called_one(
    command: Callable[..., Answer], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    file = path / "recording.json" if name == "folder" else path
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    code, _, err = command("stats", path)
    assert code == 2
    assert f"{file} is a pointer of Git LFS" in err
    assert "git lfs pull" in err


def test_a_capture_without_cuda_says_so(command: Callable[..., Answer], tmp_path: Path) -> None:
    builder = TraceBuilder()
    builder.range("host", 10, 20)
    _, out, _ = command("stats", builder.export(tmp_path / "host.sqlite"))
    assert "  - it holds no CUDA events: the program used no GPU, or nsys was not told" in out


def test_bottlenecks_of_ranges_of_several_processes_say_in_which_they_are(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    document = document_of(command("stats", captures["nccl"], "--range=exposed", "--format=json"))
    (found,) = document["findings"]
    assert found["name"] == "communication-overlap"
    numbers = [str(row["process"]) for row in document["processes"]]
    assert found["evidence"][-1].removeprefix("in process ") in numbers
    one = document_of(
        command(
            *("stats", captures["nccl"], "--range=exposed", "--format=json"),
            f"--process={numbers[0]}",
        )
    )
    assert [each["name"] for each in one["findings"]] == ["communication-overlap"]
    assert not one["findings"][0]["evidence"][-1].startswith("in process ")
