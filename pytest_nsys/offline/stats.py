"""What ``pytest-nsys stats`` shows: everything there is to say of one stored capture."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pytest_nsys.catalogue import lookup
from pytest_nsys.errors import CaptureError
from pytest_nsys.insights.bottlenecks import Bottleneck, diagnose
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.kernels.occupancy import occupancy
from pytest_nsys.measure.launched import largest
from pytest_nsys.measure.measurement import Launched, Parts, WindowMeasurement
from pytest_nsys.measure.rounds import Rounds
from pytest_nsys.measure.windows import (
    live_at_peak,
    measure,
    measure_cut,
    place_metrics,
    window_columns,
)
from pytest_nsys.metrics.breakdown import WHOLE_GRAPH
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.metrics.window import durations
from pytest_nsys.offline.selected import diagnose_selected
from pytest_nsys.report.json import launch_document
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace import Trace
from pytest_nsys.trace.narrow import (
    devices,
    of_device,
    of_process,
    processes,
)
from pytest_nsys.trace.schema import process_number
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.windows.cut import Cut, cut_records, labelled_records, whole
from pytest_nsys.windows.ranges import (
    EVERYTHING,
    Selection,
    cut_ranges,
    of_selected_process,
    selected_ranges,
    user_ranges,
)
from pytest_nsys.windows.record import MAIN, WindowRecord

SCHEMA = 2
"""2: copies, memsets, calls, syncs, allocations, categories, streams, devices, processes, tests,
outside, findings and defects are new; nothing of 1 has changed."""

SPREAD = ("wall.time", "gpu.kernel_time", "gpu.kernel_count", "gpu.busy", "api.time", "sync.time")
"""Metrics whose spread over the instances of a range is told."""

_PER_UNIT = ("gpu.kernel_time", "wall.time", "prefill.kernel_time", "decode.kernel_time")
_OPERATIONS = ("kernels", "copies", "memsets", "graphs")

Document = dict[str, Any]


def stats_document(
    trace: Trace,
    selection: Selection = EVERYTHING,
    naming: Naming = Naming(),
    *,
    records: Sequence[WindowRecord] | None = None,
    unified: bool = False,
) -> Document:
    """Everything there is to say of a capture, or of what is selected of it together.

    Times are ns, sizes bytes, rates bytes per second, shares percent; a metric without a value is
    left out.

    Args:
        trace: the capture.
        selection: what of it.
        naming: how kernels are named.
        records: the worker's records, where they are at hand; else the capture's own labels say
            which windows are the plugin's.
        unified: whether the capture was to record unified memory.

    Returns:
        - schema: the version of this document (2). Later versions of one number only add keys.
        - environment: gpu, driver, cuda, nsys, schema (of the export).
        - defects: what is wrong with the capture, and how it was taken; one sentence each.
        - metrics: by key, of the capture or the range.
        - kernels: name, canonical, category, count, total_ns, min_ns, max_ns, median_ns; the
          largest total first. configurations: in how many launch configurations; launches: of
          those that took the most time grid, block, registers, shared_bytes and local_bytes,
          occupancy_pct (theoretical; null where it is not known) and limited_by, count, total_ns.
        - categories: name, count, total_ns of the kernels by category.
        - copies, memsets: name, count, total_ns, bytes, by direction and size.
        - calls, syncs: name, count, total_ns of CUDA API calls; syncs are those that block.
        - allocations: name, count, bytes of what is live at the capture's memory peak; none of a
          range.
        - streams: device, process, stream, count and total_ns of the operations on it.
        - devices: device, name, and the metrics of the GPU's side, where several were used.
        - processes: process and its metrics, where there are several.
        - tests: where pytest-nsys made the capture, of each test and window nodeid, window, rounds,
          units (what a round processes), metrics (medians over rounds, also per unit), categories
          and kernels (name, category, count, total_ns of a round); none of a range.
        - ranges: the program's own NVTX ranges by text: name, count, metrics of all instances
          together, and instances: what an instance has of some metrics (min, median, max, mean,
          and sd, the standard deviation). What a range holds is what its process did.
        - outside: ranges and tests, each the count and total_ns of the GPU operations of the
          capture that were launched in none of them (of ranges: in none of their process); null
          where there are none, and of a range.
        - findings: name, share, summary, evidence, advice; the largest share first. Of a capture
          of tests, they are of the tests' rounds.

    Raises:
        NotACapture: there is no such range or process.
    """
    all_of_it = selection.range is None
    trace = of_selected_process(trace, selection)
    ranges = user_ranges(trace) if all_of_it else selected_ranges(trace, selection)
    inside = cut_ranges(trace, ranges)
    cut = whole(trace) if all_of_it else inside
    memory = MemoryTimeline(trace)
    window = measure_cut(cut, MAIN, naming, unified=unified)
    parts = window.breakdown
    found = labelled_records(trace) if records is None else records
    rounds = [record for record in found if record.kind in ("round", "range")]
    tests, lost = _tests(trace, found, naming, unified=unified) if all_of_it else ([], ())
    # Around the rounds of tests a GPU is idle as it should be: what counts is what is in them.
    measured = cut_records(trace, rounds) if tests else None
    found_bottlenecks = (
        diagnose_selected(trace, selection, naming)
        if measured is None
        else diagnose(measured, naming)
    )
    return {
        "schema": SCHEMA,
        "environment": {
            "gpu": ", ".join(gpu.name for gpu in trace.gpus),
            "driver": trace.driver,
            "cuda": trace.cuda,
            "nsys": trace.nsys,
            "schema": trace.schema,
        },
        "defects": [*_defects(trace, memory, has_rounds=bool(tests)), *lost],
        "metrics": _medians(window),
        "kernels": kernel_rows(cut, naming),
        "categories": _categories(parts["kernels"]),
        "copies": _rows(parts["copies"], "total_ns", "bytes"),
        "memsets": _rows(parts["memsets"], "total_ns", "bytes"),
        "calls": _rows(parts["calls"], "total_ns"),
        "syncs": _rows(parts["syncs"], "total_ns"),
        "allocations": _rows(
            live_at_peak(cut, memory)[0] if all_of_it else Parts(),
            "bytes",
        ),
        "streams": _streams(cut),
        "devices": _devices(cut, naming, unified=unified),
        "processes": _processes(cut, naming, unified=unified),
        "tests": tests,
        "ranges": _ranges(inside, ranges["text"], naming, unified=unified),
        "outside": {
            "ranges": _outside(inside) if all_of_it else None,
            "tests": None if measured is None else _outside(measured),
        },
        "findings": [finding(one) for one in found_bottlenecks],
    }


def finding(one: Bottleneck) -> Document:
    """A bottleneck, as `stats_document` has them."""
    return {
        "name": one.name,
        "share": one.share,
        "summary": one.summary,
        "evidence": [*one.evidence],
        "advice": one.advice,
    }


def _in_order(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: _plain(metrics[key]) for key in sorted(metrics)}


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


def _rows(parts: Parts, *amounts: str) -> list[Document]:
    amount: Mapping[str, str] = {"total_ns": "ns", "bytes": "bytes"}
    return [
        {"name": part.label, "count": int(part.count)}
        | {name: int(getattr(part, amount[name])) for name in amounts}
        for part in parts
    ]


def _categories(kernels: Parts) -> list[Document]:
    total: dict[str, list[int]] = {}
    for part in kernels:
        sums = total.setdefault(part.category, [0, 0])
        sums[0] += int(part.count)
        sums[1] += int(part.ns)
    rows = [{"name": name, "count": n, "total_ns": ns} for name, (n, ns) in total.items()]
    return sorted(rows, key=lambda row: (-int(row["total_ns"]), str(row["name"])))


def kernel_rows(cut: Cut, naming: Naming) -> list[Document]:
    """Per raw kernel name: count, and total, shortest, longest and median duration.

    Whole CUDA graphs stand for their kernels, where these are not listed.
    """
    kernels, graphs = cut.trace.kernels, cut.trace.graphs
    # A kernel may lie in nested ranges of one name; it ran once.
    rows, whole_graphs = pd.unique(cut.kernels.row), pd.unique(cut.graphs.row)
    keys = [kernels["name"].to_numpy(np.int64)[rows], np.full(len(whole_graphs), -1)]
    times = [durations(kernels)[rows], durations(graphs)[whole_graphs]]
    how = [kernels["configuration"].to_numpy(np.int64)[rows], np.full(len(whole_graphs), -1)]
    frame = pd.DataFrame(
        {"name": np.concatenate(keys), "how": np.concatenate(how), "ns": np.concatenate(times)}
    )
    grouped = frame.groupby("name")["ns"].agg(["count", "sum", "min", "max", "median"])
    launches = _launches(frame, cut.trace)
    strings = {**cut.trace.strings, -1: WHOLE_GRAPH}
    ids = [int(key) for key in grouped.index]
    found = [
        {
            "name": (name := strings[key]),
            "canonical": naming.canonical(name),
            "category": naming.category(name),
            "count": int(row["count"]),
            "total_ns": int(row["sum"]),
            "min_ns": int(row["min"]),
            "max_ns": int(row["max"]),
            "median_ns": _plain(float(row["median"])),
            "configurations": len(launches.get(key, ())),
            "launches": [
                launch_document(one) | {"count": int(one.count), "total_ns": int(one.ns)}
                for one in largest(launches.get(key, ()))
            ],
        }
        for key, (_, row) in zip(ids, grouped.iterrows(), strict=True)
    ]
    return sorted(found, key=lambda row: (-row["total_ns"], row["name"]))


def _launches(frame: pd.DataFrame, trace: Trace) -> Mapping[int, Sequence[Launched]]:
    """By id of a kernel's name, each of its launch configurations."""
    known = frame[frame["how"] >= 0].groupby(["name", "how"], as_index=False)
    sums = known.agg(count=("ns", "count"), ns=("ns", "sum"))
    found: dict[int, list[Launched]] = {}
    for name, number, count, ns in zip(*(sums[column].tolist() for column in sums), strict=True):
        how = trace.configurations[number]
        launched = Launched(how, count, ns, occupancy(how, trace.capability))
        found.setdefault(name, []).append(launched)
    return found


