"""What stored captures measure: a recording test by test, anything else as a whole."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.errors import NotACapture
from pytest_nsys.insights.bottlenecks import diagnose
from pytest_nsys.insights.timeline.build import timeline_of
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.measure.measurer import Measurer, environment_of
from pytest_nsys.measure.processes import join_captures, join_processes
from pytest_nsys.measure.windows import measure_cut
from pytest_nsys.storage.recordings.recording import read_recording
from pytest_nsys.storage.recordings.replay import by_process, recorded_results
from pytest_nsys.storage.recordings.stored import load_stored
from pytest_nsys.windows.cut import cut_named, whole
from pytest_nsys.windows.record import MAIN


def measured_tests(
    folder: Path, extra: Collection[str] = (), *, in_full: bool = False
) -> dict[str, Measurement]:
    """The measured tests of a recording by node id, all their processes together.

    Args:
        folder: the recording.
        extra: parametrised metrics to measure besides the plain ones.
        in_full: whether timelines are made and bottlenecks looked for.

    Raises:
        NsysError: it cannot be read, or windows are missing in its captures.
    """
    recording = read_recording(folder)
    # A device is what baselines are found by, and here there are none.
    measurer = Measurer(device_key=lambda _: "", timelines=in_full, bottlenecks=in_full)
    processes: dict[str, list[Measurement]] = {}
    for tests in by_process(recording.tests):
        captures: dict[str, list[Measurement]] = {}
        for result in recorded_results(folder, recording, tests):
            for nodeid, one in measurer.measure_windows(result, extra).items():
                captures.setdefault(nodeid, []).append(one)
        for nodeid, found in captures.items():
            processes.setdefault(nodeid, []).append(join_captures(found))
    return {nodeid: join_processes(found) for nodeid, found in processes.items()}


def measured_capture(
    path: Path,
    range_name: str | None = None,
    extra: Collection[str] = (),
    executable: str | None = None,
    *,
    in_full: bool = False,
) -> Measurement:
    """A stored capture as a whole, or all instances of one NVTX range of it, as one round.

    Args:
        path: the capture.
        range_name: the text of the range.
        extra: parametrised metrics to measure besides the plain ones.
        executable: the nsys that exports reports.
        in_full: whether a timeline is made, of the first of the ranges, and bottlenecks looked for.

    Raises:
        NsysError: it cannot be read, holds no work of a GPU, or lacks the range.
    """
    trace = load_stored(path, executable)
    if not trace.has_cuda_activity:
        raise NotACapture(f"{path} holds no CUDA activity", remedy="compare captures of GPU work")
    cut = whole(trace) if range_name is None else cut_named(trace, range_name)
    nobody = CaptureResult((), trace, (), (), nsys="", date="", versions={})
    return Measurement(
        nodeid="",
        device="",
        warmup=0,
        rounds=1,
        windows={MAIN: measure_cut(cut, MAIN, extra=extra)},
        environment=environment_of(nobody, trace, (gpu.name for gpu in trace.gpus), ()),
        timeline=timeline_of(trace, int(cut.starts[0]), int(cut.ends[0])) if in_full else None,
        bottlenecks=diagnose(cut) if in_full else (),
    )
