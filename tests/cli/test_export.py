"""``pytest-nsys export --perfetto``: traces that keep every event and the format's rules."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.cli.export import _write
from pytest_nsys.offline.lanes import flat_lanes, nested_lanes
from pytest_nsys.offline.perfetto import perfetto_text
from pytest_nsys.trace import Trace, load_trace, schema
from pytest_nsys.trace.schema import MemcpyKind, process_number
from pytest_nsys.windows.ranges import EVERYTHING, Selection
from tests.support.command import Answer, record, step
from tests.support.exports.traces import PID, TraceBuilder

Event = dict[str, Any]

FIELDS = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"},
    "f": {"name", "cat", "id", "pid", "tid", "ts", "bp"},
    "C": {"name", "pid", "ts", "args"},
    "M": {"name", "pid", "ts", "args"},
}


def events_of(trace: Trace, selection: Selection = EVERYTHING) -> list[Event]:
    document = json.loads("".join(perfetto_text(trace, selection)))
    assert list(document) == ["traceEvents", "otherData"]
    assert all(isinstance(value, str) for value in document["otherData"].values())
    events: list[Event] = document["traceEvents"]
    check(events)
    return events


def ns(us: float) -> int:
    return round(us * 1000)


def check(events: list[Event]) -> None:
    """What the format demands of events: fields, names of threads, nesting, ends of arrows."""
    slices: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    named: set[tuple[str, int, int]] = set()
    flows: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        is_of_thread = event["ph"] == "M" and event["name"].startswith("thread")
        assert set(event) - {"ph"} == FIELDS[event["ph"]] | ({"tid"} if is_of_thread else set()), (
            event
        )
        assert [*event][:2] == ["ph", "ts"]
        assert isinstance(event["pid"], int)
        assert event["ts"] >= 0, event
        place = (event["pid"], event.get("tid", 0))
        if event["ph"] == "X":
            assert event["dur"] >= 0
            start = ns(event["ts"])
            slices[place].append((start, start + ns(event["dur"])))
        elif event["ph"] in "sf":
            flows[event["id"]].append(event)
        elif event["ph"] == "M":
            named.add((event["name"], *place))
    owners: dict[int, set[int]] = defaultdict(set)
    for pid, tid in slices:
        owners[tid].add(pid)
        assert ("thread_name", pid, tid) in named
        assert ("process_name", pid, 0) in named
    assert all(len(pids) == 1 for pids in owners.values()), "a thread's number is its own"
    processes = {event["pid"] for event in events}
    assert all(pids == {tid} for tid, pids in owners.items() if tid in processes)
    for spans in slices.values():
        stack: list[int] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while stack and stack[-1] <= start:
                stack.pop()
            assert not stack or end <= stack[-1], "they nest"
            stack.append(end)
    for source, target in flows.values():
        assert (source["ph"], target["ph"]) == ("s", "f")
        assert source["ts"] <= target["ts"]
        for end in (source, target):
            at = ns(end["ts"])
            around = slices[end["pid"], end["tid"]]
            assert any(low <= at <= high for low, high in around), "an arrow has both ends"


def by_kind(events: list[Event]) -> Counter[str]:
    return Counter(event["cat"] for event in events if event["ph"] == "X")


CAPTURES = ("graph_graph", "nccl", "peer_metrics", "processes", "streams", "train", "unified")


@pytest.mark.parametrize("name", CAPTURES)
def test_every_event_of_a_real_capture_is_in_its_trace(
    captures: dict[str, Path], name: str
) -> None:
    trace = load_trace(captures[name])
    events = events_of(trace)
    tables = {
        "api": trace.calls,
        "nvtx": trace.ranges,
        "kernel": trace.kernels,
        "copy": trace.copies,
        "memset": trace.memsets,
        "graph": trace.graphs,
    }
    assert by_kind(events) == {kind: len(table) for kind, table in tables.items() if len(table)}
    for kind, table in tables.items():
        total = sum(ns(event["dur"]) for event in events if event.get("cat") == kind)
        closed = table[table["end"] != -1]
        if len(closed) == len(table):
            assert total == int((table["end"] - table["start"]).sum()), "to the nanosecond"
    operations = [trace.kernels, trace.copies, trace.memsets, trace.graphs]
    launched = sum(
        int(((table["call"] >= 0) & (table["launched"] <= table["start"])).sum())
        for table in operations
    )
    assert sum(event["ph"] == "f" for event in events) == launched
    sampled = sum(event["ph"] == "C" and "value" in event["args"] for event in events)
    assert sampled <= len(trace.samples)
    assert bool(sampled) == bool(len(trace.samples))


def a_trace() -> TraceBuilder:
    builder = TraceBuilder()
    builder.range("outer", 100, 5_000)
    builder.range("work", 1_000, 4_000)
    builder.kernel("void gemm<(int)1>(float*)", 1_100, 500, start=1_200)
    builder.kernel("softmax", 1_110, 500, start=1_500)  # while the first still runs
    builder.copy(2_000, 100, 4096, kind=MemcpyKind.D2H)
    builder.copy(2_010, 100, 9, kind=MemcpyKind.P2P)
    builder.memset(2_500, 10, 64)
    builder.graph(3_000, 50)
    builder.rows[schema.MEMCPY][-1] |= {"srcDeviceId": 0, "dstDeviceId": 1, "graphNodeId": 12}
    builder.kernel("late", 6_000, 100)
    builder.memory(500, 1024, address=1)
    builder.memory(1_500, 2048, address=2)
    builder.memory(4_500, 1024, address=1, free=True)
    builder.sample(1_300, "SMs Active [Throughput %]", 70)
    nameless = {"timestamp": 1_400, "typeId": 0, "metricId": 99, "value": 5}
    builder.rows[schema.SAMPLES].append(nameless)
    builder.sample(9_000, "SMs Active [Throughput %]", 1)
    return builder


def test_events_say_what_they_are() -> None:
    events = events_of(a_trace().build())
    slices = {event["name"]: event for event in events if event["ph"] == "X"}
    names = {
        (event["name"], event["pid"], event.get("tid", 0)): event["args"]["name"]
        for event in events
        if event["ph"] == "M" and "name" in event["args"]
    }
    kernel = next(event for event in slices.values() if "gemm" in event["name"])
    assert kernel["args"]["name"] == "void gemm<(int)1>(float*)"
    assert kernel["args"]["category"] == "gemm"
    assert names["process_name", kernel["pid"], 0] == "GPU 0: NVIDIA H200"
    assert names["thread_name", kernel["pid"], kernel["tid"]] == "stream 7"
    second = slices["softmax"]
    assert second["tid"] != kernel["tid"], "what overlaps is on a lane of its own"
    assert names["thread_name", second["pid"], second["tid"]] == "stream 7"
    copy = slices["memcpy d2h"]
    assert copy["args"] == {"bytes": 4096, "from": "pinned", "to": "device", "call": 2}
    ends = {"source_device": 0, "target_device": 1, "graph_node": 12}
    assert slices["memcpy p2p"]["args"].items() >= ends.items()
    assert slices["memset"]["args"]["bytes"] == 64
    assert slices["CUDA graph 1"]["cat"] == "graph"
    (call,) = [event for event in events if event["ph"] == "X" and event["args"] == {"call": 2}]
    assert call["name"] == "cudaMemcpyAsync"
    assert (call["pid"], call["tid"]) == (7, 1), "numbers of the host are the system's"
    assert names["thread_name", 7, 1] == "thread 1 CUDA API"
    arrow = next(event for event in events if event["ph"] == "f" and event["tid"] == second["tid"])
    (source,) = [event for event in events if event["ph"] == "s" and event["id"] == arrow["id"]]
    assert (ns(source["ts"]), ns(arrow["ts"])) == (1_010, 1_400), "from the first event on"
    memory = [
        (ns(event["ts"]), event["args"]["bytes"])
        for event in events
        if event["name"] == "live device memory"
    ]
    assert memory == [(0, 0), (400, 1024), (1_400, 3072), (4_400, 2048)]
    (sample,) = [event for event in events if "SMs" in event["name"]]
    assert sample["args"] == {"value": 70}


def test_a_range_limits_the_trace_to_what_it_launched() -> None:
    events = events_of(a_trace().build(), Selection("work"))
    assert by_kind(events) == {"nvtx": 1, "api": 6, "kernel": 2, "copy": 2, "memset": 1, "graph": 1}
    assert not any(event["name"] == "late" for event in events)
    memory = [e["args"]["bytes"] for e in events if e["name"] == "live device memory"]
    assert memory == [1024, 3072]


def test_ranges_that_never_end_or_cross_are_shown() -> None:
    builder = TraceBuilder()
    builder.range("a", 0, 100)
    builder.range("crosses", 50, 150)
    builder.range("open", 60, -1)
    builder.kernel("k", 200, 10)
    events = events_of(builder.build())
    slices = {event["name"]: event for event in events if event["ph"] == "X"}
    assert slices["a"]["tid"] != slices["crosses"]["tid"]
    assert slices["open"]["args"] == {"end": "it never ended"}
    assert ns(slices["open"]["dur"]) == 155, "it lasts to the end"


def test_what_starts_before_its_launch_has_no_arrow() -> None:
    builder = TraceBuilder()
    builder.kernel("early", 200, 10, start=150)
    assert Counter(event["ph"] for event in events_of(builder.build()))["s"] == 0


def test_processes_of_one_number_and_unknown_places_are_kept_apart() -> None:
    builder = TraceBuilder()
    other = PID + (1 << 48)  # the same number on another machine, or in another container
    for tid in (PID + 1, other + 1):
        builder.kernel("k", 100, 10, tid=tid)
    builder.kernel("lost", 300, 10, device=-1, stream=-1)
    builder.kernel("more", 300, 10, device=5)
    events = events_of(builder.build())
    assert len({(e["pid"], e["tid"]) for e in events if e.get("cat") == "api"}) == 2
    names = {e["args"]["name"] for e in events if e["ph"] == "M" and "name" in e["args"]}
    assert {"an unknown GPU", "GPU 5", "stream 7, process 7", "unknown stream, process 7"} <= names


def test_names_of_any_characters_are_kept(tmp_path: Path) -> None:
    name = 'k"\\\x1b\n\u202e\u00e9\U0001f600</script>'
    builder = TraceBuilder()
    builder.range(name, 0, 5_000)
    builder.kernel(name, 100, 10)
    builder.kernel("half a pair \udc80", 100, 10)
    _write(tmp_path / "trace.json", perfetto_text(builder.build()))
    text = (tmp_path / "trace.json").read_bytes().decode()
    events = json.loads(text)["traceEvents"]
    check(events)
    assert {e["name"] for e in events if e.get("cat") == "nvtx"} == {name}
    raw = {e["args"]["name"] for e in events if e.get("cat") == "kernel"}
    assert raw == {name, "half a pair \udc80"}


def test_an_empty_capture_is_a_trace_too() -> None:
    assert events_of(TraceBuilder().build()) == []


def test_files_are_written_whole_compressed_and_not_over_others(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    report = Path(shutil.copy(captures["train"], tmp_path / "train.sqlite"))
    code, out, err = command("export", "--perfetto", report)
    assert (code, err) == (0, "")
    packed = tmp_path / "train.perfetto.json.gz"
    assert out.startswith(f"{packed}: ")
    plain = tmp_path / "trace.json"
    assert command("export", "--perfetto", report, "-o", plain)[0] == 0
    with gzip.open(packed, "rt") as file:
        assert file.read() == plain.read_text()
    code, _, err = command("export", "--perfetto", report, "-o", plain)
    assert code == 2
    assert "exists and is left alone" in err
    assert command("export", "--perfetto", report, "-o", plain, "--force", "--range", "bwd")[0] == 0
    kinds = by_kind(json.loads(plain.read_text())["traceEvents"])
    assert 0 < kinds["kernel"] < len(load_trace(report).kernels)
    code, _, err = command("export", "--perfetto", report, "-o", tmp_path / "no" / "t.json")
    assert code == 2
    assert "cannot be written" in err
    code, _, err = command("export", "--perfetto", report, "-o", tmp_path / "t", "--range", "none")
    assert code == 2
    assert "no NVTX range 'none'" in err
    assert not (tmp_path / "t").exists()
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_what_fails_half_way_leaves_nothing(
    command: Callable[..., Answer],
    captures: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    def full(*_: object) -> Iterator[str]:
        yield "{"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_nsys.offline.perfetto.perfetto_text", full)
    code, _, err = command("export", "--perfetto", captures["train"], "-o", tmp_path / name)
    assert code == 2
    assert "No space left" in err
    assert not list(tmp_path.iterdir())


def test_recordings_are_exported_too(command: Callable[..., Answer], tmp_path: Path) -> None:
    recording = record(tmp_path / "recording", step(2))
    target = tmp_path / "trace.json"
    assert command("export", "--perfetto", recording, "-o", target)[0] == 0
    events = json.loads(target.read_text())["traceEvents"]
    check(events)
    assert by_kind(events)["kernel"] == 6
    assert any("t.py::t1" in event["name"] for event in events), "the plugin's windows are ranges"


def test_a_format_has_to_be_named(command: Callable[..., Answer], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        command("export", tmp_path / "a.sqlite")
    assert stopped.value.code == 2


SPANS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 12)), max_size=30)


@given(SPANS)
def test_lanes_hold_what_does_not_overlap_or_what_nests(rows: list[tuple[int, int, int]]) -> None:
    groups, starts, lengths = (np.array([row[n] for row in rows], dtype=np.int64) for n in range(3))
    ends = starts + lengths
    for lanes, nests in (
        (flat_lanes(groups, starts, ends), False),
        (nested_lanes(groups, starts, ends), True),
    ):
        for one in range(len(rows)):
            for other in range(one):
                if groups[one] != groups[other] or lanes[one] != lanes[other]:
                    continue
                apart = ends[one] <= starts[other] or ends[other] <= starts[one]
                within = (starts[one] <= starts[other] and ends[other] <= ends[one]) or (
                    starts[other] <= starts[one] and ends[one] <= ends[other]
                )
                assert apart or (nests and within)
        for group in set(groups.tolist()):
            used = set(lanes[groups == group].tolist())
            assert used == set(range(len(used))), "no lane is left out"


def test_a_range_shows_what_its_process_did_and_a_process_all_of_its_own() -> None:
    builder = TraceBuilder()
    other = PID + (1 << 24) + 1
    builder.range("work", 100, 1_000)
    builder.kernel("mine", 200, 10)
    builder.kernel("theirs", 300, 10, tid=other)
    builder.kernel("late", 2_000, 10)
    trace = builder.build()

    def kernels(selection: Selection) -> set[str]:
        found = events_of(trace, selection)
        return {event["name"] for event in found if event.get("cat") == "kernel"}

    assert kernels(EVERYTHING) == {"mine", "theirs", "late"}
    assert kernels(Selection("work")) == {"mine"}
    assert kernels(Selection(process=process_number(other))) == {"theirs"}
