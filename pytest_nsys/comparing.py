"""Comparing two stored captures, or two recordings test by test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.config.marker import Spec
from pytest_nsys.cut import cut_named, whole
from pytest_nsys.errors import NotACapture
from pytest_nsys.gate.judge import Policy, judge
from pytest_nsys.gate.verdict import Verdict
from pytest_nsys.measure import measure, measure_cut
from pytest_nsys.measurement import Environment, Measurement
from pytest_nsys.metrics.unified import records_unified_memory
from pytest_nsys.quantities import Tolerance
from pytest_nsys.recording import load_capture, read_recording
from pytest_nsys.replay import ran_test
from pytest_nsys.sessions import join_sessions
from pytest_nsys.stored import is_recording, load_stored
from pytest_nsys.trace import Trace
from pytest_nsys.windows import MAIN


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
) -> Compared:
    """``after`` judged with ``before`` as its baseline.

    Two recordings are compared test by test; anything else, or one NVTX range of anything, as
    whole captures.

    Raises:
        NsysError: one of them cannot be read, has nothing to compare, or lacks the range.
    """
    if is_recording(before) and is_recording(after) and range_name is None:
        then, now = (_recorded(path, tolerance or {}) for path in (before, after))
        common = [nodeid for nodeid in now if nodeid in then]
        if not common:
            raise NotACapture(
                "the two recordings have no measured test in common",
                evidence=f"{before}: {len(then)} tests; {after}: {len(now)} tests",
                remedy="record the same tests twice",
            )
    else:
        then, now = (
            {str(after): _captured(path, str(after), range_name, tolerance or {}, executable)}
            for path in (before, after)
        )
        common = list(now)
    spec = Spec(warmup=0, rounds=1, timeout_s=1, tolerance=tolerance or {}, allow_empty=True)
    return Compared(
        verdicts=tuple(judge(spec, now[nodeid], then[nodeid], Policy()) for nodeid in common),
        only_before=tuple(sorted(then.keys() - now.keys())),
        only_after=tuple(sorted(now.keys() - then.keys())),
    )


def _captured(
    path: Path,
    name: str,
    range_name: str | None,
    extra: Collection[str],
    executable: str | None,
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
    )


def _recorded(folder: Path, extra: Collection[str]) -> dict[str, Measurement]:
    recording = read_recording(folder)
    sessions: dict[str, list[Measurement]] = {}
    for number, capture in enumerate(recording.captures):
        tests = {
            test.nodeid: test
            for test in recording.tests
            if test.capture == number and ran_test(test).passed and not test.problem
        }
        trace = load_capture(folder, capture)
        records = [record for record in capture.records if record.nodeid in tests]
        unified = records_unified_memory(capture.options)
        windows = measure(trace, records, extra=extra, unified=unified)
        for nodeid, found in windows.items():
            measurement = Measurement(
                nodeid=nodeid,
                device="",
                warmup=tests[nodeid].warmup,
                rounds=tests[nodeid].rounds,
                windows=found.windows,
                environment=_environment(trace, capture.options),
            )
            sessions.setdefault(nodeid, []).append(measurement)
    return {nodeid: join_sessions(measured) for nodeid, measured in sessions.items()}


def _environment(trace: Trace, options: tuple[str, ...] = ()) -> Environment:
    return Environment(
        gpu=", ".join(dict.fromkeys(gpu.name for gpu in trace.gpus)),
        driver=trace.driver,
        cuda=trace.cuda,
        nsys=trace.nsys,
        trace=options,
    )
