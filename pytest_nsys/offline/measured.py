"""What stored captures measure: a recording test by test, anything else as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.errors import NotACapture
from pytest_nsys.insights.timeline.build import timeline_of
from pytest_nsys.insights.timeline.model import Timeline
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.measure.measurer import Measurer, environment_of
from pytest_nsys.measure.processes import join_captures, join_processes
from pytest_nsys.measure.windows import measure_cut
from pytest_nsys.offline.selected import diagnose_selected
from pytest_nsys.storage.recordings.recording import read_recording
from pytest_nsys.storage.recordings.replay import by_process, recorded_results
from pytest_nsys.storage.recordings.stored import has_tests, load_stored
from pytest_nsys.trace.tables import unknown_lines
from pytest_nsys.windows.cut import Cut
from pytest_nsys.windows.ranges import EVERYTHING, Selection, is_named, select
from pytest_nsys.windows.record import MAIN


def measured_tests(
    folder: Path, extra: Collection[str] = (), *, in_full: bool = False, timelines: bool = True
) -> dict[str, Measurement]:
    """The measured tests of a recording by node id, all their processes together.

    Args:
        folder: the recording.
        extra: parametrised metrics to measure besides the plain ones.
        in_full: whether timelines are made and bottlenecks looked for.
        timelines: False for bottlenecks alone.

    Raises:
        NsysError: it cannot be read, or windows are missing in its captures.
    """
    recording = read_recording(folder)
    # A device is what baselines are found by, and here there are none.
    measurer = Measurer(
        device_key=lambda _: "", timelines=in_full and timelines, bottlenecks=in_full
    )
    processes: dict[str, list[Measurement]] = {}
    for tests in by_process(recording.tests):
        captures: dict[str, list[Measurement]] = {}
        for result in recorded_results(folder, recording, tests):
            for nodeid, one in measurer.measure_windows(result, extra).items():
                captures.setdefault(nodeid, []).append(one)
        for nodeid, found in captures.items():
            processes.setdefault(nodeid, []).append(join_captures(found))
    return {nodeid: join_processes(found) for nodeid, found in processes.items()}


def kept_parameters(folder: Path) -> dict[str, Mapping[str, str]]:
    """The parameters of a recording's tests by node id, as far as it keeps them.

    Raises:
        RecordingError: it cannot be read.
    """
    return {nodeid: marks.parameters for nodeid, marks in read_recording(folder).marks.items()}


def named_windows(folder: Path, selection: Selection) -> set[str]:
    """The windows of a recording's tests that a selection names: those of ``nsys.range`` and of
    servers. Empty where it selects something else, or is of no recording of tests.

    Raises:
        RecordingError: it cannot be read.
        NotACapture: it has several captures, so that only a window can be meant, and no such one.
    """
    pattern = selection.range
    if pattern is None or selection.skip or selection.process or not has_tests(folder):
        return set()
    captures = read_recording(folder).captures
    names = window_names(folder)
    found = {name for name in names if is_named(name, pattern)}
    if not found and len(captures) > 1:
        close = get_close_matches(pattern, names, n=1)
        raise NotACapture(
            f"{folder} has no window {pattern!r:.80}",
            evidence=f"windows: {', '.join(sorted(names)) or 'none'}",
            remedy=f"did you mean {close[0]!r}?"
            if close
            else "name one of these, or a capture of it, such as "
            f"{folder / captures[0].file}, with its NVTX ranges",
        )
    return found


def window_names(folder: Path) -> set[str]:
    """The windows of a recording's tests, beside those of whole tests.

    Raises:
        RecordingError: it cannot be read.
    """
    captures = read_recording(folder).captures
    names = {one.name for capture in captures for one in capture.windows if one.round >= 0}
    return names - {MAIN}


def beside_windows(path: Path, selection: Selection) -> Selection:
    """A selection of a capture as a whole that knows of the windows which could be meant.

    Raises:
        RecordingError: it is a recording that cannot be read.
    """
    if selection.range is None or not has_tests(path):
        return selection
    return replace(selection, windows=(*sorted(window_names(path)),))


def measured_capture(
    path: Path,
    selection: Selection = EVERYTHING,
    extra: Collection[str] = (),
    executable: str | None = None,
    *,
    in_full: bool = False,
) -> Measurement:
    """A stored capture as a whole, as one round; or each instance of NVTX ranges of it as one.

    Args:
        path: the capture.
        selection: what of it.
        extra: parametrised metrics to measure besides the plain ones.
        executable: the nsys that exports reports.
        in_full: whether a timeline is made, of the instance whose kernel time is the median, and
            bottlenecks looked for.

    Raises:
        NsysError: it cannot be read, holds no work of a GPU, or lacks the range.
    """
    selection = beside_windows(path, selection)
    trace = load_stored(path, executable)
    if not trace.has_cuda_activity:
        raise NotACapture(f"{path} holds no CUDA activity", remedy="compare captures of GPU work")
    cut = select(trace, selection)
    each = selection.range is not None
    nobody = CaptureResult((), trace, (), (), nsys="", date="", versions={})
    return Measurement(
        nodeid="",
        device="",
        warmup=0,
        rounds=len(cut),
        windows={MAIN: measure_cut(cut, MAIN, extra=extra, each=each)},
        environment=environment_of(nobody, trace, (gpu.name for gpu in trace.gpus), ()),
        timeline=_timeline(cut) if in_full and trace.knows("gpu.busy") else None,
        bottlenecks=tuple(diagnose_selected(trace, selection)) if in_full else (),
        remarks=unknown_lines(trace.unknown),
    )


def _timeline(cut: Cut) -> Timeline:
    """That of the window whose kernel time is the median one, the first of equals."""
    times = cut.times(cut.kernel_names).tolist()
    middle = sorted(range(len(cut)), key=times.__getitem__)[(len(cut) - 1) // 2]
    return timeline_of(cut.trace, int(cut.starts[middle]), int(cut.ends[middle]))
