"""Changing a folder of baselines by hand: renaming, removing, merging."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pytest_nsys.errors import BaselineDamaged, BaselineError
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.measure.processes import join_processes
from pytest_nsys.storage.baselines.document import CONFLICT, parse
from pytest_nsys.storage.baselines.heads import Head, baseline_files
from pytest_nsys.storage.baselines.store import LARGEST, TIMELINE, BaselineStore, unreadable
from pytest_nsys.support.files import read_limited

Side = Literal["ours", "theirs", "newer"]

_SIDES = re.compile(
    r"^<{7}[^\n]*\n(?P<ours>.*?)(^\|{7}[^\n]*\n.*?)?^={7}[^\n]*\n(?P<theirs>.*?)^>{7}[^\n]*\n?",
    re.MULTILINE | re.DOTALL,
)


# Renaming


def renames(heads: Iterable[Head], old: str, new: str) -> list[tuple[Head, str]]:
    """The baselines of a test, of all tests of a file, or of a folder, and their new node ids.

    Args:
        heads: those that there are.
        old: the node id, the file or the folder.
        new: what it is called now.

    Raises:
        BaselineError: nothing of that kind is called so.
    """
    start = old.rstrip("/")
    found = []
    for head in heads:
        rest = head.nodeid.removeprefix(start)
        # Of a test, parameters follow; of a file tests; of a folder files.
        if head.nodeid.startswith(old) and rest[:1] in ("", "[", "/", ":"):
            nodeid = new.rstrip("/") + rest
            is_like = ("::" in old) == ("::" in new) and not (rest[:1] == "[" and new[-1:] == "]")
            if not is_like or nodeid == head.nodeid or not _is_test(nodeid, like=head.nodeid):
                raise BaselineError(
                    f"{new!r:.200} cannot be what {old!r:.200} is called now",
                    evidence=f"{head.nodeid} would be {nodeid!r:.200}",
                    remedy="give the new name as 'pytest --collect-only -q' shows it",
                )
            found.append((head, nodeid))
    return found


def _is_test(nodeid: str, *, like: str) -> bool:
    """Whether this may be the node id of a test, in a file of the same kind as another's."""
    file, *parts = nodeid.partition("[")[0].split("::")
    path = PurePosixPath(file)
    return (
        all(part and part == part.strip() for part in (file, *parts))
        and bool(parts)
        and str(path) == file
        and not path.is_absolute()
        and ".." not in path.parts
        and path.suffix == PurePosixPath(like.partition("::")[0]).suffix
    )


def rename(store: BaselineStore, head: Head, nodeid: str) -> Path:
    """Give a baseline to another test; returns its new file.

    Raises:
        BaselineError: that has one already, or the files cannot be written.
        BaselineDamaged: the baseline cannot be read.
    """
    target = store.path(head.device, nodeid)
    if target.exists():
        raise BaselineError(
            f"{nodeid} has a baseline for {head.device} already",
            evidence=str(target),
            remedy="remove the one that is not wanted",
        )
    found = store.read_file(head.path)
    if found is None:
        raise BaselineError(f"{head.path} is gone", remedy="look for who removed it")
    moved = replace(found, nodeid=nodeid, timeline=store.read_timeline(found))
    store.write(moved)
    remove(head.path)
    return target


