"""Stored captures that the command's tests are about, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_nsys.plan.kept import KeptMarks
from pytest_nsys.storage.recordings.recording import (
    RecordedCapture,
    RecordedTest,
    Recording,
    write_recording,
)
from tests.support.exports.traces import TraceBuilder

Answer = tuple[int, str, str]
"""Exit code, stdout, stderr."""

PASSED = tuple({"when": phase, "outcome": "passed"} for phase in ("setup", "call", "teardown"))


def document_of(answer: Answer) -> dict[str, Any]:
    assert (answer[0], answer[2]) == (0, "")
    document: dict[str, Any] = json.loads(answer[1])
    return document


def step(number: int = 1, *, kernel_ns: int = 100_000, copies: int = 2) -> TraceBuilder:
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


def record(
    folder: Path,
    *builders: TraceBuilder,
    problem: str = "",
    warmup: int = 1,
    parameters: Mapping[str, Mapping[str, str]] | None = None,
    server: tuple[str, ...] = (),
) -> Path:
    """A recording with one capture per builder."""
    exports = [
        builder.export(folder.with_name(f"{folder.name}-{number}.sqlite"))
        for number, builder in enumerate(builders)
    ]
    nodeids = [
        list(dict.fromkeys(record.nodeid for record in builder.windows)) for builder in builders
    ]
    captures = tuple(
        RecordedCapture(
            f"capture-{number}.sqlite.xz", ("--trace=cuda",), tuple(builder.windows), server
        )
        for number, builder in enumerate(builders, 1)
    )
    tests = tuple(
        RecordedTest(nodeid, PASSED, (number,), warmup, 3, problem if nodeid.endswith("t0") else "")
        for number, names in enumerate(nodeids)
        for nodeid in names
    )
    marks = {name: KeptMarks(parameters=one) for name, one in (parameters or {}).items()}
    recording = Recording("2025.3.2", "2026-01-10", {}, captures, tests, marks)
    write_recording(folder, recording, exports)
    return folder


def swept(
    folder: Path, values: Sequence[Mapping[str, str]], *, kept: bool = True, faster: float = 1.0
) -> Path:
    """A recording of ``t.py::test_gemm`` with these parameters: of the nth value, a kernel of
    n * 100 us and, in a part ``load``, one of 1 us."""
    builder = TraceBuilder()
    parameters = {}
    for number, value in enumerate(values, 1):
        nodeid = f"t.py::test_gemm[{'-'.join(value.values())}]"
        parameters[nodeid] = value
        for round_ in range(3):
            at = number * 1_000_000_000 + round_ * 10_000_000
            builder.window(at, at + 9_000_000, nodeid=nodeid, round=round_)
            builder.kernel("gemm", at + 1000, int(number * 100_000 / faster))
            part = {"nodeid": nodeid, "round": round_, "name": "load", "kind": "range"}
            builder.window(at + 5_000_000, at + 6_000_000, **part)
            builder.kernel("upload", at + 5_001_000, 1000)
    return record(folder, builder, parameters=parameters if kept else {})


def served(
    folder: Path, engines: Mapping[str, float], *, kept: bool = True, server: tuple[str, ...] = ()
) -> Path:
    """A recording of ``t.py::test_serving`` with engines, by how many us of kernels a token takes.

    Clients got 100 tokens in each of three rounds of 20 ms.
    """
    builder = TraceBuilder()
    parameters = {}
    for number, (engine, us) in enumerate(engines.items(), 1):
        nodeid = f"t.py::test_serving[{engine}]"
        parameters[nodeid] = {"engine": engine}
        for round_ in range(3):
            at = number * 1_000_000_000 + round_ * 25_000_000
            seen = {
                "client.ttft_p50": 3e6 + 1e6 * number,
                "client.latency_p95": 15.25e6 + 1e6 * number,
                "client.tokens_per_s": 5000.0,
                "client.output_tokens": 100.0,
            }
            builder.sent(at, at + 20_000_000, nodeid=nodeid, round=round_, values=seen, token=100.0)
            for step in range(10):
                builder.kernel("decode", at + 1_900_000 * step, int(us * 10_000))
    return record(folder, builder, parameters=parameters if kept else {}, server=server)


LONGER = 'UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" + ("end" - start) / 5'
SHORTER = 'UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" - ("end" - start) / 5'
