"""The tests of recordings as tests of pytest, without their modules: what ``pytest-nsys judge``
collects. All the rest of such a run is that of a replay."""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_nsys.errors import NeedsPytest, NsysError, RecordingError
from pytest_nsys.plan.kept import judging_hooks, marks_of
from pytest_nsys.plan.options import OPTIONS
from pytest_nsys.storage.recordings.recording import (
    INDEX,
    RecordedTest,
    Recording,
    read_recording,
)
from pytest_nsys.support.text import fit_to_print, one_line, visible

UNDECIDED = pytest.StashKey[Mapping[str, NsysError]]()
"""By node id, why a test of the recording cannot be judged in this run."""

COMMAND = pytest.StashKey[str]()
"""How the run was started, where that was not ``pytest``."""

T = TypeVar("T")

_SHOWN = 3
_LONGEST = 200

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
    """Collects the tests of recordings instead of those in files."""

    def __init__(
        self, folders: Sequence[Path], command: str, given: Container[str] = frozenset()
    ) -> None:
        """Args:
        folders: the recordings.
        command: how the run was started.
        given: the options that it was given, whatever the recordings say.

        Raises:
            RecordingError: one is none, or does not know how its tests are to be judged, or they
                are to be judged in several ways.
        """
        self._folders = folders
        self._command = command
        recordings = {folder: read_recording(folder) for folder in folders}
        shown = ", ".join(map(str, folders[:_SHOWN])) + ", ..." * (len(folders) > _SHOWN)
        self._replay = "pytest --nsys-baseline " + " ".join(
            f"--nsys-replay={shlex.quote(str(folder))}" for folder in folders[:_SHOWN]
        )
        self._shown = shown
        for folder, recording in recordings.items():
            _check_marks(folder, recording, self._replay)
            _check_options(folder, recording)
        self._marks = _joined(
            {folder: one.marks for folder, one in recordings.items()}, "the marks of {}"
        )
        names = {name for one in recordings.values() for name in one.options if name not in given}
        options = _joined(
            {
                folder: {name: one.options.get(name) for name in sorted(names)}
                for folder, one in recordings.items()
            },
            "the option {}",
        )
        self.options = {name: value for name, value in options.items() if value is not None}
        self._hooks = {hook for one in recordings.values() for hook in one.hooks}
        self._tests = {test.nodeid: test for one in recordings.values() for test in one.tests}
        if not self._tests:
            raise RecordingError(
                f"{shown} is a recording without tests"
                if len(folders) == 1
                else f"{shown} are recordings without tests",
                remedy="record a run of tests with --nsys-record",
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Refuse what only the project's own code can measure."""
        config.stash[COMMAND] = self._command
        config.stash[UNDECIDED] = {
            nodeid: _undecided(self._replay, marks.code)
            for nodeid, marks in self._marks.items()
            if marks.code
        }
        missing = sorted(self._hooks - {*judging_hooks(config)})
        if missing:
            raise pytest.UsageError(
                fit_to_print(
                    NeedsPytest(
                        f"the tests of {self._shown} were measured with hooks of their project",
                        evidence=", ".join(missing),
                        remedy="name the plugin that has them with -p, or judge it with pytest and "
                        f"the project's code: {self._replay}",
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
        for nodeid, marks in self._marks.items():
            item: RecordedItem = RecordedItem.from_parent(
                session,
                name=nodeid.rpartition("::")[2],
                nodeid=nodeid,
                recorded=_location(nodeid, self._tests.get(nodeid)),
            )
            for mark in marks_of(marks):
                item.add_marker(mark)
            yield item


def _check_marks(folder: Path, recording: Recording, replay: str) -> None:
    unfit = next(filter(_is_no_name, recording.marks), None)
    if unfit is not None:
        raise RecordingError(
            f"{folder / INDEX} names a test by what is no name",
            evidence=ascii(unfit)[:_LONGEST],
            remedy=f"do not use this recording, or judge it with the test modules: {replay}",
        )
    missing = [test.nodeid for test in recording.tests if test.nodeid not in recording.marks]
    if missing:
        raise RecordingError(
            f"{folder / INDEX} does not say how its tests are to be judged",
            evidence=f"no marks of {missing[0]}; recordings have them from 0.1.0 on",
            remedy=f"record the run again, or judge it with pytest and the test modules: {replay}",
        )


def _is_no_name(nodeid: str) -> bool:
    """Whether a terminal, or the log of a CI, would act on it: pytest prints it as it is."""
    acts = any(unicodedata.category(one) in ("Cc", "Cs") for one in nodeid)
    return acts or one_line(nodeid) != visible(nodeid)


_RULES = frozenset(option.name for option in OPTIONS if option.judging == "rule")


def _check_options(folder: Path, recording: Recording) -> None:
    """Let a file from elsewhere say how to judge, and nothing else that pytest could be told."""
    others = sorted({*recording.options} - _RULES)
    if others:
        raise RecordingError(
            f"{folder / INDEX} has options that do not say how to judge",
            evidence=", ".join(others)[:_LONGEST],
            remedy="do not use this recording; or upgrade pytest-nsys, if a newer one wrote it",
        )


def _joined(said: Mapping[Path, Mapping[str, T]], what: str) -> dict[str, T]:
    """What all recordings say together.

    Raises:
        RecordingError: some contradict each other.
    """
    found: dict[str, tuple[Path, T]] = {}
    for folder, values in said.items():
        for name, value in values.items():
            other, first = found.setdefault(name, (folder, value))
            if value != first:
                raise RecordingError(
                    f"{other} and {folder} contradict each other in how to judge",
                    evidence=f"{what.format(name)}: {first} there, {value} here",
                    remedy="judge each by itself, or with pytest and the test modules",
                )
    return {name: value for name, (_, value) in found.items()}


def _location(nodeid: str, test: RecordedTest | None) -> Location:
    """Where the test was, as its reports say it; they have been read already, or will be."""
    for report in test.reports if test is not None else ():
        found = report.get("location")
        if isinstance(found, (list, tuple)) and len(found) == 3:
            path, line, domain = found
            return str(path), line if isinstance(line, int) else None, str(domain)
    path, _, domain = nodeid.partition("::")
    return path, None, domain


def _undecided(replay: str, code: tuple[str, ...]) -> NsysError:
    named = ", ".join(f"{name}=" for name in code)
    return NeedsPytest(
        f"it is not judged: {named} of its marker is code, which a recording does not keep",
        remedy=f"judge it with pytest and the test modules: {replay}",
    )
