"""Replaying: the results of a recording, as if its captures had just been made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pytest_nsys.capture.cupti.unknown import UNKNOWN
from pytest_nsys.capture.result import CUPTI, CaptureResult, RanTest, missing_phase
from pytest_nsys.errors import NsysError, RecordingError
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.storage.recordings.recording import (
    INDEX,
    RecordedTest,
    Recording,
    load_capture,
    read_recording,
)
from pytest_nsys.storage.recordings.reports import read_kept_report
from pytest_nsys.storage.recordings.together import check_together, gaps, note_of_several
from pytest_nsys.support.text import listed

_NAMED = 3


class Replay:
    """Answers for a live capture from recordings, as if they were one."""

    def __init__(
        self, folders: Mapping[str, Path], undecided: Mapping[str, NsysError] = {}
    ) -> None:
        """Args:
        folders: the recordings, by what reports call them.
        undecided: by node id, why a test that passed cannot be judged.

        Raises:
            RecordingError: a folder holds none, or one that is damaged or newer, or they do not
                belong together.
        """
        self._folders = folders
        self._undecided = undecided
        self._recordings = {name: read_recording(folder) for name, folder in folders.items()}
        check_together(self._recordings)
        self.note = note_of_several(self._recordings)
        self.gaps = tuple(gaps(self._recordings))
        self._processes = {
            (name, number): tests
            for name, one in self._recordings.items()
            for number, tests in enumerate(by_process(_for_pytest(one, folders[name] / INDEX)))
        }

    @property
    def nodeids(self) -> tuple[str, ...]:
        """The tests that were recorded."""
        tests = (test.nodeid for one in self._recordings.values() for test in one.tests)
        return tuple(dict.fromkeys(tests))

    def check_collected(self, nodeids: Collection[str]) -> None:
        """Refuse another suite than that which was recorded, which would miss test by test.

        Args:
            nodeids: the tests that were collected.

        Raises:
            RecordingError: the recordings have tests, and none in a file of these.
        """
        recorded, collected = (
            sorted({nodeid.partition("::")[0] for nodeid in of}) for of in (self.nodeids, nodeids)
        )
        if recorded and collected and not {*recorded} & {*collected}:
            files = listed(recorded, _NAMED)
            raise RecordingError(
                f"{listed([*self._folders], _NAMED)} has no test of the files that were collected",
                evidence=f"recorded: {files}\ncollected: {listed(collected, _NAMED)}",
                remedy=f"name another recording, or run pytest where {files} is",
            )

    @property
    def confirmations(self) -> int:
        """None: what was measured again when it was recorded is among the processes."""
        return 0

    def planned(self, test: PlannedTest) -> int:
        """One, in which all are that were recorded: so each capture is read once."""
        del test
        return 1

    def expect(self, batch: Batch, processes: int) -> None:
        """There is nothing to be started ahead."""

    def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
        """The recorded results of the batch's tests, one per recorded capture.

        A server test is in several of them, one for each of its windows. What cannot be read is
        the problem of its tests alone.
        """
        del maxfail, process  # the recorded run has ended
        wanted = {test.nodeid for test in batch.tests}
        for (name, number), ran in self._processes.items():
            tests = [test for test in ran if test.nodeid in wanted]
            folder, recording = self._folders[name], self._recordings[name]
            for result in recorded_results(folder, recording, tests, spare=True):
                judged = tuple(map(self._or_undecided, result.tests))
                worker = f"{name} {number}"
                yield replace(result, tests=judged, recording=name, worker=worker)

    def _or_undecided(self, ran: RanTest) -> RanTest:
        why = self._undecided.get(ran.nodeid)
        return replace(ran, problem=why) if why is not None and ran.passed else ran


def by_process(tests: Iterable[RecordedTest]) -> list[list[RecordedTest]]:
    """Recorded tests as they ran in the first process of each, in the second, and so on."""
    found: list[list[RecordedTest]] = []
    times: Counter[str] = Counter()
    for test in tests:
        if times[test.nodeid] == len(found):
            found.append([])
        found[times[test.nodeid]].append(test)
        times[test.nodeid] += 1
    return found


def recorded_results(
    folder: Path, recording: Recording, tests: Iterable[RecordedTest], *, spare: bool = False
) -> Iterator[CaptureResult]:
    """The results of recorded tests, each in one of its processes, one per capture they are in.

    Args:
        folder: of the recording.
        recording: its index.
        tests: those that are wanted.
        spare: whether a capture that cannot be read is the problem of its tests alone.

    Raises:
        NsysError: a capture cannot be read.
    """
    by_capture: dict[int | None, list[RanTest]] = {}
    for test in tests:
        for number in test.captures or (None,):
            by_capture.setdefault(number, []).append(_ran_test(test))
    unknown = UNKNOWN if CUPTI in recording.versions else {}
    for number, ran in by_capture.items():
        capture = None if number is None else recording.captures[number]
        try:
            trace = None if capture is None else load_capture(folder, capture)
            trace = None if trace is None else replace(trace, unknown=unknown)
        except NsysError as error:
            if not spare:
                raise
            trace, ran = None, [replace(one, problem=error) if one.passed else one for one in ran]
        yield CaptureResult(
            tests=tuple(ran),
            trace=trace,
            records=() if capture is None else capture.windows,
            options=() if capture is None else capture.options,
            nsys=recording.nsys,
            date=recording.date,
            versions=recording.versions,
            server=() if capture is None else capture.server,
            commit=recording.commit,
        )


def _for_pytest(recording: Recording, where: Path) -> Iterator[RecordedTest]:
    """The tests with reports that can be handed to pytest, which takes them for its own.

    Raises:
        RecordingError: one of them is not what a recording keeps.
    """
    for test in recording.tests:
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
        yield replace(test, reports=reports)


def _ran_test(test: RecordedTest) -> RanTest:
    return RanTest(
        nodeid=test.nodeid,
        reports=test.reports,
        warmup=test.warmup,
        rounds=test.rounds,
        lost="" if test.problem else _incomplete(test),
        problem=RecordingError(test.problem) if test.problem else None,
    )


def _incomplete(test: RecordedTest) -> str:
    missing = missing_phase(test.reports)
    return f"the recording has no report of its {missing}" if missing else ""