def _streams(cut: Cut) -> list[Document]:
    columns = ["device", "pid", "stream"]
    tables = []
    for name in _OPERATIONS:
        table: pd.DataFrame = getattr(cut.trace, name)
        rows = pd.unique(getattr(cut, name).row)
        part = {column: table[column].to_numpy()[rows].astype(np.int64) for column in columns}
        tables.append(pd.DataFrame({**part, "ns": durations(table)[rows]}))
    grouped = pd.concat(tables).groupby(columns)["ns"].agg(["count", "sum"]).reset_index()
    return [
        {
            "device": int(row["device"]),
            "process": process_number(int(row["pid"])),
            "stream": int(row["stream"]),
            "count": int(row["count"]),
            "total_ns": int(row["sum"]),
        }
        for row in grouped.to_dict("records")
    ]


def _devices(cut: Cut, naming: Naming, *, unified: bool) -> list[Document]:
    numbers = devices(cut.trace)
    if len(numbers) < 2:
        return []
    names = {gpu.id: gpu.name for gpu in cut.trace.gpus}
    found = _narrowed(cut, numbers, of_device, naming, unified=unified)
    return [
        {
            "device": number,
            "name": names.get(number, ""),
            "metrics": {key: value for key, value in one.items() if lookup(key).side == "gpu"},
        }
        for number, one in zip(numbers, found, strict=True)
    ]


