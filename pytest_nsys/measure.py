"""Measuring: from a trace and the worker's window records to measurements of tests."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from pytest_nsys.catalogue import Breakdown, parse_family, undivided
from pytest_nsys.cut import Cut, Floats, cut_records
from pytest_nsys.measurement import Part, Parts, Sessions, WindowMeasurement, largest_first
from pytest_nsys.metrics import SPAN_METRICS, WINDOW_METRICS, breakdowns
from pytest_nsys.metrics.breakdown import peak_allocations
from pytest_nsys.metrics.family import family_metric
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.metrics.naming import Naming
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows import MAIN, WindowRecord

Places = Mapping[tuple[str, str], Mapping[int, Sequence[int]]]
"""For a test and a window's name: per round, the numbers of its windows in the cut."""


@dataclass(frozen=True)
class TestWindows:
    """What was measured of one test.

    Attributes:
        windows: by name, the body's first.
        gpus: numbers of the devices its windows used.
    """

    __test__ = False

    windows: Mapping[str, WindowMeasurement]
    gpus: frozenset[int] = field(default_factory=frozenset)


def measure(
    trace: Trace,
    records: Sequence[WindowRecord],
    *,
    extra: Collection[str] = (),
    naming: Naming = Naming(),
) -> dict[str, TestWindows]:
    """The windows of every test that has any, by node id.

    Args:
        trace: the capture.
        records: the worker's records of windows.
        extra: parametrised metrics to measure besides the plain ones (``kernel[gemm*].time``).
        naming: how kernels are named.

    Raises:
        WindowsMissing: the capture lacks one of them.
    """
    cut = cut_records(trace, [r for r in records if r.kind != "sentinel"])
    windows = [r for r in records if r.kind != "sentinel"]
    places: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    units: dict[tuple[str, str], list[Mapping[str, float]]] = defaultdict(list)
    spans: dict[str, int] = {}
    for number, record in enumerate(windows):
        if record.kind == "span":
            spans[record.nodeid] = number
        else:
            places[record.nodeid, record.name][record.round].append(number)
            units[record.nodeid, record.name].append(record.units)
    values = _columns(cut, extra, naming)
    samples: dict[tuple[str, str], dict[str, Sessions]] = {
        place: {
            key: (tuple(float(sum(column[n] for n in numbers)) for numbers in rounds.values()),)
            for key, column in values.items()
        }
        for place, rounds in places.items()
    }
    parts = {
        kind: _parts(table, places, naming, kind) for kind, table in breakdowns(cut, naming).items()
    }
    _add_memory(cut, spans, samples, parts, places, naming)
    gpus = _gpus(cut, places)
    tests: dict[str, dict[str, WindowMeasurement]] = defaultdict(dict)
    for nodeid, name in sorted(places, key=lambda place: place[1] != MAIN):
        place = (nodeid, name)
        tests[nodeid][name] = WindowMeasurement(
            name=name,
            samples=samples[place],
            units=_median_units(units[place]),
            breakdown={kind: by_place.get(place, Parts()) for kind, by_place in parts.items()},
        )
    return {nodeid: TestWindows(found, gpus[nodeid]) for nodeid, found in tests.items()}


def measure_cut(
    cut: Cut, name: str, naming: Naming = Naming(), *, extra: Collection[str] = ()
) -> WindowMeasurement:
    """All windows of a cut together, as one round: the instances of a user's NVTX range.

    ``extra`` are parametrised metrics to measure besides the plain ones.
    """
    place = ("", name)
    places: Places = {place: {0: range(len(cut))}}
    samples: dict[str, Sessions] = {
        key: ((float(column.sum()),),) for key, column in _columns(cut, extra, naming).items()
    }
    memory = MemoryTimeline(cut.trace)
    for key, compute in SPAN_METRICS.items():
        values = compute(cut, memory)
        highest = key in ("mem.peak", "mem.peak_total")
        samples[key] = ((float(values.max(initial=0.0) if highest else values.sum()),),)
    return WindowMeasurement(
        name=name,
        samples=samples,
        breakdown={
            kind: _parts(table, places, naming, kind).get(place, Parts())
            for kind, table in breakdowns(cut, naming).items()
        },
    )


