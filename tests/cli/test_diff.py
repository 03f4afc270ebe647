"""``pytest-nsys diff``: two stored captures compared."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import LONGER, SHORTER, Answer, record, step
from tests.support.exports.tables import changed
from tests.support.exports.traces import TraceBuilder


@pytest.mark.parametrize("name", ["basic", "train", "llama_node"])
def test_a_capture_is_the_same_as_itself(
    command: Callable[..., Answer], captures: dict[str, Path], name: str
) -> None:
    code, out, err = command("diff", captures[name], captures[name])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{captures[name]}: ok"
    assert "<- worse" not in out
    assert out.endswith("\n\n0 of 1 worse\n")
    for line in out.splitlines()[1:]:
        assert len(line) <= 80, line


def test_longer_kernels_are_worse_and_shorter_ones_better(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    worse = changed(before, tmp_path / "worse.sqlite", LONGER)
    code, out, _ = command("diff", before, worse)
    assert code == 1
    headline = " ".join(out.partition("\n\n")[0].split())
    assert "gpu.kernel_time +20.0%, limit 3% or 5 us: " in headline
    assert "xmma_gemm" in headline
    assert "gpu.kernel_time changed by:" in out
    assert command("diff", worse, before)[0] == 0
    better = changed(before, tmp_path / "better.sqlite", SHORTER)
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
    after = changed(before, tmp_path / "after.sqlite", *statements)
    code, out, _ = command("diff", before, after)
    assert code == 1
    # By as many copies is the same once more.
    assert "memcpy.h2d.bytes changed by:" in out
    assert "memcpy.h2d.count changed by:" not in out
    assert re.search(r"^  h2d .* \(\d+x -> \d+x\)$", out, re.MULTILINE)
    document = json.loads(command("diff", before, after, "--format", "json")[1])
    assert document["schema"] == 3
    (test,) = document["tests"]
    assert test["status"] == "regressed"


def test_a_tolerance_decides(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    worse = changed(before, tmp_path / "worse.sqlite", LONGER)
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
    worse = changed(before, tmp_path / "worse.sqlite", LONGER)
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
    several = record(tmp_path / "recording", step(), step())
    assert command("diff", path, several)[0] == 2


def test_two_recordings_are_compared_test_by_test(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = record(tmp_path / "before", step(2), step(1))
    assert command("diff", before, before)[0] == 0
    slow = record(tmp_path / "slow", step(2, kernel_ns=200_000))
    code, out, err = command("diff", before, slow)
    assert (code, err) == (1, "")
    headlines = [line for line in out.splitlines() if line.startswith("t.py::")]
    assert [line.partition(": ")[0] for line in headlines] == ["t.py::t0", "t.py::t1"]
    assert all("gpu.kernel_time +100%" in line for line in headlines)
    assert command("diff", slow, before)[0] == 0
    copying = record(tmp_path / "copying", step(2, copies=3))
    document = json.loads(command("diff", before, copying, "--format=json")[1])
    assert [test["nodeid"] for test in document["tests"]] == ["t.py::t0", "t.py::t1"]
    assert {test["status"] for test in document["tests"]} == {"regressed"}
    environment = document["environment"]
    assert (environment["nsys"], environment["date"]) == ("2025.3.2", "2026-01-10")
    assert environment["trace"] == ["--trace=cuda"]


def test_parametrised_metrics_and_ranges_work_on_recordings_too(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = record(tmp_path / "before", step(2))
    slow = record(tmp_path / "slow", step(2, kernel_ns=200_000))
    named = ("--tolerance=500%", "--tolerance", "kernel[gemm].time=5%")
    code, out, _ = command("diff", before, slow, *named)
    assert code == 1
    assert "kernel[gemm].time +100%" in out
    code, out, _ = command("diff", before, slow, "--range", "step")
    assert code == 1
    assert " ".join(out.split()).startswith(f"{slow}: gpu.kernel_time +100%")


def test_a_test_whose_capture_had_a_problem_is_left_out(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = record(tmp_path / "before", step(2))
    slow = record(tmp_path / "slow", step(2, kernel_ns=200_000), problem="lost")
    code, out, _ = command("diff", before, slow)
    assert code == 1
    assert "t.py::t0: " not in out
    assert f"only in {before}: t.py::t0" in out
    assert "t.py::t1: " in out
    same = record(tmp_path / "same", step(2), problem="lost")
    assert command("diff", before, same)[0] == 2, "what only one of them measured is no success"
    alone = record(tmp_path / "alone", step(1), problem="lost")
    code, _, err = command("diff", before, alone)
    assert code == 2
    assert "no measured test in common" in err


def test_recordings_made_in_other_ways_cannot_be_compared(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = record(tmp_path / "before", step())
    other = record(tmp_path / "other", step(), warmup=4)
    code, out, _ = command("diff", before, other)
    assert code == 2
    assert "1 warm-up calls" in out


def test_worse_weighs_more_than_not_comparable(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    then, now = step(2), step(2, kernel_ns=200_000)
    for builder, units in ((then, 1), (now, 2)):
        at = 9_000_000_000
        builder.window(at, at + 9, nodeid="t.py::units", round=0, token=units)
        builder.kernel("gemm", at + 1, 100)
    before, after = record(tmp_path / "a", then), record(tmp_path / "b", now)
    code, out, _ = command("diff", before, after)
    assert "t.py::units: incomparable: " in out
    assert code == 1


def test_a_recording_is_compared_with_a_plain_capture_as_a_whole(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    recording = record(tmp_path / "recording", step())
    plain = step(kernel_ns=300_000).export(tmp_path / "plain.sqlite")
    assert command("diff", recording, plain)[0] == 1
    assert command("diff", plain, recording)[0] == 0


def steps(path: Path, count: int, kernel_ns: int) -> Path:
    """A training loop of so many iterations."""
    builder = TraceBuilder()
    for number in range(count):
        builder.range("step", number * 10**7, number * 10**7 + 5 * 10**6)
        for kernel in range(3):
            builder.kernel("gemm", number * 10**7 + 1_000 + kernel * 10**6, kernel_ns)
    return builder.export(path)


def test_a_range_is_compared_by_what_an_instance_takes(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    before = steps(tmp_path / "before.sqlite", 12, 500_000)
    slower = steps(tmp_path / "slower.sqlite", 8, 600_000)
    more = steps(tmp_path / "more.sqlite", 15, 500_000)
    code, out, _ = command("diff", before, slower, "--range=step")
    assert code == 1, "in all it took less"
    assert "1.5 ms -> 1.8 ms" in out
    assert "note: one instance of 'step': the median of 12, and now of 8" in out.splitlines()
    assert command("diff", before, slower)[0] == 0, "as whole captures"
    assert command("diff", before, more, "--range=step")[0] == 0, "in all it took more"
    assert command("diff", before, more)[0] == 1, "as whole captures"
    assert command("diff", before, slower, "--range=:st?p", "--skip=2", "--process=2048")[0] == 2
    page = tmp_path / "diff.html"
    code, out, _ = command("diff", before, slower, "--range=:st?p", "--skip=2", "--html", page)
    assert code == 1
    assert "the median of 10, and now of 6" in out
    assert "--range=:st?p" in page.read_text()
    assert "--skip=2" in page.read_text()