def _processes(cut: Cut, naming: Naming, *, unified: bool) -> list[Document]:
    pids = processes(cut.trace)
    if len(pids) < 2:
        return []
    found = _narrowed(cut, pids, of_process, naming, unified=unified)
    return [
        {"process": process_number(pid), "metrics": one}
        for pid, one in zip(pids, found, strict=True)
    ]


def _narrowed(
    cut: Cut,
    numbers: Sequence[int],
    narrow: Callable[[Trace, int], Trace],
    naming: Naming,
    *,
    unified: bool,
) -> list[dict[str, float]]:
    """The metrics of the same windows of narrower traces."""
    found: list[dict[str, float]] = []
    for number in numbers:
        trace = narrow(cut.trace, number)
        part = Cut(trace, cut.starts, cut.ends)
        everything: Rounds = {0: range(len(part))}
        columns = window_columns(part, naming, unified=unified)
        found += map(_in_order, place_metrics(columns, [everything]))
    return found


def _tests(
    trace: Trace, records: Sequence[WindowRecord], naming: Naming, *, unified: bool
) -> tuple[list[Document], tuple[str, ...]]:
    """The tests of a capture that pytest-nsys made, and what keeps them from being measured."""
    try:
        measured = measure(trace, records, naming=naming, unified=unified)
    except CaptureError as error:
        return [], (f"{error.what}: its tests are left out",)
    return rows_of_tests({nodeid: test.windows for nodeid, test in measured.items()}), ()