def _columns(cut: Cut, extra: Collection[str], naming: Naming) -> dict[str, Floats]:
    """Per metric, one value per window of the cut."""
    values = {key: compute(cut) for key, compute in WINDOW_METRICS.items()}
    for key in {undivided(key) for key in extra}:
        family = parse_family(key)
        if family is not None:
            values[key] = family_metric(cut, family, naming)
    return values


def _add_memory(
    cut: Cut,
    spans: Mapping[str, int],
    samples: dict[tuple[str, str], dict[str, Sessions]],
    parts: dict[Breakdown, dict[tuple[str, str], Parts]],
    places: Places,
    naming: Naming,
) -> None:
    """Memory is one sample per session, and belongs to the test's body."""
    numbers = [spans[nodeid] for nodeid, name in places if name == MAIN and nodeid in spans]
    owners = [nodeid for nodeid, name in places if name == MAIN and nodeid in spans]
    span_cut = Cut(cut.trace, cut.starts[numbers], cut.ends[numbers])
    memory = MemoryTimeline(cut.trace)
    for key, compute in SPAN_METRICS.items():
        for nodeid, value in zip(owners, compute(span_cut, memory), strict=True):
            samples[nodeid, MAIN][key] = ((float(value),),)
    span_places: Places = {(nodeid, MAIN): {0: [n]} for n, nodeid in enumerate(owners)}
    table = peak_allocations(span_cut, memory)
    parts["allocations"] = _parts(table, span_places, naming, "allocations")


def _parts(
    table: pd.DataFrame, places: Places, naming: Naming, kind: Breakdown
) -> dict[tuple[str, str], Parts]:
    """Per place, the breakdown of a round: for each label, medians over all its rounds."""
    where = {
        number: (place, round_)
        for place, rounds in places.items()
        for round_, numbers in rounds.items()
        for number in numbers
    }
    sums: dict[tuple[str, str], dict[str, dict[int, tuple[float, float, float]]]] = {}
    raws: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(dict)
    for window, label, raw, count, ns, size in table.itertuples(index=False):
        if window not in where:
            continue
        place, round_ = where[window]
        by_round = sums.setdefault(place, {}).setdefault(label, {})
        before = by_round.get(round_, (0.0, 0.0, 0.0))
        by_round[round_] = (before[0] + count, before[1] + ns, before[2] + size)
        raws[place].setdefault(label, set()).add(raw)
    found = {}
    for place, by_label in sums.items():
        parts = []
        for label, by_round in by_label.items():
            names = raws[place][label]
            count, ns, size = _medians(by_round, len(places[place]))
            kernel_category = naming.category(min(names)) if kind == "kernels" else ""
            parts.append(
                Part(label, count, ns, size, kernel_category, tuple(sorted(names - {label})))
            )
        found[place] = Parts(tuple(sorted(parts, key=largest_first)))
    return found


def _medians(
    by_round: Mapping[int, tuple[float, float, float]], rounds: int
) -> tuple[float, float, float]:
    """Medians over all rounds; a round without the label counts as zero."""
    padded = [*by_round.values(), *[(0.0, 0.0, 0.0)] * (rounds - len(by_round))]
    count, ns, size = (float(statistics.median(column)) for column in zip(*padded, strict=True))
    return count, ns, size


def _median_units(units: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Per unit, singular, the median over the rounds that declared it."""
    found: dict[str, list[float]] = defaultdict(list)
    for declared in units:
        for name, count in declared.items():
            found[re.sub(r"s$", "", name)].append(count)
    return {name: statistics.median(counts) for name, counts in found.items()}


def _gpus(cut: Cut, places: Places) -> dict[str, frozenset[int]]:
    used: dict[int, set[int]] = defaultdict(set)
    for members, table in (
        (cut.kernels, cut.trace.kernels),
        (cut.copies, cut.trace.copies),
        (cut.memsets, cut.trace.memsets),
    ):
        devices = table["device"].to_numpy()[members.row]
        pairs = pd.DataFrame({"window": members.window, "device": devices}).drop_duplicates()
        for window, device in pairs.itertuples(index=False):
            used[int(window)].add(int(device))
    by_test: dict[str, set[int]] = {nodeid: set() for nodeid, _ in places}
    for (nodeid, _), rounds in places.items():
        for numbers in rounds.values():
            by_test[nodeid].update(*(used[number] for number in numbers))
    return {nodeid: frozenset(devices) for nodeid, devices in by_test.items()}
