"""The ``pytest-nsys`` command on stored captures."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness import SIMGPU
from standin import write_standin
from traces import TraceBuilder

from pytest_nsys import __version__
from pytest_nsys.catalogue import METRICS
from pytest_nsys.cli import main
from pytest_nsys.recording import (
    RecordedCapture,
    RecordedTest,
    Recording,
    write_recording,
)
from pytest_nsys.trace import Trace, load_trace

Answer = tuple[int, str, str]

PASSED = tuple({"when": phase, "outcome": "passed"} for phase in ("setup", "call", "teardown"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs the command; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> Answer:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def _document(answer: Answer) -> dict[str, Any]:
    assert (answer[0], answer[2]) == (0, "")
    document: dict[str, Any] = json.loads(answer[1])
    return document


def _step(number: int = 1, *, kernel_ns: int = 100_000, copies: int = 2) -> TraceBuilder:
    """A capture with tests ``t0``, ``t1``, ...: a kernel of 0.1 ms and two copies in each."""
    builder = TraceBuilder()
    for test in range(number):
        at = 1_000_000_000 * (test + 1)
        builder.window(at, at + 900_000_000, nodeid=f"t.py::t{test}", kind="span", round=-1)
        for round_ in range(3):
            start = at + (round_ + 1) * 100_000_000
            builder.window(start, start + 50_000_000, nodeid=f"t.py::t{test}", round=round_)
            builder.range("step", start + 10, start + 40_000_000)
            builder.kernel("gemm", start + 1000, kernel_ns)
            for copy in range(copies):
                builder.copy(start + 2000 + copy, 500, 4096)
    return builder


def _record(folder: Path, *builders: TraceBuilder, problem: str = "", warmup: int = 1) -> Path:
    """A recording with one capture per builder."""
    exports = [
        builder.export(folder.with_name(f"{folder.name}-{number}.sqlite"))
        for number, builder in enumerate(builders)
    ]
    nodeids = [
        list(dict.fromkeys(record.nodeid for record in builder.windows)) for builder in builders
    ]
    captures = tuple(
        RecordedCapture(f"capture-{number}.sqlite.xz", ("--trace=cuda",), tuple(builder.windows))
        for number, builder in enumerate(builders, 1)
    )
    tests = tuple(
        RecordedTest(nodeid, PASSED, number, warmup, 3, problem if nodeid.endswith("t0") else "")
        for number, names in enumerate(nodeids)
        for nodeid in names
    )
    write_recording(folder, Recording(captures, tests, {}, "2025.3.2", "2026-01-10"), exports)
    return folder


def _changed(source: Path, target: Path, *statements: str) -> Path:
    """A copy of a capture after some SQL."""
    shutil.copyfile(source, target)
    with closing(sqlite3.connect(target)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return target


LONGER = 'UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" + ("end" - start) / 5'
SHORTER = 'UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" - ("end" - start) / 5'


def test_an_export_made_by_hand_is_read_back_as_it_was(tmp_path: Path) -> None:
    builder = _step(2)
    builder.memset(5_000_000_000, 10, 64)
    builder.memory(5_000_000_100, 64, address=1)
    made, read = builder.build(), load_trace(builder.export(tmp_path / "x.sqlite"))
    for name in ("kernels", "copies", "memsets", "calls", "memory", "ranges"):
        one, other = getattr(made, name), getattr(read, name)
        assert other[list(one.columns)].values.tolist() == one.values.tolist(), name
    facts = [(t.strings, t.gpus, t.driver, t.cuda, t.nsys, t.schema) for t in (made, read)]
    assert facts[0] == facts[1]


# stats


@pytest.mark.parametrize("name", ["basic", "train", "llama_node"])
def test_stats_as_json_have_exactly_this_schema(
    command: Callable[..., Answer], captures: dict[str, Path], name: str
) -> None:
    document = _document(command("stats", captures[name], "--format", "json"))
    assert list(document) == ["schema", "environment", "metrics", "kernels", "ranges"]
    assert document["schema"] == 1
    assert document["environment"] == {
        "gpu": "NVIDIA H200",
        "driver": "580.159.04",
        "cuda": "13000",
        "nsys": "2025.3.2.0",
        "schema": "3.20.3",
    }
    keys = list(document["metrics"])
    assert keys == sorted(keys)
    # No capture here sampled GPU metrics or recorded unified memory, and none has every copy.
    elsewhere = ("sm.", "tensor.", "dram.", "pcie.", "um.")
    expected = {metric.key for metric in METRICS if not metric.key.startswith(elsewhere)}
    assert {key for key in expected if not key.endswith(".throughput")} < set(keys) <= expected
    assert all(isinstance(value, (int, float)) for value in document["metrics"].values())
    for kernel in document["kernels"]:
        assert list(kernel) == [
            *("name", "canonical", "category", "count"),
            *("total_ns", "min_ns", "max_ns", "median_ns"),
        ]
        assert kernel["min_ns"] <= kernel["median_ns"] <= kernel["max_ns"] <= kernel["total_ns"]
    totals = [kernel["total_ns"] for kernel in document["kernels"]]
    assert totals == sorted(totals, reverse=True)
    assert sum(totals) == document["metrics"]["gpu.kernel_time"]
    for part in document["ranges"]:
        assert list(part) == ["name", "count", "metrics"]
        assert set(part["metrics"]) <= set(keys)


def test_stats_of_a_range_are_of_all_its_instances(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    path = captures["train"]
    document = _document(command("stats", path, "--range", "bwd", "--format", "json"))
    assert document["metrics"]["gpu.kernel_count"] == 16 * 12
    assert sum(kernel["count"] for kernel in document["kernels"]) == 16 * 12
    (part,) = document["ranges"]
    assert (part["name"], part["count"]) == ("bwd", 16)
    assert part["metrics"] == document["metrics"]
    whole = _document(command("stats", path, "--format=json"))
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
    document = _document(command("stats", path, "--range=a", "--format=json"))
    assert [(row["name"], row["count"]) for row in document["kernels"]] == [("gemm", 1)]


def test_the_plugins_own_ranges_are_not_listed(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    path = _step().export(tmp_path / "x.sqlite")
    document = _document(command("stats", path, "--format=json"))
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


def test_stats_of_a_capture_without_gpu_work_are_zero(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    path = builder.export(tmp_path / "x.sqlite", gpus=())
    document = _document(command("stats", path, "--format=json"))
    assert document["kernels"] == document["ranges"] == []
    assert document["metrics"]["gpu.kernel_time"] == 0
    assert command("stats", path)[0] == 0


def test_packed_exports_and_recordings_are_read(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    plain = _document(command("stats", captures["train"], "--format=json"))
    packed = tmp_path / "train.sqlite.xz"
    packed.write_bytes(lzma.compress(captures["train"].read_bytes(), preset=0))
    assert _document(command("stats", packed, "--format=json")) == plain
    recording = _record(tmp_path / "recording", _step())
    single = _document(command("stats", recording, "--format=json"))
    assert single["metrics"]["gpu.kernel_count"] == 3
    capture = _document(command("stats", recording / "capture-1.sqlite.xz", "--format=json"))
    assert capture == single


def test_a_recording_with_several_captures_asks_for_one_of_them(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    recording = _record(tmp_path / "recording", _step(), _step())
    code, out, err = command("stats", recording)
    assert (code, out) == (2, "")
    assert "is a recording with 2 captures" in err
    assert "capture-1.sqlite.xz, capture-2.sqlite.xz" in err
    assert f"name one of them, such as {recording}/capture-1.sqlite.xz" in err


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
    document = _document(command("stats", report, *asked))
    assert document["metrics"]["gpu.kernel_count"] == 1
    assert command("diff", report, report, "--nsys-executable", nsys)[0] == 0
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert _document(command("stats", report, "--format=json")) == document
    code, _, err = command("stats", report, "--nsys-executable", tmp_path / "none")
    assert code == 2
    assert "there is no program" in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.sqlite", None, "there is no file"),
        ("missing.sqlite.xz", None, "cannot be unpacked"),
        ("text.sqlite", b"hello", "is not an SQLite file"),
        ("empty.sqlite", b"", "is not an SQLite file"),
        ("text.sqlite.xz", b"hello", "cannot be unpacked"),
        ("cut.sqlite", b"SQLite format 3\0" + b"\0" * 50, "is damaged or was cut off"),
        ("packed-text.sqlite.xz", lzma.compress(b"hello"), "is not an SQLite file"),
    ],
)
def test_what_is_no_capture_is_an_error_with_a_remedy(
    command: Callable[..., Answer],
    tmp_path: Path,
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, out, err = command("stats", path)
    assert (code, out) == (2, "")
    assert err.startswith("pytest-nsys: ")
    assert message in err
    assert "What to do: " in err


def test_a_database_or_folder_of_something_else_is_no_capture(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection:
        connection.execute("CREATE TABLE users (name)")
        connection.commit()
    for path in (tmp_path / "other.sqlite", tmp_path):
        code, out, err = command("stats", path)
        assert (code, out) == (2, "")
        assert "holds no" in err
        assert "give a .nsys-rep, an .sqlite made by 'nsys export', or a recording" in err


def test_an_unknown_range_lists_those_there_are(
    command: Callable[..., Answer], captures: dict[str, Path]
) -> None:
    code, out, err = command("stats", captures["train"], "--range", "backward")
    assert (code, out) == (2, "")
    assert "no NVTX range 'backward'" in err
    assert "ranges: 'bwd', 'fwd', 'h2d', 'opt'" in err


def test_an_unknown_range_of_a_capture_without_any_says_none(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    builder.kernel("gemm", 10, 10)
    assert "ranges: none" in command("stats", builder.export(tmp_path / "x"), "--range=a")[2]


# diff


@pytest.mark.parametrize("name", ["basic", "train", "llama_node"])
def test_a_capture_is_the_same_as_itself(
    command: Callable[..., Answer], captures: dict[str, Path], name: str
) -> None:
    code, out, err = command("diff", captures[name], captures[name])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{captures[name]}: ok"
    assert "worse" not in out
    for line in out.splitlines()[1:]:
        assert len(line) <= 80, line


def test_longer_kernels_are_worse_and_shorter_ones_better(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    worse = _changed(before, tmp_path / "worse.sqlite", LONGER)
    code, out, _ = command("diff", before, worse)
    assert code == 1
    headline = out.splitlines()[0]
    assert "gpu.kernel_time +20.0%, limit 3% or 20 us: " in headline
    assert "xmma_gemm" in headline
    assert "gpu.kernel_time changed by:" in out
    assert command("diff", worse, before)[0] == 0
    better = _changed(before, tmp_path / "better.sqlite", SHORTER)
    code, out, _ = command("diff", before, better)
    assert code == 0
    assert "better" in out


def test_one_more_copy_is_worse_and_named(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    with closing(sqlite3.connect(before)) as connection:
        copy = "SELECT correlationId FROM CUPTI_ACTIVITY_KIND_MEMCPY WHERE copyKind = 1 LIMIT 1"
        (number,) = connection.execute(copy).fetchone()
    new = 'correlationId + 100000000, start + 1000, "end" + 1000'
    statements = []
    for table in ("MEMCPY", "RUNTIME"):
        name = f"CUPTI_ACTIVITY_KIND_{table}"
        statements += [
            f"CREATE TEMP TABLE one AS SELECT * FROM {name} WHERE correlationId = {number}",
            f'UPDATE one SET (correlationId, start, "end") = ({new})',
            f"INSERT INTO {name} SELECT * FROM one",
            "DROP TABLE one",
        ]
    after = _changed(before, tmp_path / "after.sqlite", *statements)
    code, out, _ = command("diff", before, after)
    assert code == 1
    assert "memcpy.h2d.count changed by:" in out
    assert re.search(r"^  h2d .*\+1 \(\d+ -> \d+\)$", out, re.MULTILINE)
    document = json.loads(command("diff", before, after, "--format", "json")[1])
    assert document["schema"] == 1
    (test,) = document["tests"]
    assert test["status"] == "regressed"


def test_a_tolerance_decides(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    worse = _changed(before, tmp_path / "worse.sqlite", LONGER)
    for tolerance in ("25%", "gpu.kernel_time=25%", "gpu.kernel_time=25%, 1 us"):
        assert command("diff", before, worse, "--tolerance", tolerance)[0] == 0
    assert command("diff", before, worse, "--tolerance=19%")[0] == 1
    named = ("--tolerance=25%", "--tolerance", "kernel[*gemm*].time=5%")
    code, out, _ = command("diff", before, worse, *named)
    assert code == 1
    assert "kernel[*gemm*].time +20.0%" in out


@pytest.mark.parametrize("tolerance", ["gpu.kernel_tme=5%", "fast", "mem.peak=3 s"])
def test_a_tolerance_that_cannot_be_read_is_no_verdict(
    command: Callable[..., Answer], captures: dict[str, Path], tolerance: str
) -> None:
    path = captures["train"]
    code, out, err = command("diff", path, path, "--tolerance", tolerance)
    assert (code, out) == (2, "")
    assert repr(tolerance) in err


def test_one_range_is_compared_with_itself(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    worse = _changed(before, tmp_path / "worse.sqlite", LONGER)
    assert command("diff", before, worse, "--range", "bwd")[0] == 1
    assert command("diff", before, before, "--range", "bwd")[0] == 0
    code, _, err = command("diff", before, worse, "--range", "none")
    assert code == 2
    assert "no NVTX range 'none'" in err


def test_what_cannot_be_compared_is_neither_better_nor_worse(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    path = captures["train"]
    assert command("diff", path, tmp_path / "missing.sqlite")[0] == 2
    assert command("diff", tmp_path / "missing.sqlite", path)[0] == 2
    idle = TraceBuilder()
    idle.range("a", 1, 2)
    code, _, err = command("diff", path, idle.export(tmp_path / "idle.sqlite"))
    assert code == 2
    assert "holds no CUDA activity" in err
    several = _record(tmp_path / "recording", _step(), _step())
    assert command("diff", path, several)[0] == 2


def test_two_recordings_are_compared_test_by_test(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = _record(tmp_path / "before", _step(2), _step(1))
    assert command("diff", before, before)[0] == 0
    slow = _record(tmp_path / "slow", _step(2, kernel_ns=200_000))
    code, out, err = command("diff", before, slow)
    assert (code, err) == (1, "")
    headlines = [line for line in out.splitlines() if line.startswith("t.py::")]
    assert [line.partition(": ")[0] for line in headlines] == ["t.py::t0", "t.py::t1"]
    assert all("gpu.kernel_time +100%" in line for line in headlines)
    assert command("diff", slow, before)[0] == 0
    copying = _record(tmp_path / "copying", _step(2, copies=3))
    document = json.loads(command("diff", before, copying, "--format=json")[1])
    assert [test["nodeid"] for test in document["tests"]] == ["t.py::t0", "t.py::t1"]
    assert {test["status"] for test in document["tests"]} == {"regressed"}


def test_parametrised_metrics_and_ranges_work_on_recordings_too(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = _record(tmp_path / "before", _step(2))
    slow = _record(tmp_path / "slow", _step(2, kernel_ns=200_000))
    named = ("--tolerance=500%", "--tolerance", "kernel[gemm].time=5%")
    code, out, _ = command("diff", before, slow, *named)
    assert code == 1
    assert "kernel[gemm].time +100%" in out
    code, out, _ = command("diff", before, slow, "--range", "step")
    assert code == 1
    assert out.startswith(f"{slow}: gpu.kernel_time +100%")


def test_a_test_whose_capture_had_a_problem_is_left_out(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = _record(tmp_path / "before", _step(2))
    slow = _record(tmp_path / "slow", _step(2, kernel_ns=200_000), problem="lost")
    code, out, _ = command("diff", before, slow)
    assert code == 1
    assert "t.py::t0: " not in out
    assert f"only in {before}: t.py::t0" in out
    assert "t.py::t1: " in out
    same = _record(tmp_path / "same", _step(2), problem="lost")
    assert command("diff", before, same)[0] == 2, "what only one of them measured is no success"
    alone = _record(tmp_path / "alone", _step(1), problem="lost")
    code, _, err = command("diff", before, alone)
    assert code == 2
    assert "no measured test in common" in err


def test_recordings_made_in_other_ways_cannot_be_compared(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = _record(tmp_path / "before", _step())
    other = _record(tmp_path / "other", _step(), warmup=4)
    code, out, _ = command("diff", before, other)
    assert code == 2
    assert "1 warm-up calls" in out


def test_worse_weighs_more_than_not_comparable(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    then, now = _step(2), _step(2, kernel_ns=200_000)
    for builder, units in ((then, 1), (now, 2)):
        at = 9_000_000_000
        builder.window(at, at + 9, nodeid="t.py::units", round=0, token=units)
        builder.kernel("gemm", at + 1, 100)
    before, after = _record(tmp_path / "a", then), _record(tmp_path / "b", now)
    code, out, _ = command("diff", before, after)
    assert "t.py::units: incomparable: " in out
    assert code == 1


def test_a_recording_is_compared_with_a_plain_capture_as_a_whole(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    recording = _record(tmp_path / "recording", _step())
    plain = _step(kernel_ns=300_000).export(tmp_path / "plain.sqlite")
    assert command("diff", recording, plain)[0] == 1
    assert command("diff", plain, recording)[0] == 0


# the command itself


def test_the_command_says_its_version_and_helps(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--version"], f"pytest-nsys {__version__}\n"),
        (["--help"], "stats"),
        (["stats", "--help"], "--range"),
        (["diff", "--help"], "0 same or better, 1 worse, 2 could not compare"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["stats"], ["diff", "a"], ["stats", "a", "--format", "xml"]]
)
def test_a_wrong_command_line_ends_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "program",
    [[sys.executable, "-m", "pytest_nsys"], [str(Path(sys.executable).parent / "pytest-nsys")]],
)
def test_it_is_a_program_and_a_module(program: list[str], captures: dict[str, Path]) -> None:
    path = str(captures["train"])
    done = subprocess.run([*program, "diff", path, path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path}: ok")


def test_a_reader_that_stops_early_changes_neither_the_exit_code_nor_says_anything(
    captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    worse = _changed(before, tmp_path / "worse.sqlite", LONGER)
    for arguments, code in (
        (["stats", str(captures["llama_node"]), "--format=json"], 0),
        (["diff", str(before), str(worse)], 1),
    ):
        with subprocess.Popen(
            [sys.executable, "-m", "pytest_nsys", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(timeout=30) == code


def test_a_trace_is_loaded_once_per_capture(
    command: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_nsys import stored

    loaded: list[Path] = []

    def load(path: Path) -> Trace:
        loaded.append(path)
        return load_trace(path)

    monkeypatch.setattr(stored, "load_trace", load)
    path = _step().export(tmp_path / "x.sqlite")
    assert command("stats", path)[0] == 0
    assert loaded == [path]