def remove(path: Path) -> None:
    """Remove a baseline with its timeline, and the folders that are empty then.

    Raises:
        BaselineError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        path.with_suffix(TIMELINE).unlink(missing_ok=True)
        folder = path.parent
        while not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
    except OSError as error:
        raise BaselineError(
            f"{path} cannot be removed", evidence=str(error), remedy="make its folder writable"
        ) from None


# Merging


@dataclass(frozen=True)
class Merged:
    """What became of one baseline.

    Attributes:
        path: its file.
        how: in words.
        is_open: whether it is left as it was, for somebody to decide.
    """

    path: Path
    how: str
    is_open: bool = False


def merge_folder(store: BaselineStore, other: BaselineStore, take: Side | None) -> list[Merged]:
    """Take the baselines of another folder into one: those that it lacks, and processes of those
    that both have.

    Raises:
        BaselineError: there is no such folder, or a file cannot be read or written.
    """
    found = []
    for path in baseline_files(other.root):
        theirs = other.read_file(path)
        if theirs is None:
            continue
        theirs = replace(theirs, timeline=other.read_timeline(theirs))
        ours = store.read(theirs.device, theirs.nodeid)
        found.append(_merge(store, ours, theirs, take))
    return found


def merge_conflicts(store: BaselineStore, take: Side | None) -> list[Merged]:
    """Resolve the conflicts that git left in baselines: both sides have recorded.

    Raises:
        BaselineError: a file cannot be read or written, or one of its sides is no baseline.
    """
    found = []
    for path in baseline_files(store.root):
        try:
            text = read_limited(path, LARGEST).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable(path, error) from None
        if not CONFLICT.search(text):
            continue
        ours, theirs = (
            parse(_SIDES.sub(rf"\g<{side}>", text), f"{path} ({side})")
            for side in ("ours", "theirs")
        )
        if store.path(ours.device, ours.nodeid) != path:
            raise BaselineDamaged(
                f"{path} is the baseline of another test or device",
                evidence=f"it says that it is of {ours.nodeid} on {ours.device}",
                remedy="resolve the conflict by hand",
            )
        path.unlink()  # what is written next does not look at what is there
        try:
            merged = _merge(store, ours, theirs, take)
        finally:
            if not path.exists():
                path.write_text(text, encoding="utf-8")
        found.append(merged)
    return found


def _merge(
    store: BaselineStore, ours: Measurement | None, theirs: Measurement, take: Side | None
) -> Merged:
    path = store.path(theirs.device, theirs.nodeid)
    if ours is None:
        store.write(theirs)
        return Merged(path, "taken: there was none")
    why = _apart(ours, theirs)
    if not why:
        more = _without_processes(theirs, ours)
        if not more.processes:
            store.write(ours)
            return Merged(path, "nothing new in it")
        joined = _joined(ours, more)
        store.write(joined)
        return Merged(path, f"joined: {joined.processes} processes")
    if take is None:
        return Merged(path, f"left: {why}", is_open=True)
    newer = theirs if theirs.environment.date > ours.environment.date else ours
    store.write({"ours": ours, "theirs": theirs, "newer": newer}[take])
    return Merged(path, f"taken from {take}: {why}")


def _apart(ours: Measurement, theirs: Measurement) -> str:
    """Why two baselines are not of the same work, measured in the same way; "" if they are."""
    one, other = ours.environment, theirs.environment
    if ours.warmup != theirs.warmup:
        return f"{ours.warmup} warm-up calls here, {theirs.warmup} there"
    if ours.cold_l2 != theirs.cold_l2:
        return "the L2 cache was emptied on one side alone"
    if set(one.trace) != set(other.trace):
        return "other capture options"
    if ours.windows.keys() != theirs.windows.keys():
        return "other windows"
    for name, window in ours.windows.items():
        there = theirs.windows[name]
        if window.units != there.units:
            return f"window {name!r} processes something else"
        counts = [{part.label: part.count for part in w.kernels} for w in (window, there)]
        if counts[0] != counts[1]:
            return f"window {name!r} has other kernels"
    return ""


def _without_processes(one: Measurement, other: Measurement) -> Measurement:
    """A measurement without the processes that another has, too: both may come from one."""
    known = {_process(other, number) for number in range(other.processes)}
    kept = [number for number in range(one.processes) if _process(one, number) not in known]
    windows = {
        name: replace(
            window,
            samples={
                key: tuple(of[number] for number in kept if number < len(of))
                for key, of in window.samples.items()
            },
        )
        for name, window in one.windows.items()
    }
    return replace(one, windows=windows)


def _process(measurement: Measurement, number: int) -> tuple[object, ...]:
    return tuple(
        (name, key, of[number : number + 1])
        for name, window in sorted(measurement.windows.items())
        for key, of in sorted(window.samples.items())
    )


def _joined(ours: Measurement, theirs: Measurement) -> Measurement:
    """The processes of both, with plan and environment of the newer."""
    newer, older = sorted((ours, theirs), key=lambda one: one.environment.date, reverse=True)
    return replace(join_processes([newer, older]), timeline=None)
