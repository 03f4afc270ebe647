"""Traces of the real captures against what nsys itself says of them: to the unit, every row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pytest_nsys.trace import Trace, TraceGpu, load_trace, schema
from tests.parity.cases import nsys_report
from tests.support.exports.rows import assert_same_trace, shuffled
from tests.support.exports.tables import read_tables, write_sqlite

REPORTED = ("llama_node", "train")
NAMES = ("basic", *REPORTED)

COPIES = {1: "Host-to-Device", 2: "Device-to-Host", 8: "Device-to-Device", 10: "Peer-to-Peer"}


def summed(names: pd.Series, values: pd.Series) -> dict[str, tuple[int, int]]:
    """Sum and number of the values by name."""
    grouped = values.groupby(names.to_numpy()).agg(["sum", "count"])
    return {str(name): (int(row["sum"]), int(row["count"])) for name, row in grouped.iterrows()}


@pytest.mark.parametrize("name", REPORTED)
def test_kernels_are_those_of_cuda_gpu_kern_sum(traces: Mapping[str, Trace], name: str) -> None:
    trace = traces[name]
    kernels = trace.kernels
    texts = kernels["name"].map(trace.strings)
    assert summed(texts, kernels["end"] - kernels["start"]) == {
        row["Name"]: (int(row["Total Time (ns)"]), int(row["Instances"]))
        for row in nsys_report(name, "cuda_gpu_kern_sum")
    }


@pytest.mark.parametrize("name", REPORTED)
def test_calls_are_those_of_cuda_api_sum(traces: Mapping[str, Trace], name: str) -> None:
    """nsys leaves out the versions of old calls (four digits); a trace has them as they are."""
    trace = traces[name]
    texts = trace.calls["name"].map(trace.strings).str.replace(r"_v\d{4}$", "", regex=True)
    assert summed(texts, trace.calls["end"] - trace.calls["start"]) == {
        row["Name"]: (int(row["Total Time (ns)"]), int(row["Num Calls"]))
        for row in nsys_report(name, "cuda_api_sum")
    }


def transfers(trace: Trace) -> pd.DataFrame:
    """Copies and memory sets by the names that nsys's reports give them."""
    copies = trace.copies.assign(what=trace.copies["kind"].map(COPIES))
    copies["what"] = "[CUDA memcpy " + copies["what"] + "]"
    return pd.concat([copies, trace.memsets.assign(what="[CUDA memset]")])


@pytest.mark.parametrize("name", REPORTED)
def test_transfers_take_the_time_of_cuda_gpu_mem_time_sum(
    traces: Mapping[str, Trace], name: str
) -> None:
    rows = transfers(traces[name])
    assert summed(rows["what"], rows["end"] - rows["start"]) == {
        row["Operation"]: (int(row["Total Time (ns)"]), int(row["Count"]))
        for row in nsys_report(name, "cuda_gpu_mem_time_sum")
    }


