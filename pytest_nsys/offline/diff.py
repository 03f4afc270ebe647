"""Comparing two stored captures, or two recordings test by test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import NotACapture
from pytest_nsys.insights.bottlenecks import diagnose, diagnose_rounds
from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.insights.timeline.build import timeline_of
from pytest_nsys.measure.measurement import Environment, Measurement
from pytest_nsys.measure.processes import join_captures, join_processes
from pytest_nsys.measure.windows import measure, measure_cut
from pytest_nsys.metrics.unified import records_unified_memory
from pytest_nsys.plan.marker import Spec
from pytest_nsys.storage.recordings.recording import load_capture, read_recording
from pytest_nsys.storage.recordings.replay import ran_test
from pytest_nsys.storage.recordings.stored import has_tests, load_stored
from pytest_nsys.support.units import Tolerance
from pytest_nsys.trace import Trace
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.windows.cut import Cut, cut_named, whole
from pytest_nsys.windows.record import MAIN


@dataclass(frozen=True)
class Compared:
    """What the comparison of two stored captures says.

    Attributes:
        verdicts: on the tests of both, or on the captures as a whole.
        only_before: tests that only the older recording measured.
        only_after: tests that only the newer recording measured.
    """

    verdicts: tuple[Verdict, ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()


def compare_stored(
    before: Path,
    after: Path,
    *,
    range_name: str | None = None,
    tolerance: Mapping[str, Tolerance] | None = None,
    executable: str | None = None,
    in_full: bool = False,
) -> Compared:
    """``after`` judged with ``before`` as its baseline.

    Two recordings of tests are compared test by test; anything else, or one NVTX range of anything,
    as whole captures. Timelines and bottlenecks are made only where the comparison is wanted in
    full.

    Raises:
        NsysError: one of them cannot be read, has nothing to compare, or lacks the range.
    """
    extra = tolerance or {}
    if range_name is None and has_tests(before) and has_tests(after):
        then, now = (_recorded(path, extra, in_full) for path in (before, after))
        common = [nodeid for nodeid in now if nodeid in then]
        if not common:
            raise NotACapture(
                "the two recordings have no measured test in common",
                evidence=f"{before}: {len(then)} tests; {after}: {len(now)} tests",
                remedy="record the same tests twice",
            )
    else:
        then, now = (
            {str(after): _captured(path, str(after), range_name, extra, executable, in_full)}
            for path in (before, after)
        )
        common = list(now)
    spec = Spec(warmup=0, rounds=1, timeout_s=1, tolerance=tolerance or {}, allow_empty=True)
    return Compared(
        verdicts=tuple(judge(spec, now[nodeid], then[nodeid], Policy()) for nodeid in common),
        only_before=tuple(sorted(then.keys() - now.keys())),
        only_after=tuple(sorted(now.keys() - then.keys())),
    )


def measured_of(
    path: Path,
    *,
    by_test: bool,
    range_name: str | None = None,
    extra: Collection[str] = (),
    executable: str | None = None,
) -> dict[str, Measurement]:
    """What a stored capture holds: of a recording by test, else as a whole, under the name "".

    Raises:
        NsysError: it cannot be read, holds no work of a GPU, or lacks the range.
    """
    if by_test:
        return _recorded(path, extra)
    return {"": _captured(path, "", range_name, extra, executable)}


def _captured(
    path: Path,
    name: str,
    range_name: str | None,
    extra: Collection[str],
    executable: str | None,
    in_full: bool = False,
) -> Measurement:
    trace = load_stored(path, executable)
    if not trace.has_cuda_activity:
        raise NotACapture(f"{path} holds no CUDA activity", remedy="compare captures of GPU work")
    cut = whole(trace) if range_name is None else cut_named(trace, range_name)
    return Measurement(
        nodeid=name,
        device="",
        warmup=0,
        rounds=1,
        windows={MAIN: measure_cut(cut, MAIN, extra=extra)},
        environment=_environment(trace),
        timeline=_timeline(cut) if in_full else None,
        bottlenecks=diagnose(cut) if in_full else (),
    )


def _timeline(cut: Cut) -> Timeline:
    """Of the first of the windows: the whole capture, or the first of the ranges."""
    return timeline_of(cut.trace, int(cut.starts[0]), int(cut.ends[0]))


def _recorded(
    folder: Path, extra: Collection[str], in_full: bool = False
) -> dict[str, Measurement]:
    recording = read_recording(folder)
    found_of: dict[int, list[Measurement]] = {}  # by the place of the test's process
    for number, capture in enumerate(recording.captures):
        places = {
            test.nodeid: place
            for place, test in enumerate(recording.tests)
            if number in test.captures and ran_test(test).passed and not test.problem
        }
        tests = {nodeid: recording.tests[place] for nodeid, place in places.items()}
        trace = load_capture(folder, capture)
        records = [record for record in capture.windows if record.nodeid in tests]
        unified = records_unified_memory(capture.options)
        windows = measure(trace, records, extra=extra, unified=unified, timelines=in_full)
        bottlenecks = diagnose_rounds(trace, records, windows.keys()) if in_full else {}
        for nodeid, found in windows.items():
            measurement = Measurement(
                nodeid=nodeid,
                device="",
                warmup=tests[nodeid].warmup,
                rounds=tests[nodeid].rounds,
                windows=found.windows,
                environment=_environment(trace, capture.options),
                timeline=found.timeline,
                bottlenecks=bottlenecks.get(nodeid, ()),
            )
            found_of.setdefault(places[nodeid], []).append(measurement)
    processes: dict[str, list[Measurement]] = {}
    for measured in found_of.values():
        joined = join_captures(measured)
        processes.setdefault(joined.nodeid, []).append(joined)
    return {nodeid: join_processes(measured) for nodeid, measured in processes.items()}


def _environment(trace: Trace, options: tuple[str, ...] = ()) -> Environment:
    return Environment(
        gpu=", ".join(dict.fromkeys(gpu.name for gpu in trace.gpus)),
        driver=trace.driver,
        cuda=trace.cuda,
        nsys=trace.nsys,
        trace=options,
    )
