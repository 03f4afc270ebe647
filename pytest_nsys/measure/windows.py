"""From a trace, and records or cuts of it, to what was measured of each window of each test."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from pytest_nsys.catalogue import (
    COUNTED_UNITS,
    SERVER_GATES,
    Breakdown,
    parse_range,
    split_per_unit,
    undivided,
)
from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.insights.timeline.build import timelines_of
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.first_use import FirstUses
from pytest_nsys.measure.launched import with_configurations
from pytest_nsys.measure.measurement import Parts, Samples, WindowMeasurement, shared
from pytest_nsys.measure.rounds import Rounds, round_parts, round_samples
from pytest_nsys.metrics.breakdown import breakdowns, peak_allocations
from pytest_nsys.metrics.devices import devices_used
from pytest_nsys.metrics.memory import SPAN_METRICS, MemoryTimeline
from pytest_nsys.metrics.records import client_values, state_samples
from pytest_nsys.metrics.steps import step_values
from pytest_nsys.metrics.values import window_values
from pytest_nsys.metrics.work import shares_of_peak, work_values
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut, cut_records
from pytest_nsys.windows.ranges import cut_ranges, named, user_ranges
from pytest_nsys.windows.record import MAIN, WindowRecord

Place = tuple[str, str]
"""What samples belong to: a test, and the name of a window of it."""

ROWS_AT_ONCE = 2**23
"""So many rows of windows that overlap are measured at once."""


@dataclass(frozen=True)
class TestWindows:
    """What was measured of one test.

    Attributes:
        windows: by name, the body's first; a server test has no body.
        gpus: numbers of the devices its windows used.
        timeline: the round of its body, or of its first window, whose kernel time is the median
            one, where it is wanted.
        remarks: what of it could not be measured, and what its rounds did that only first calls
            do, in sentences.
        warnings: what of it cannot be, in sentences.
    """

    __test__ = False

    windows: Mapping[str, WindowMeasurement]
    gpus: frozenset[int] = field(default_factory=frozenset)
    timeline: Timeline | None = None
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def measure(
    trace: Trace,
    records: Sequence[WindowRecord],
    *,
    extra: Collection[str] = (),
    naming: Naming = Naming(),
    unified: bool = False,
    timelines: bool = False,
    warmups: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, TestWindows]:
    """The windows of every test that has any, by node id.

    Args:
        trace: the capture.
        records: of the windows, the worker's or those of rounds that were sent to a server.
        extra: parametrised metrics to measure besides the plain ones (``kernel[gemm*].time``).
        naming: how kernels are named.
        unified: whether the capture was to record unified memory.
        timelines: whether timelines are wanted.
        warmups: of tests, the calls before their rounds; of these it is told what else these did
            that only first calls do.

    Raises:
        WindowsMissing: the capture lacks one of them.
    """
    spans = [record for record in records if record.kind == "span"]
    windows = [record for record in records if record.kind not in ("span", "sentinel")]
    rounds: dict[Place, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    units: dict[Place, list[Mapping[str, float]]] = defaultdict(list)
    for number, record in enumerate(windows):
        rounds[record.nodeid, record.name][record.round].append(number)
        units[record.nodeid, record.name].append(record.units)
    # The body of a test comes before its ranges, whichever ended first.
    places = {place: rounds[place] for place in sorted(rounds, key=lambda p: p[1] != MAIN)}
    both = cut_records(trace, [*windows, *spans])
    cut = Cut(trace, both.starts[: len(windows)], both.ends[: len(windows)])
    span_cut = Cut(trace, both.starts[len(windows) :], both.ends[len(windows) :])
    given = client_values(windows) | work_values(windows)
    if (tokens := given.get(COUNTED_UNITS["token"])) is not None:
        given |= step_values(cut, tokens, given.get(COUNTED_UNITS["request"], tokens))
    measured = _measure(cut, [*places.values()], naming, extra=extra, unified=unified, given=given)
    owners = [(record.nodeid, record.name) for record in spans]
    memory = dict(zip(owners, _measure_memory(span_cut), strict=True))
    gpus = _gpus(cut, places)
    of_place: dict[Place, list[WindowRecord]] = defaultdict(list)
    for record in windows:
        of_place[record.nodeid, record.name].append(record)
    tests: dict[str, dict[str, WindowMeasurement]] = defaultdict(dict)
    remarks: dict[str, list[str]] = defaultdict(list)
    warnings: dict[str, list[str]] = defaultdict(list)
    for (nodeid, name), (samples, parts) in zip(places, measured, strict=True):
        # Memory is one sample per process. It is known where a span says that all of it was
        # allocated in the capture: not of a server that had begun before.
        memory_samples, memory_parts = memory.get((nodeid, name), _NOTHING)
        records_of = of_place[nodeid, name]
        found = state_samples(records_of)
        rates = {key: one for key, (one,) in samples.items()}
        used = [gpu for gpu in trace.gpus if gpu.id in gpus[nodeid]]
        shares = shares_of_peak(records_of, rates, used)
        remarks[nodeid] += shares.notes
        warnings[nodeid] += shares.warnings
        aside = {key: (sample,) for key, sample in {**found, **shares.samples}.items()}
        window = WindowMeasurement(
            name=name,
            samples={
                key: shared(one) for key, one in {**samples, **memory_samples, **aside}.items()
            },
            units=_median_units(units[nodeid, name]),
            breakdown={**parts, "allocations": memory_parts},
            precision=shares.precision,
        )
        tests[nodeid][name] = _with_gates(window)
    first = FirstUses(cut, naming)
    for (nodeid, name), by_round in places.items():
        if name == MAIN and nodeid in warmups:
            remarks[nodeid] += first.told([*by_round.values()], warmups[nodeid])
    drawn = _timelines(cut, windows, places, memory, naming) if timelines else {}
    return {
        nodeid: TestWindows(
            of_test,
            gpus[nodeid],
            drawn.get(nodeid),
            (*dict.fromkeys(remarks[nodeid]),),
            (*dict.fromkeys(warnings[nodeid]),),
        )
        for nodeid, of_test in tests.items()
    }


def _with_gates(window: WindowMeasurement) -> WindowMeasurement:
    """The window with samples of what is gated by default per unit: baselines are to hold them."""
    if window.gates != "server":
        return window
    derived = {key: window.by_process(key) for key in SERVER_GATES if split_per_unit(key)}
    known = {key: processes for key, processes in derived.items() if any(processes)}
    return replace(window, samples={**window.samples, **known})


def _timelines(
    cut: Cut,
    windows: Sequence[WindowRecord],
    places: Mapping[Place, Rounds],
    with_memory: Collection[Place],
    naming: Naming,
) -> dict[str, Timeline]:
    """Per test, the round of its body whose kernel time is the median one, the first of equals.

    Of a test without a body it is one of its first window.
    """
    times = cut.times(cut.kernel_names).tolist()
    middle: dict[str, int] = {}
    unknown: set[int] = set()
    for (nodeid, name), rounds in places.items():
        if nodeid in middle:
            continue
        numbers = [number for found in rounds.values() for number in found]
        middle[nodeid] = sorted(numbers, key=times.__getitem__)[(len(numbers) - 1) // 2]
        # Without a span, a test of a worker has been stopped; a server has begun before.
        if (nodeid, name) not in with_memory and windows[middle[nodeid]].times is not None:
            unknown.add(len(middle) - 1)
    chosen = [*middle.values()]
    parts = {record.label: record.name for record in windows if record.kind == "range"}
    shown = Cut(cut.trace, cut.starts[chosen], cut.ends[chosen])
    found = timelines_of(shown, naming, parts, without_memory=unknown)
    return dict(zip(middle, found, strict=True))


def measure_cut(
    cut: Cut,
    name: str,
    naming: Naming = Naming(),
    *,
    extra: Collection[str] = (),
    unified: bool = False,
    each: bool = False,
) -> WindowMeasurement:
    """All windows of a cut, such as the instances of a user's NVTX range, as one window of a test.

    Args:
        cut: the windows.
        name: what they are called.
        naming: how kernels are named.
        extra: parametrised metrics to measure besides the plain ones.
        unified: whether the capture was to record unified memory.
        each: whether each of them is a round, or all together are one.
    """
    numbers = range(len(cut))
    rounds: Rounds = {number: [number] for number in numbers} if each else {0: numbers}
    ((samples, parts),) = _measure(cut, [rounds], naming, extra=extra, unified=unified)
    (memory,) = round_samples(_span_values(cut, MemoryTimeline(cut.trace)), [rounds])
    return WindowMeasurement(
        name=name,
        samples={**samples, **{key: (sample,) for key, sample in memory.items()}},
        breakdown=parts,
    )


def window_columns(
    cut: Cut, naming: Naming = Naming(), *, unified: bool = False
) -> dict[str, Floats]:
    """Per plain metric, its value in every window of the cut, which are spans of memory, too.

    Args:
        cut: the windows.
        naming: how kernels are named.
        unified: whether the capture was to record unified memory.
    """
    memory = MemoryTimeline(cut.trace)
    parts = [
        window_values(part, naming, unified=unified) | _span_values(part, memory)
        for part in _pieces(cut)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def place_metrics(
    columns: Mapping[str, Floats], places: Sequence[Rounds]
) -> list[dict[str, float]]:
    """Per place, its metrics by key; each place is one round.

    Args:
        columns: per metric, its value in every window of a cut.
        places: what is measured: the texts of NVTX ranges with their instances.
    """
    return [
        {key: sample[0] for key, sample in samples.items()}
        for samples in round_samples(columns, places)
    ]


def _pieces(cut: Cut) -> Iterator[Cut]:
    """The cut, some windows at a time: nested ranges hold each operation many times over."""
    rows = np.ones(len(cut), dtype=np.int64)
    for times in (cut.trace.calls["start"], cut.trace.kernels["launched"]):
        low, high = (np.searchsorted(times.to_numpy(), edge) for edge in (cut.starts, cut.ends))
        rows += np.maximum(high - low, 0)
    piece = np.cumsum(rows) // ROWS_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(cut)]
    for first, last in pairwise(edges):
        yield Cut(cut.trace, cut.starts[first:last], cut.ends[first:last])


def live_at_peak(cut: Cut, memory: MemoryTimeline) -> list[Parts]:
    """Per window of a cut, what was allocated in it and is live at its memory peak, by size."""
    return round_parts(peak_allocations(cut, memory), _each(cut))


def _measure(
    cut: Cut,
    places: Sequence[Rounds],
    naming: Naming,
    *,
    extra: Collection[str],
    unified: bool,
    given: Mapping[str, Floats] | None = None,
) -> list[tuple[dict[str, Samples], dict[Breakdown, Parts]]]:
    """Per place, its samples (of one process) and its breakdowns; ``given`` are further columns."""
    keys = {undivided(key) for key in extra}
    columns = window_values(cut, naming, extra=keys, unified=unified)
    columns |= _range_columns(cut, keys, naming, unified=unified) | dict(given or {})
    samples = round_samples(columns, places)
    parts: dict[Breakdown, list[Parts]] = {
        kind: round_parts(lines, places, naming if kind == "kernels" else None)
        for kind, lines in breakdowns(cut, naming).items()
    }
    parts["kernels"] = with_configurations(cut, places, naming, parts["kernels"])
    return [
        (
            {key: (sample,) for key, sample in of_place.items()},
            {kind: by_place[number] for kind, by_place in parts.items()},
        )
        for number, of_place in enumerate(samples)
    ]


def _range_columns(
    cut: Cut, keys: Collection[str], naming: Naming, *, unified: bool
) -> dict[str, Floats]:
    """Per key of a metric in the program's NVTX ranges, its value in every window of the cut.

    The ranges of a window are those that began in it; where there are none it has no value.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if (in_range := parse_range(key)) is not None:
            wanted[in_range[0]].append(in_range[1])
    ranges = user_ranges(cut.trace)
    columns = {}
    for pattern, metrics in wanted.items():
        found = ranges[named(ranges, pattern)]
        inner = cut_ranges(cut.trace, found)
        values = window_values(inner, naming, extra=metrics, unified=unified)
        members = cut.members(found["start"])
        places: list[Rounds] = [
            {0: rows.tolist()} if len(rows) else {}
            for rows in np.split(
                members.row, np.searchsorted(members.window, np.arange(1, len(cut)))
            )
        ]
        samples = round_samples(values, places)
        for metric in metrics:
            one = [sample[metric][0] if metric in sample else np.nan for sample in samples]
            columns[f"range[{pattern}].{metric}"] = np.array(one, dtype=np.float64)
    return columns


