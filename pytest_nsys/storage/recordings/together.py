"""Recordings that are judged together: which those are, and whether they belong together.

A suite is shared by several machines in parts, or its tests are measured in further processes on
others. What is judged as one run has to be of one: nothing in it twice, and nothing of another
commit, such as what an earlier run left in the place of one that failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_nsys.errors import RecordingError
from pytest_nsys.storage.recordings.recording import INDEX, Recording
from pytest_nsys.support.text import listed

_SHOWN = 20
_NAMED = 5


def recordings_in(folders: Sequence[Path]) -> tuple[Path, ...]:
    """The recordings that the user named, each by its folder or by one that it lies in.

    Of a folder of recordings all folders count: one in which there is none was to become one.

    Raises:
        RecordingError: one is named twice.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        for path in _below(folder):
            place = path.resolve()
            if (first := found.get(place)) is not None:
                raise RecordingError(
                    f"{path} is named twice",
                    evidence="" if first == path else f"it is the folder that {first} is, too",
                    remedy="name each recording once",
                )
            found[place] = path
    return tuple(found.values())


def _below(folder: Path) -> Sequence[Path]:
    if (folder / INDEX).exists() or not folder.is_dir():
        return [folder]
    inside = (path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    return sorted(inside, key=_by_number) or [folder]


def _by_number(path: Path) -> tuple[int, str]:
    """10 comes after 9."""
    return (int(path.name) if path.name.isdecimal() else -1, path.name)


def check_together(recordings: Mapping[str, Recording]) -> None:
    """Refuse recordings that are not of one run.

    Args:
        recordings: by their names.

    Raises:
        RecordingError: they are of several commits, are parts of other wholes, or have something
            twice.
    """
    commits = {name: one.commit.partition("+")[0] for name, one in recordings.items()}
    _refuse_several(commits, "of several commits", "record all at the same commit")
    wholes = {name: str(one.part.of) for name, one in recordings.items() if one.part}
    _refuse_several(wholes, "parts of several wholes", "name the parts of one")
    parts: dict[int, str] = {}
    runs: dict[object, str] = {}
    for name, one in recordings.items():
        if one.part and (other := parts.setdefault(one.part.number, name)) != name:
            raise RecordingError(
                f"{other} and {name} are the same part of the suite",
                evidence=f"part {one.part.number} of {one.part.of}",
                remedy="name one of them, or number the parts through with --nsys-part",
            )
        if one.part:
            _check_numbers(parts, one.part.of)
        for test in one.tests:
            took = tuple(report.get("duration") for report in test.reports)
            run = (test.nodeid, repr(took))
            if test.captures and any(took) and (other := runs.setdefault(run, name)) != name:
                raise RecordingError(
                    f"{other} and {name} have a process of {test.nodeid[:200]} in common",
                    evidence="its reports took the same time to the nanosecond",
                    remedy="one is a copy of the other: name one of them",
                )


def note_of_several(recordings: Mapping[str, Recording]) -> str:
    """That several recordings are judged as one, where no part says that they are; else ""."""
    if len(recordings) < 2 or all(one.part for one in recordings.values()):
        return ""
    return f"{len(recordings)} recordings judged as one: {listed([*recordings], _NAMED)}"


def _check_numbers(parts: Mapping[int, str], of: int) -> None:
    """Refuse numbers of which some begin with 0 and others with 1: as many as all may lack one."""
    if {0, of} <= parts.keys():
        raise RecordingError(
            "the parts are numbered in two ways, from 0 and from 1 on",
            evidence=f"{parts[0]}: part 0 of {of}\n{parts[of]}: part {of} of {of}",
            remedy="number all of them from 0, or all from 1 on (--nsys-part)",
        )


def _refuse_several(values: Mapping[str, str], what: str, remedy: str) -> None:
    """Refuse recordings in which something is not the same, as far as it is known."""
    known = {name: value for name, value in values.items() if value}
    if len({*known.values()}) > 1:
        lines = [f"{name}: {value:.40}" for name, value in known.items()]
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise RecordingError(
            f"the recordings are {what}",
            evidence="\n".join([*lines[:_SHOWN], *more]),
            remedy=f"{remedy}, or judge each by itself",
        )


def gaps(recordings: Mapping[str, Recording]) -> Iterator[tuple[str, RecordingError]]:
    """What is not in the recordings and was to be: what it is of, and what is missing.

    Args:
        recordings: that belong together, by their names.
    """
    parts = {one.part.number: one.part for one in recordings.values() if one.part}
    if parts:
        of = next(iter(parts.values())).of
        if len(parts) < of:
            numbers = ", ".join(map(str, sorted(parts)))
            yield (
                "recordings",
                RecordingError(
                    f"{len(parts)} of {of} parts are there: {numbers}",
                    remedy="look at the jobs of the others, and name what they recorded, too",
                ),
            )
    for name, one in recordings.items():
        if one.unfinished:
            yield (
                name,
                RecordingError(
                    f"its run did not come to its end: {one.unfinished:.200}",
                    remedy="record it again: which tests it lacks is not known",
                ),
            )
