"""Baselines whose test is gone: found by what was collected, and never by what was selected."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.errors import BaselineError
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.plan.collection import Collection
from pytest_nsys.storage.baselines.heads import Head, heads, read_head
from pytest_nsys.storage.baselines.location import baseline_path
from pytest_nsys.support.patterns import likeness

_ENDING = ".json"
_ALIKE = 0.9
_KINDS: tuple[Breakdown, ...] = ("kernels", "copies", "memsets")


@dataclass(frozen=True)
class Orphan:
    """A baseline that no test is compared with.

    Attributes:
        head: the baseline.
        path: its file, from the folder in which that of the baselines is, as reports show it.
        is_unmarked: whether there is such a test, which is not measured.
        looks_like: a new test that is probably this one renamed; "" if there is none.
    """

    head: Head
    path: Path
    is_unmarked: bool = False
    looks_like: str = ""


def orphans(baselines: Path, collection: Collection) -> Iterator[Orphan]:
    """The baselines, of all devices, whose test is gone, by device and test.

    Those of a file that is gone are among them, where its folder was collected.
    """
    if not baselines.is_dir():
        return
    by_file: dict[str, set[str]] = {name: set() for name in collection.files}
    for nodeid in collection.nodeids:
        by_file.get(nodeid.partition("::")[0], set()).add(nodeid)
    for device in sorted(path for path in baselines.iterdir() if path.is_dir()):
        for file, nodeids in sorted(by_file.items()):
            there = {_path(nodeid).name: nodeid for nodeid in nodeids}
            for path in _jsons(device / _path(f"{file}::x").parent):
                known = path.name in there
                if not known or there[path.name] in collection.unmarked:
                    yield from _orphan(path, baselines, collection, is_unmarked=known)
        for folder in _folders(device):
            if _is_gone(folder, device, collection):
                for path in _jsons(folder):
                    yield from _orphan(path, baselines, collection)


def elsewhere(head: Head, baselines: Path, collection: Collection) -> str:
    """The file that the test of an orphan may well be in, which was not looked at as such: node ids
    started from another folder when it was recorded, or the file was moved. "" if there is none.

    Args:
        head: the orphan.
        baselines: the folder of the baselines; absolute, without links.
        collection: what was collected.
    """
    file, root = head.nodeid.partition("::")[0], collection.root.resolve()
    is_there = (root / file).exists()
    starts = dict.fromkeys((*baselines.parents, *root.parents))
    for start in starts:
        is_other = start != root and not (is_there and start in root.parents)
        if is_other and (start / file).is_file():
            return str(start / file)
    seen = {*collection.files, *(nodeid.partition("::")[0] for nodeid in collection.nodeids)}
    for other in sorted(seen - {file} if not is_there else ()):
        if f"/{other}".endswith(f"/{file}") or f"/{file}".endswith(f"/{other}"):
            folder = _path(f"{other}::x").parent
            if not any(_jsons(device / folder) for device in baselines.iterdir()):
                return other
    return ""


def _path(nodeid: str) -> PurePosixPath:
    """The file of a test's baseline, from the folder of a device."""
    return PurePosixPath(*baseline_path("x", nodeid).parts[1:])


def _jsons(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(one.path) for one in entries if one.name.endswith(_ENDING))
    except OSError:
        return []


def _folders(device: Path) -> list[Path]:
    """The folders with baselines, one for each test file."""
    return sorted(
        Path(folder)
        for folder, _, files in os.walk(device)
        if any(name.endswith(_ENDING) for name in files)
    )


def _is_gone(folder: Path, device: Path, collection: Collection) -> bool:
    """Whether the test file of a folder of baselines does not exist, where it was looked for."""
    if (collection.root / folder.relative_to(device)).exists():
        return False
    try:
        file = read_head(_jsons(folder)[0]).nodeid.partition("::")[0]
    except (BaselineError, IndexError):
        return False
    path = Path(os.path.normpath(collection.root / file))
    return not path.exists() and any(map(path.is_relative_to, collection.folders))


def _orphan(
    path: Path, baselines: Path, collection: Collection, *, is_unmarked: bool = False
) -> Iterator[Orphan]:
    try:
        head = read_head(path)
    except BaselineError:
        return  # a damaged file is told of by who reads it
    if not collection.why_skipped(head.nodeid):
        yield Orphan(head, path.relative_to(baselines.parent), is_unmarked)


def skipped(baselines: Path, collection: Collection) -> Mapping[str, tuple[str, ...]]:
    """The tests with baselines that were skipped before they could be collected, by node id, and
    the devices that have one.
    """
    found: dict[str, tuple[str, ...]] = {}
    if not collection.skipped or not baselines.is_dir():
        return found
    for head in heads(baselines):
        if isinstance(head, Head) and collection.why_skipped(head.nodeid):
            device = head.path.relative_to(baselines).parts[0]
            found[head.nodeid] = (*found.get(head.nodeid, ()), device)
    return found


def renamed(new: Measurement, candidates: Iterable[Measurement]) -> Measurement | None:
    """The baseline that is that of a new test under its old name: it consists of the same kernels
    and copies, as often; of several such the one whose name is most alike."""
    found = [old for old in candidates if _same_content(old, new) >= _ALIKE]
    return max(found, key=lambda old: likeness(old.nodeid, new.nodeid), default=None)


def _same_content(old: Measurement, new: Measurement) -> float:
    """How much of two tests is the same, by the number of operations: 1 for all of it."""
    then, now = _content(old), _content(new)
    both = [(then.get(key, 0.0), now.get(key, 0.0)) for key in {**then, **now}]
    most = sum(max(pair) for pair in both)
    return sum(min(pair) for pair in both) / most if most else 0.0


def _content(measurement: Measurement) -> Mapping[tuple[str, str], float]:
    return {
        (name, part.label): part.count
        for name, window in measurement.windows.items()
        for kind in _KINDS
        for part in window.breakdown.get(kind, ())
    }
