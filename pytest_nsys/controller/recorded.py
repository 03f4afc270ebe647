"""The tests of a recording as tests of pytest, without their modules: what ``pytest-nsys judge``
collects. All the rest of such a run is that of a replay."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.errors import NeedsPytest, NsysError, RecordingError
from pytest_nsys.plan.kept import KeptMarks, judging_hooks, marks_of
from pytest_nsys.storage.recordings.recording import INDEX, RecordedTest, read_recording
from pytest_nsys.support.text import fit_to_print

UNDECIDED = pytest.StashKey[Mapping[str, NsysError]]()
"""By node id, why a test of the recording cannot be judged in this run."""

COMMAND = pytest.StashKey[str]()
"""How the run was started, where that was not ``pytest``."""

Location = tuple[str, "int | None", str]


class RecordedItem(pytest.Item):
    """A test that ran once."""

    def __init__(self, *, recorded: Location, **options: Any) -> None:
        super().__init__(**options)
        self._recorded = recorded

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where the test was when it was recorded."""
        path, line, domain = self._recorded
        return self.config.rootpath / path, line, domain

    def runtest(self) -> None:
        """It never runs again."""
        raise NotImplementedError


class RecordedTests:
    """Collects the tests of a recording instead of those in files."""

    def __init__(self, folder: Path, command: str) -> None:
        """Args:
        folder: the recording.
        command: how the run was started.

        Raises:
            RecordingError: it holds none, or does not know how its tests are to be judged.
        """
        self._folder = folder
        self._command = command
        self.recording = read_recording(folder)
        if not self.recording.tests:
            raise RecordingError(
                f"{folder} is a recording without tests",
                remedy="record a run of tests with --nsys-record",
            )
        missing = [test.nodeid for test in self.recording.tests if test.nodeid not in self._marks]
        if missing:
            raise RecordingError(
                f"{folder / INDEX} does not say how its tests are to be judged",
                evidence=f"no marks of {missing[0]}; recordings have them from 0.1.0 on",
                remedy="record the run again, or judge it with pytest and the test modules: "
                f"pytest --nsys-baseline --nsys-replay={folder}",
            )

    @property
    def _marks(self) -> Mapping[str, KeptMarks]:
        return self.recording.marks

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Refuse what only the project's own code can measure."""
        config.stash[COMMAND] = self._command
        config.stash[UNDECIDED] = {
            nodeid: _undecided(self._folder, marks.code)
            for nodeid, marks in self._marks.items()
            if marks.code
        }
        missing = sorted({*self.recording.hooks} - {*judging_hooks(config)})
        if missing:
            raise pytest.UsageError(
                fit_to_print(
                    NeedsPytest(
                        f"the tests of {self._folder} were measured with hooks of their project",
                        evidence=", ".join(missing),
                        remedy="name the plugin that has them with -p, or judge it with pytest and "
                        f"the project's code: pytest --nsys-baseline --nsys-replay={self._folder}",
                    )
                )
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect, as pytest does when it has found the tests."""
        session.items = [*self._items(session)]
        session.testscollected = len(session.items)
        hook = session.config.hook
        report = pytest.CollectReport(session.nodeid, "passed", None, [*session.items])
        hook.pytest_collectreport(report=report)
        hook.pytest_collection_modifyitems(
            session=session, config=session.config, items=session.items
        )
        hook.pytest_collection_finish(session=session)
        return True

    def _items(self, session: pytest.Session) -> Iterator[RecordedItem]:
        for test in {test.nodeid: test for test in self.recording.tests}.values():
            item: RecordedItem = RecordedItem.from_parent(
                session,
                name=test.nodeid.rpartition("::")[2],
                nodeid=test.nodeid,
                recorded=_location(test),
            )
            for mark in marks_of(self._marks[test.nodeid]):
                item.add_marker(mark)
            yield item


def _location(test: RecordedTest) -> Location:
    """Where the test was, as its reports say it; they have been read already, or will be."""
    for report in test.reports:
        found = report.get("location")
        if isinstance(found, (list, tuple)) and len(found) == 3:
            path, line, domain = found
            return str(path), line if isinstance(line, int) else None, str(domain)
    path, _, domain = test.nodeid.partition("::")
    return path, None, domain


def _undecided(folder: Path, code: tuple[str, ...]) -> NsysError:
    named = ", ".join(f"{name}=" for name in code)
    return NeedsPytest(
        f"it is not judged: {named} of its marker is code, which a recording does not keep",
        remedy="judge it with pytest and the test modules: "
        f"pytest --nsys-baseline --nsys-replay={folder}",
    )
