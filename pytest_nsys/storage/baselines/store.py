"""The folder of baselines: reading, and writing under a lock, each file in one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import BaselineDamaged, BaselineError
from pytest_nsys.insights.timeline import Timeline, document
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.storage.baselines.document import parse, recording_digest, render
from pytest_nsys.storage.baselines.location import baseline_path, check_folder
from pytest_nsys.support.files import (
    locked_folder,
    read_limited,
    replace_bytes,
    replace_text,
    writing,
)
from pytest_nsys.support.patterns import matches

_LOCK_DEADLINE_S = 60.0
LARGEST = 16 * 2**20
"""Bytes of a baseline; no file that is larger is read."""

TIMELINE = ".timeline.json.gz"
"""How the file of a timeline ends."""


@dataclass(frozen=True)
class Change:
    """A baseline that was written.

    Attributes:
        path: the file, from the folder in which that of the baselines is: reports show it, and
            nothing of where the project lies is in them.
        before: what it held; None if it is new.
        after: what it holds.
    """

    path: Path
    before: Measurement | None
    after: Measurement


def unreadable(path: Path, error: Exception) -> BaselineError:
    """That a file of the folder cannot be read."""
    return BaselineError(f"{path} cannot be read", evidence=str(error), remedy="see to the file")


def read_baseline(path: Path) -> Measurement | None:
    """The baseline in a file, wherever that is; None if there is none.

    Raises:
        BaselineDamaged: the file cannot be understood; it is left alone.
        BaselineError: it cannot be read.
    """
    try:
        text = read_limited(path, LARGEST).decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None
    return parse(text, str(path))


class BaselineStore:
    """Baselines in a folder, by device and test."""

    def __init__(
        self, root: Path, *, timelines: bool = True, lock_deadline_s: float = _LOCK_DEADLINE_S
    ) -> None:
        """Args:
        root: the folder.
        timelines: whether timelines are written, where measurements have one.
        lock_deadline_s: how long to wait for another run.
        """
        self.root = root
        self._timelines = timelines
        self._lock_deadline_s = lock_deadline_s

    def path(self, device: str, nodeid: str) -> Path:
        """The file of a test's baseline."""
        return self.root / baseline_path(device, nodeid)

    def timeline_path(self, device: str, nodeid: str) -> Path:
        """The file of a baseline's timeline, beside it."""
        return self.path(device, nodeid).with_suffix(TIMELINE)

    def read(self, device: str, nodeid: str) -> Measurement | None:
        """The baseline of a test; None if there is none.

        Raises:
            BaselineDamaged: the file cannot be understood; it is left alone.
            BaselineError: it cannot be read.
        """
        return self.read_file(self.path(device, nodeid))

    def read_file(self, path: Path) -> Measurement | None:
        """The baseline in a file of the folder, which is that of the file's test and device.

        Raises:
            BaselineDamaged: the file cannot be understood, or is another's; it is left alone.
            BaselineError: it cannot be read.
        """
        found = read_baseline(path)
        if found is None:
            return None
        own = self.path(found.device, found.nodeid)
        if own != path:
            raise BaselineDamaged(
                f"{path}:1: this is the baseline of another test or device",
                evidence=f"it says that it is of {found.nodeid} on {found.device}",
                remedy=f"move it back to {own}, or delete it and record it anew with "
                "--nsys-update; 'pytest-nsys baselines rename' gives a baseline to another test",
            )
        return found

    def read_timeline(self, baseline: Measurement) -> Timeline | None:
        """The timeline of a baseline; None if there is none, or only that of another recording.

        Raises:
            BaselineDamaged: the file cannot be understood; it is left alone.
            BaselineError: it cannot be read.
        """
        path = self.timeline_path(baseline.device, baseline.nodeid)
        try:
            timeline, recording = document.parse(read_limited(path, document.LARGEST_FILE))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(path, error) from None
        except ValueError as error:
            raise BaselineDamaged(
                f"{path} is no timeline",
                evidence=str(error),
                remedy="delete it: only reports show it, and --nsys-update writes it anew",
            ) from None
        return timeline if recording == recording_digest(baseline) else None

    def devices(self, nodeid: str) -> tuple[str, ...]:
        """The devices that there is a baseline of this test for."""
        if not self.root.is_dir():
            return ()
        folders = sorted(folder.name for folder in self.root.iterdir() if folder.is_dir())
        return tuple(name for name in folders if self.path(name, nodeid).is_file())

    def matching(self, pattern: str) -> Iterator[Measurement]:
        """The baselines of tests whose node ids are, contain, or match a pattern; by device.

        Raises:
            BaselineDamaged: a file cannot be understood.
            BaselineError: there is no such folder.
        """
        check_folder(self.root)
        for path in sorted(self.root.glob("*/**/*.json")):
            found = self.read_file(path)
            if found is not None and (pattern in found.nodeid or matches(pattern, found.nodeid)):
                yield found

    def write(self, measurement: Measurement) -> Change:
        """Make a measurement the baseline of its test, with its timeline if it has one.

        Raises:
            BaselineDamaged: the present file cannot be understood; it is left alone.
            BaselineError: the folder cannot be written, or stays locked by another run.
        """
        path = self.path(measurement.device, measurement.nodeid)
        remedy = "make the folder writable, or name another with --nsys-baseline-dir"
        with (
            writing(f"the baseline {path}", BaselineError, remedy),
            locked_folder(self.root, self._lock_deadline_s, BaselineError),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            before = self.read(measurement.device, measurement.nodeid)
            # A timeline without its baseline, or with another, is not looked at.
            self._write_timeline(measurement)
            replace_text(path, render(measurement))
        return Change(path.relative_to(self.root.parent), before, measurement)

    def _write_timeline(self, measurement: Measurement) -> None:
        path = self.timeline_path(measurement.device, measurement.nodeid)
        if measurement.timeline is None or not self._timelines:
            path.unlink(missing_ok=True)
            return
        recording = recording_digest(measurement)
        replace_bytes(path, document.render(measurement.timeline, recording))