def rows_of_tests(measured: Mapping[str, Mapping[str, WindowMeasurement]]) -> list[Document]:
    """The windows of tests by node id, as `stats_document` has them."""
    return [
        {
            "nodeid": nodeid,
            "window": name,
            "rounds": max(len(sample) for sample in window.samples["wall.time"]),
            "units": {unit: _plain(count) for unit, count in window.units.items()},
            "metrics": _medians(window),
            "categories": _categories(window.kernels),
            "kernels": [
                {
                    "name": part.label,
                    "category": part.category,
                    "count": _plain(part.count),
                    "total_ns": _plain(part.ns),
                }
                for part in window.kernels
            ],
        }
        for nodeid, windows in measured.items()
        for name, window in windows.items()
    ]


def _medians(window: WindowMeasurement) -> dict[str, float]:
    known = [key for key in _PER_UNIT if key in window.samples]
    times = [f"{key}.per_{unit}" for unit in window.units for key in known]
    return _in_order({key: window[key] for key in (*window.samples, *times)})


def _ranges(cut: Cut, of: pd.Series, naming: Naming, *, unified: bool) -> list[Document]:
    """The ranges of the cut by their texts, however many there are."""
    codes, texts = pd.factorize(of, sort=True)
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(1, len(texts)))
    places: list[Rounds] = [{0: rows.tolist()} for rows in np.split(order, edges)]
    if not len(texts):
        return []
    columns = window_columns(cut, naming, unified=unified)
    return [
        {
            "name": str(text),
            "count": len(place[0]),
            "metrics": _in_order(metrics),
            "instances": {
                key: spread(columns[key][[*place[0]]].tolist()) for key in SPREAD if key in columns
            },
        }
        for text, place, metrics in zip(texts, places, place_metrics(columns, places), strict=True)
    ]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Extremes, median, mean and standard deviation of what the instances of a range have."""
    found = {
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
    }
    return {name: _plain(value) for name, value in found.items()}


def _outside(cut: Cut) -> Document | None:
    """What was launched in none of the windows; None if there are no windows."""
    if not len(cut):
        return None
    starts, ends = np.sort(cut.starts), np.sort(cut.ends)
    count = total = 0
    for name in _OPERATIONS:
        table: pd.DataFrame = getattr(cut.trace, name)
        launched: Ints = table["launched"].to_numpy()
        begun = np.searchsorted(starts, launched, side="right")
        out = begun == np.searchsorted(ends, launched, side="right")
        count += int(np.count_nonzero(out))
        total += int(durations(table)[out].sum())
    return {"count": count, "total_ns": total}


_OF_HELPERS = (
    "No NVTX events collected",
    "No CUDA events collected",
    "CUDA profiling might have not been started correctly",
)
"""What nsys says of each process that does nothing on the GPU, such as one that a test starts; it
does not say of which."""


def _defects(trace: Trace, memory: MemoryTimeline, *, has_rounds: bool) -> list[str]:
    """What is wrong with the capture.

    Where it has the rounds of all tests, and what they did on the GPU, what nsys misses is missing
    in other processes, as it should be.
    """
    found = [*trace.defects]
    if not trace.has_cuda_activity:
        found.append(
            "it holds no CUDA events: the program used no GPU, or nsys was not told to trace CUDA "
            "(--trace=cuda)"
        )
    if memory.unmatched_frees:
        found.append(
            f"frees of memory whose allocation was not recorded: {memory.unmatched_frees}; "
            "they change nothing"
        )
    open_ranges = int(np.count_nonzero(trace.ranges["end"] == ABSENT))
    if open_ranges:
        found.append(f"NVTX ranges that never ended: {open_ranges}; left out")
    is_whole = has_rounds and trace.has_cuda_activity
    said = Counter(
        text
        for severity, text in trace.diagnostics
        if severity > 1 and not (is_whole and text.startswith(_OF_HELPERS))
    )
    found += [f"nsys says{_times(count)}: {text}" for text, count in said.items()]
    return found


def _times(count: int) -> str:
    return f" {count} times" if count > 1 else ""