_NOTHING: tuple[dict[str, Samples], Parts] = ({}, Parts())


def _measure_memory(cut: Cut) -> list[tuple[dict[str, Samples], Parts]]:
    """Per span, its memory metrics, and what was live at its peak."""
    memory = MemoryTimeline(cut.trace)
    measured = round_samples(_span_values(cut, memory), _each(cut))
    return [
        ({key: (sample,) for key, sample in samples.items()}, of_span)
        for samples, of_span in zip(measured, live_at_peak(cut, memory), strict=True)
    ]


def _span_values(cut: Cut, memory: MemoryTimeline) -> dict[str, Floats]:
    return {key: compute(cut, memory) for key, compute in SPAN_METRICS.items()}


def _each(cut: Cut) -> list[Rounds]:
    """Each window of a cut as a place of its own."""
    return [{0: [number]} for number in range(len(cut))]


def _median_units(units: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Per unit, singular, the median over the rounds that declared it."""
    found: dict[str, list[float]] = defaultdict(list)
    for declared in units:
        for name, count in declared.items():
            found[re.sub(r"s$", "", name)].append(count)
    return {name: statistics.median(counts) for name, counts in found.items()}


def _gpus(cut: Cut, places: Mapping[Place, Rounds]) -> dict[str, frozenset[int]]:
    use = devices_used(cut)
    by_test: dict[str, set[int]] = defaultdict(set)
    for (nodeid, _), rounds in places.items():
        windows = [number for numbers in rounds.values() for number in numbers]
        by_test[nodeid].update(use.devices[use.used[windows].any(axis=0)].tolist())
    return {nodeid: frozenset(devices) for nodeid, devices in by_test.items()}