@pytest.mark.parametrize("name", REPORTED)
def test_transfers_move_the_bytes_of_cuda_gpu_mem_size_sum(
    traces: Mapping[str, Trace], name: str
) -> None:
    """nsys rounds to thousands of bytes, so ours are rounded as it does."""
    rows = transfers(traces[name])
    assert {
        what: (f"{total / 1e6:.3f}", count)
        for what, (total, count) in summed(rows["what"], rows["bytes"]).items()
    } == {
        row["Operation"]: (row["Total (MB)"], int(row["Count"]))
        for row in nsys_report(name, "cuda_gpu_mem_size_sum")
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_there_once(
    captures: dict[str, Path], traces: Mapping[str, Trace], name: str
) -> None:
    tables, trace = read_tables(captures[name]), traces[name]
    ranges = [row for row in tables[schema.NVTX] if row["eventType"] in (59, 60)]
    assert {
        "kernels": len(trace.kernels),
        "copies": len(trace.copies),
        "memsets": len(trace.memsets),
        "calls": len(trace.calls),
        "memory": len(trace.memory),
        "ranges": len(trace.ranges),
        "graphs": len(trace.graphs),
    } == {
        "kernels": len(tables[schema.KERNEL]),
        "copies": len(tables[schema.MEMCPY]),
        "memsets": len(tables[schema.MEMSET]),
        "calls": len(tables[schema.RUNTIME]),
        "memory": len(tables[schema.MEMORY]),
        "ranges": len(ranges),
        "graphs": 0,
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_launched_by_the_call_before_it(
    captures: dict[str, Path], traces: Mapping[str, Trace], name: str
) -> None:
    """Against a join written anew: each operation's call by process and correlation."""
    tables, trace = read_tables(captures[name]), traces[name]
    calls = {
        ((row["globalTid"] >> 24) << 24, row["correlationId"]): row
        for row in tables[schema.RUNTIME]
    }
    for table, frame in (
        (schema.KERNEL, trace.kernels),
        (schema.MEMCPY, trace.copies),
        (schema.MEMSET, trace.memsets),
    ):
        rows = tables[table]
        launched = [calls[row["globalPid"], row["correlationId"]]["start"] for row in rows]
        assert frame["launched"].tolist() == sorted(launched)
        assert (frame["launched"] <= frame["start"]).all()
        starts = sorted(zip(launched, (row["start"] for row in rows), strict=True))
        assert [*zip(frame["launched"], frame["start"], strict=True)] == starts


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_means_nothing(
    captures: dict[str, Path], traces: Mapping[str, Trace], name: str, tmp_path: Path
) -> None:
    tables = {
        table: rows for table, rows in read_tables(captures[name]).items() if table in schema.TABLES
    }
    mixed = load_trace(write_sqlite(tmp_path / "mixed.sqlite", shuffled(tables, seed=1)))
    assert_same_trace(mixed, traces[name])


def test_what_is_said_of_the_machine(traces: Mapping[str, Trace]) -> None:
    two = {"forked", "masked", "nccl", "peer", "peer_metrics", "processes"}
    for name, trace in traces.items():
        gpus = range(2 if name in two else 1)
        first = trace.gpus[0]
        assert first.capability in (None, (9, 0)), "older captures were kept without it"
        assert replace(first, bandwidth=0, capability=None) == TraceGpu(0, "NVIDIA H200", 132)
        assert trace.gpus == tuple(replace(trace.gpus[0], id=number) for number in gpus)
        assert trace.nsys.startswith("2025.3")
        assert trace.schema == "3.20.3"
        assert trace.driver.startswith("580")
        assert trace.cuda == "13.0"
        assert trace.has_cuda_activity
    assert any(trace.capability == (9, 0) for trace in traces.values())


def test_the_ranges_of_the_captures(traces: Mapping[str, Trace]) -> None:
    counted = {
        name: trace.ranges["text"].value_counts().to_dict() for name, trace in traces.items()
    }
    assert counted["basic"] == {"warm_done": 1, "step": 1, "matmul": 20, "softmax": 20}
    assert {text: counted["train"][text] for text in ("h2d", "fwd", "bwd", "opt")} == dict.fromkeys(
        ("h2d", "fwd", "bwd", "opt"), 16
    )
    assert counted["llama_node"]["graph_replay"] == 1


def test_kernels_of_a_graph_are_launched_with_it(traces: Mapping[str, Trace]) -> None:
    trace = traces["llama_node"]
    (replay,) = trace.ranges[trace.ranges["text"] == "graph_replay"].itertuples()
    graphs = trace.kernels[trace.kernels["graph_node"] >= 0]
    launches = graphs["launched"].unique()
    names = trace.calls.set_index("start")["name"].loc[launches].map(trace.strings)
    assert set(names) == {"cudaGraphLaunch_v10000"}
    assert len(launches) == 10
    assert ((launches >= replay.start) & (launches < replay.end)).all()
