"""From CUPTI's records to the tables of an export, and the trace that they make."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from pytest_nsys.capture.cupti.activity import text_at
from pytest_nsys.capture.cupti.calls import is_recorded
from pytest_nsys.capture.cupti.records import (
    KERNEL,
    MEMORY,
    offsets_by_kind,
    read_records,
    sizes_of,
)
from pytest_nsys.capture.cupti.tables import Around, tables_of, write_export
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.offline.stats import stats_document
from pytest_nsys.storage.recordings.scrub import scrub
from pytest_nsys.support.xz import unpack
from pytest_nsys.trace import Trace, load_trace, schema
from pytest_nsys.trace.load import build_trace
from pytest_nsys.trace.made import MadeSource
from pytest_nsys.trace.tables import TraceGpu
from pytest_nsys.windows.ranges import EVERYTHING
from tests.simgpu.cupti import VERSION, record
from tests.support.cupti_work import CALLS, DRIVER_CALLS, as_bytes, work

GPU = TraceGpu(0, "NVIDIA H200", 132, 4_814_304_000_000, (9, 0))


def named(runtime: bool, number: int) -> str:
    name = (CALLS if runtime else DRIVER_CALLS)[number]
    return name if is_recorded(name) else ""


AROUND = Around(4711, text_at, named, 1000, (GPU,), "580.95.05", 13000)


def trace_of(records: list[bytes], around: Around = AROUND) -> Trace:
    return build_trace(MadeSource(tables(records, around)))


def tables(records: list[bytes], around: Around = AROUND):  # type: ignore[no-untyped-def]
    data = as_bytes(*records)
    found = read_records([data], lambda one: offsets_by_kind(one, sizes_of(VERSION)))
    return tables_of(found, around)


def test_records_become_a_trace_of_which_stats_are_made() -> None:
    trace = trace_of(work())
    metrics = stats_document(trace, EVERYTHING)["metrics"]
    assert (metrics["gpu.kernel_count"], metrics["gpu.kernel_time"]) == (2, 500)
    assert (metrics["memcpy.h2d.bytes"], metrics["memcpy.p2p.bytes"]) == (4096, 4096)
    assert metrics["memcpy.pageable"] == 2
    assert (metrics["memset.bytes"], metrics["memset.time"]) == (64, 100)
    assert (metrics["sync.count"], metrics["sync.time"]) == (1, 1000)
    assert (metrics["mem.peak"], metrics["mem.live_end"]) == (2**20, 0)
    # The driver's calls within the runtime's do not count, nor do those that nsys leaves out; the
    # program's own call of the driver does.
    assert metrics["api.count"] == 5
    assert trace.kernels["graph_node"].tolist() == [-1, 5]
    assert trace.kernels["launched"].tolist() == [200, 2000]  # from the origin on
    assert [trace.strings[number] for number in trace.kernels["name"]] == ["gemm_kernel"] * 2
    assert [one.grid for one in trace.configurations] == [(3, 0, 0)]
    assert (trace.gpus, trace.driver, trace.cuda) == ((GPU,), "580.95.05", "13.0")
    assert (trace.defects, trace.nsys) == ((), "")


def test_an_export_and_what_is_scrubbed_of_it_are_the_same_trace(tmp_path: Path) -> None:
    export, packed = tmp_path / "export.sqlite", tmp_path / "capture.sqlite.xz"
    write_export(tables(work()), export)
    scrub(export, packed)
    unpack(packed, tmp_path / "clean.sqlite")
    made = trace_of(work())
    for path in (export, tmp_path / "clean.sqlite"):
        loaded = load_trace(path)
        for field in dataclasses.fields(Trace):
            ours, theirs = (getattr(one, field.name) for one in (made, loaded))
            if isinstance(ours, pd.DataFrame):
                pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)
            elif field.name != "strings":  # a copy may number them anew
                assert ours == theirs, field.name


def test_what_is_not_complete_or_unknown_is_told_and_does_not_count() -> None:
    trace = trace_of([record(KERNEL, correlation=1), record(MEMORY, operation=7, start=2000)])
    assert len(trace.defects) >= 2
    assert not len(trace.memory)


def test_nothing_is_an_empty_trace() -> None:
    trace = trace_of([], Around(1, text_at, named))
    assert not trace.has_cuda_activity
    assert (trace.gpus, trace.driver, trace.cuda) == ((), "", "")
    assert MemoryTimeline(trace).recorded


def test_tables_are_those_that_an_export_has() -> None:
    for name, columns in tables(work()).items():
        assert set(columns) <= {*schema.COLUMNS[name]}
        assert set(columns) >= schema.NEEDED[name]
