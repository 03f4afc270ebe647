"""Replaying: the results of a recording, as if its captures had just been made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pytest_nsys.capture.result import CaptureResult, RanTest
from pytest_nsys.errors import RecordingError
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.storage.recordings.recording import (
    INDEX,
    RecordedTest,
    load_capture,
    read_recording,
)
from pytest_nsys.storage.recordings.reports import read_kept_report


class Replay:
    """Answers for a live capture from a recording.

    Raises:
        RecordingError: the folder holds none, or one that is damaged or newer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recording = read_recording(folder)
        self._processes: dict[str, list[RecordedTest]] = {}
        for test in self._recording.tests:
            recorded = _for_pytest(test, folder / INDEX)
            self._processes.setdefault(test.nodeid, []).append(recorded)

    @property
    def confirmations(self) -> int:
        """None: what was measured again when it was recorded is among the processes."""
        return 0

    def planned(self, test: PlannedTest) -> int:
        """How many processes of the test were recorded."""
        return len(self._processes.get(test.nodeid, ())) or 1

    def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
        """The recorded results of the batch's tests, one per recorded capture.

        A server test is in several of them, one for each of its windows.
        """
        del maxfail  # the recorded run has ended
        wanted = {test.nodeid for test in batch.tests}
        by_capture: dict[int | None, list[RanTest]] = {}
        for nodeid, processes in self._processes.items():
            if nodeid in wanted and process < len(processes):
                ran = ran_test(processes[process])
                for number in processes[process].captures or (None,):
                    by_capture.setdefault(number, []).append(ran)
        for number, tests in by_capture.items():
            capture = None if number is None else self._recording.captures[number]
            yield CaptureResult(
                tests=tuple(tests),
                trace=None if capture is None else load_capture(self._folder, capture),
                records=() if capture is None else capture.windows,
                options=() if capture is None else capture.options,
                nsys=self._recording.nsys,
                date=self._recording.date,
                versions=self._recording.versions,
            )


def _for_pytest(test: RecordedTest, where: Path) -> RecordedTest:
    """The test with reports that can be handed to pytest, which takes them for its own.

    Raises:
        RecordingError: one of them is not what a recording keeps.
    """
    try:
        reports = tuple(map(read_kept_report, test.reports))
        for report in reports:
            if report["nodeid"] != test.nodeid:
                raise ValueError(f"it is of {report['nodeid'][:80]!r}")
    except ValueError as error:
        raise RecordingError(
            f"{where} is damaged",
            evidence=f"a report of {test.nodeid[:80]}: {error}",
            remedy="record the run again, or restore the folder",
        ) from None
    return replace(test, reports=reports)


def ran_test(test: RecordedTest) -> RanTest:
    """How a recorded test ended."""
    return RanTest(
        nodeid=test.nodeid,
        reports=test.reports,
        warmup=test.warmup,
        rounds=test.rounds,
        problem=RecordingError(test.problem) if test.problem else None,
    )
