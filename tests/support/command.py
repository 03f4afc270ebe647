"""Stored captures that the command's tests are about, and what it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def record(folder: Path, *builders: TraceBuilder, problem: str = "", warmup: int = 1) -> Path:
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
        RecordedTest(nodeid, PASSED, (number,), warmup, 3, problem if nodeid.endswith("t0") else "")
        for number, names in enumerate(nodeids)
        for nodeid in names
    )
    write_recording(folder, Recording("2025.3.2", "2026-01-10", {}, captures, tests), exports)
    return folder


LONGER = 'UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" + ("end" - start) / 5'
SHORTER = 'UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" - ("end" - start) / 5'
