"""Processes of one test put together: what several worker processes measured as one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_nsys.errors import RecordingError
from pytest_nsys.measure.launched import of_processes
from pytest_nsys.measure.measurement import (
    Environment,
    Measurement,
    Part,
    Parts,
    WindowMeasurement,
    largest_first,
)
from pytest_nsys.support.text import listed

_SHOWN = 3


def join_processes(measurements: Sequence[Measurement]) -> Measurement:
    """All processes as one measurement, in their order; plan, environment, timeline of the first,
    and the GPUs of all.

    Samples stand side by side. A breakdown's line has the median of the processes, in which a
    process without it counts as none; a line that most processes lack is kept, because the test may
    forbid it.
    """
    first = measurements[0]
    if len(measurements) == 1:
        return first
    names = dict.fromkeys(name for one in measurements for name in one.windows)
    gpus = dict.fromkeys(gpu for one in measurements for gpu in one.environment.gpu_digests)
    return replace(
        first,
        environment=replace(first.environment, gpu_digests=tuple(gpus)),
        windows={
            name: _join_windows([one.windows[name] for one in measurements if name in one.windows])
            for name in names
        },
        remarks=tuple(dict.fromkeys(text for one in measurements for text in one.remarks)),
        leftovers="; ".join(dict.fromkeys(one.leftovers for one in measurements if one.leftovers)),
        unlocked=next((one.unlocked for one in measurements if one.unlocked), ""),
        warnings=tuple(dict.fromkeys(text for one in measurements for text in one.warnings)),
        recordings=tuple(dict.fromkeys(name for one in measurements for name in one.recordings)),
    )


def join_recorded(measurements: Sequence[Measurement]) -> Measurement:
    """The same of processes on one device that may be of several recordings, if those are alike.

    What they are measured with beside that, such as the driver, may differ, and is told.

    Raises:
        RecordingError: they measured something else: on another GPU, otherwise, of other code.
    """
    joined = join_processes(measurements)
    if len(joined.recordings) < 2:
        return joined
    first, *others = {one.recordings: one for one in reversed(measurements)}.values()
    for other in others:
        for what, mine in _alike(first).items():
            if mine != _alike(other)[what]:
                raise RecordingError(
                    f"its processes cannot be put together: they differ in {what}",
                    evidence=f"{', '.join(first.recordings)}: {mine or 'none'}\n"
                    f"{', '.join(other.recordings)}: {_alike(other)[what] or 'none'}",
                    remedy="judge each of these recordings by itself, or record the test alike",
                )
        if (ours := _kernels(first)) and (theirs := _kernels(other)) and not ours & theirs:
            raise RecordingError(
                "its processes cannot be put together: they have no kernel in common",
                evidence=f"{', '.join(first.recordings)}: {listed(sorted(ours), _SHOWN)}\n"
                f"{', '.join(other.recordings)}: {listed(sorted(theirs), _SHOWN)}",
                remedy="where they are of two projects, judge each of these recordings by itself",
            )
    versions = [_versions(one.environment) for one in (first, *others)]
    names = dict.fromkeys(name for one in versions for name in one)
    differ = [name for name in names if len({one.get(name) for one in versions}) > 1]
    if not differ:
        return joined
    remark = f"its processes are of several recordings, which differ in {', '.join(differ)}"
    return replace(joined, remarks=(*joined.remarks, remark))


def _alike(one: Measurement) -> Mapping[str, str]:
    """What processes have to have in common: what they were measured on, and how."""
    return {
        "the GPU": one.environment.gpu,
        "the options of nsys": " ".join(one.environment.trace),
        "how the server is started": " ".join(one.environment.server),
        "the number of calls before the measured ones": str(one.warmup),
        "whether the L2 cache was emptied": "emptied" if one.cold_l2 else "",
    }


def _kernels(one: Measurement) -> set[str]:
    """Names of its kernels, in all windows."""
    return {part.label for window in one.windows.values() for part in window.kernels}


def _versions(of: Environment) -> Mapping[str, str]:
    """What they may differ in."""
    uncommitted = of.commit.partition("+")[2]
    own = {
        "driver": of.driver,
        "CUDA": of.cuda,
        "nsys": of.nsys,
        "uncommitted changes": uncommitted,
    }
    return {**own, **of.versions}


def join_captures(measurements: Sequence[Measurement]) -> Measurement:
    """One measurement of one process whose windows lie in several captures; the first one's plan
    and environment."""
    first = measurements[0]
    if len(measurements) == 1:
        return first
    return replace(
        first,
        windows={name: window for one in measurements for name, window in one.windows.items()},
        remarks=tuple(dict.fromkeys(text for one in measurements for text in one.remarks)),
        leftovers="; ".join(dict.fromkeys(one.leftovers for one in measurements if one.leftovers)),
        warnings=tuple(dict.fromkeys(text for one in measurements for text in one.warnings)),
        bottlenecks=tuple(found for one in measurements for found in one.bottlenecks),
        timeline=next((one.timeline for one in measurements if one.timeline is not None), None),
    )


def _join_windows(windows: Sequence[WindowMeasurement]) -> WindowMeasurement:
    keys = dict.fromkeys(key for window in windows for key in window.samples)
    units = dict.fromkeys(unit for window in windows for unit in window.units)
    kinds = dict.fromkeys(kind for window in windows for kind in window.breakdown)
    return WindowMeasurement(
        name=windows[0].name,
        samples={
            key: tuple(process for window in windows for process in window.samples.get(key, ()))
            for key in keys
        },
        units={
            unit: statistics.median(w.units[unit] for w in windows if unit in w.units)
            for unit in units
        },
        breakdown={
            kind: _join_parts([window.breakdown.get(kind, Parts()) for window in windows])
            for kind in kinds
        },
        precision=next((window.precision for window in windows if window.precision), ""),
    )


def _join_parts(breakdowns: Sequence[Parts]) -> Parts:
    by_label: dict[str, list[Part]] = {}
    for parts in breakdowns:
        for part in parts:
            by_label.setdefault(part.label, []).append(part)
    absent = {label: [0.0] * (len(breakdowns) - len(p)) for label, p in by_label.items()}
    joined = [
        Part(
            label,
            count=statistics.median([*(part.count for part in parts), *absent[label]]),
            ns=statistics.median([*(part.ns for part in parts), *absent[label]]),
            bytes=statistics.median([*(part.bytes for part in parts), *absent[label]]),
            category=parts[0].category,
            raw=tuple(dict.fromkeys(name for part in parts for name in part.raw)),
            launched=of_processes([part.launched for part in parts], len(breakdowns)),
        )
        for label, parts in by_label.items()
    ]
    return Parts(tuple(sorted(joined, key=largest_first)))
