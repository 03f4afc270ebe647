"""Traces of other profilers than nsys: torch.profiler and Triton's Proton, one file or those of
several ranks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_nsys.errors import ExportFailed, NotACapture
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.support.json_stream import Unreadable, begins
from pytest_nsys.trace import mending, schema
from pytest_nsys.trace.kineto import NOBODY, OPERATIONS, Profile, read_profile
from pytest_nsys.trace.load import build_trace
from pytest_nsys.trace.made import MadeSource, Names
from pytest_nsys.trace.proton import read_tree
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import Trace, TraceGpu, unknown_lines

ENDINGS = (".json", ".json.gz", ".hatchet", ".chrome_trace")
"""What such files are called in a folder; one that is named may be called anything."""

_MOST_FILES = 4096
_BEGIN = 512
_JSON = re.compile(r"\ufeff?\s*[\[{]")
_TREE = re.compile(r'\ufeff?\s*\[\s*\{\s*"(children|frame|metrics)"')

_PLACES = ("deviceId", "srcDeviceId", "dstDeviceId")


def is_other(path: Path) -> bool:
    """Whether the path is a JSON file, gzipped or not, or a folder of such files."""
    if path.is_dir():
        return bool(_files(path)) and not any(path.glob("*.parquet"))
    return path.is_file() and _JSON.match(begins(path, _BEGIN)) is not None


def load_other(path: Path) -> Trace:
    """The trace of files of torch.profiler or Proton: one, or all of a folder, which are of the
    ranks of one run.

    Raises:
        NotACapture: they have nothing of a GPU.
        ExportFailed: one is damaged, or has more in it than it may.
    """
    paths = _files(path) if path.is_dir() else [path]
    if len(paths) > _MOST_FILES:
        raise NotACapture(
            f"{path} has more than {_MOST_FILES} traces", remedy="name a folder with those of a run"
        )
    names = Names()
    profiles = [_read(one, names) for one in paths]
    if all(profile.is_drawn for profile in profiles):
        raise NotACapture(
            f"{path} is what pytest-nsys export drew of a capture",
            remedy="give the capture itself",
        )
    if not any(_count(profile) for profile in profiles if not profile.is_drawn):
        seen = sorted({kind for profile in profiles for kind in profile.seen})
        raise NotACapture(
            f"{path} has no kernel, copy or memory set of a GPU",
            evidence=f"categories of its events: {', '.join(seen) or 'none'}",
            remedy="give a trace of torch.profiler with ProfilerActivity.CUDA, a .hatchet of "
            "Triton's Proton, or a report of nsys",
        )
    return _trace(profiles, names)


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.name.endswith(ENDINGS) and one.is_file())


def _read(path: Path, names: Names) -> Profile:
    try:
        is_tree = _TREE.match(begins(path, _BEGIN)) is not None
        return (read_tree if is_tree else read_profile)(path, names)
    except Unreadable as error:
        raise ExportFailed(
            f"{path} is damaged or was cut off",
            evidence=str(error),
            remedy="write the trace again; check that the disk is not full, and that the program "
            "ends before it is copied",
        ) from None


def _count(profile: Profile) -> int:
    return sum(len(profile.tables[name]["start"]) for name in OPERATIONS if name in profile.tables)


def _trace(profiles: Sequence[Profile], names: Names) -> Trace:
    notes: list[str] = [note for profile in profiles for note in profile.notes]
    profiles = _left(profiles, notes)
    pids = _process_numbers(profiles, notes)
    devices = _device_numbers(profiles, pids, notes)
    parts: dict[str, list[Mapping[str, Ints]]] = defaultdict(list)
    for number, profile in enumerate(profiles):
        for name, columns in profile.tables.items():
            parts[name].append(_renumbered(columns, pids[number], devices[number]))
    tables = {name: _joined(listed) for name, listed in parts.items()}
    _from_the_first(tables)
    cuda = next((profile.cuda for profile in profiles if profile.cuda), "")
    described = {
        schema.STRINGS: names.table(),
        schema.GPU: _gpu_table(profiles, devices),
        schema.SYSTEM: {"name": ["CudaDriverVersion"], "value": [cuda]},
    }
    trace = build_trace(MadeSource({**tables, **described}))
    unknown = {key: why for profile in profiles for key, why in profile.unknown.items()}
    told = dict.fromkeys([*notes, *trace.defects, *unknown_lines(unknown)])
    return replace(trace, unknown=unknown, defects=tuple(told))


def _joined(parts: Sequence[Mapping[str, Ints]]) -> dict[str, Ints]:
    """Tables as one; what only some of them have is `ABSENT` in the others."""
    names = dict.fromkeys(name for part in parts for name in part)
    absent = [np.full(len(part["start"]), ABSENT) for part in parts]
    return {
        name: np.concatenate(
            [part.get(name, other) for part, other in zip(parts, absent, strict=True)]
        )
        for name in names
    }


def _left(profiles: Sequence[Profile], notes: list[str]) -> list[Profile]:
    """The profiles without those that are drawings, have nothing of a GPU, or hold what another
    does: a file and its packed copy."""
    traces = [profile for profile in profiles if not profile.is_drawn]
    used = [profile for profile in traces if _count(profile)]
    kept: dict[tuple[int | bytes | None, ...], Profile] = {}
    for profile in used:
        columns = [one for table in profile.tables.values() for one in table.values()]
        key = (profile.rank, *(column.tobytes() for column in columns))
        kept.setdefault(key, profile)
    for before, after, what in (
        (profiles, traces, "were drawn by pytest-nsys export"),
        (traces, used, "have nothing of a GPU"),
        (used, [*kept.values()], "hold what another does"),
    ):
        if left := len(before) - len(after):
            notes.append(f"{left} of {len(profiles)} files {what}: left out")
    return [*kept.values()]


def _process_numbers(profiles: Sequence[Profile], notes: list[str]) -> list[dict[int, int]]:
    """Per profile, the serialised process of each of its own.

    Ranks on several machines may have processes of one number. Files of one rank, or without any,
    with the same process are one process: those of several cycles of a schedule.
    """
    given: dict[tuple[int | None, int], int] = {}
    found = []
    for number, profile in enumerate(profiles):
        numbers = {}
        for own in _distinct(profile, ("globalPid", "globalTid")):
            # Which one it was is not said: another in each file.
            rank = -number if profile.rank is None and own == NOBODY else profile.rank
            if (rank, own) not in given:
                free = own
                while free in given.values():
                    free = schema.serialised(schema.process_number(free) + 1)
                given[rank, own] = free
            numbers[own] = given[rank, own]
        found.append(numbers)
    if any(own != other for numbers in found for own, other in numbers.items()):
        notes.append("processes of several ranks have one number: some have another here")
    return found


def _device_numbers(
    profiles: Sequence[Profile], pids: Sequence[Mapping[int, int]], notes: list[str]
) -> list[dict[int, int]]:
    """Per profile, the number of each of its devices: its own, unless processes have it in common.

    With CUDA_VISIBLE_DEVICES, or on another machine, each rank has a device 0.
    """
    users: dict[int, set[int]] = defaultdict(set)
    whose = [_distinct(profile, ("globalPid",)) for profile in profiles]
    own = [_distinct(profile, _PLACES) for profile in profiles]
    for number, devices in enumerate(own):
        for device in devices:
            users[device] |= {pids[number][pid] for pid in whose[number]}
    if len(profiles) < 2 or all(len(processes) < 2 for processes in users.values()):
        return [{device: device for device in devices} for devices in own]
    notes.append(
        "several ranks have a device of one number: the devices of each rank are numbered on, "
        "as GPUs of their own"
    )
    given: dict[tuple[int, int], int] = {}
    return [
        {
            device: given.setdefault((pids[number][whose[number][0]], device), len(given))
            for device in devices
        }
        for number, devices in enumerate(own)
    ]


def _distinct(profile: Profile, columns: Sequence[str]) -> list[int]:
    """What is in these columns of whatever table, ascending."""
    found = [table[name] for table in profile.tables.values() for name in columns if name in table]
    if columns[0] not in _PLACES:
        found = [schema.process_id(values) for values in found]
    values = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
    return [int(value) for value in values if value != ABSENT]


def _renumbered(
    columns: Mapping[str, Ints], pids: Mapping[int, int], devices: Mapping[int, int]
) -> dict[str, Ints]:
    found = dict(columns)
    for name in found.keys() & {"globalPid", "globalTid"}:
        pid = schema.process_id(found[name])
        moved = np.zeros_like(pid)
        for own, other in pids.items():
            moved[pid == own] = other - own
        found[name] = found[name] + moved
    for name in found.keys() & {*_PLACES}:
        values = found[name].copy()
        for own, other in devices.items():
            values[found[name] == own] = other
        found[name] = values
    return found


def _from_the_first(tables: Mapping[str, dict[str, Ints]]) -> None:
    """Times from the first event on: those since 1970 are no exact floats."""
    times = [columns["start"][columns["start"] != ABSENT] for columns in tables.values()]
    begin = min((int(column.min()) for column in times if len(column)), default=0)
    if abs(begin) > mending.LATEST:
        return  # told where the tables are read
    for columns in tables.values():
        for side in ("start", "end"):
            there = columns[side] != ABSENT
            columns[side] = np.where(there, columns[side] - begin, ABSENT)


def _gpu_table(
    profiles: Sequence[Profile], devices: Sequence[Mapping[int, int]]
) -> Mapping[str, list[int] | list[str]]:
    found: dict[int, TraceGpu] = {}
    for profile, numbers in zip(profiles, devices, strict=True):
        moved = any(own != other for own, other in numbers.items())
        for gpu in profile.gpus:
            number = numbers.get(gpu.id, ABSENT if moved else gpu.id)
            if number != ABSENT:
                found.setdefault(number, gpu)
    capabilities = [gpu.capability or (0, 0) for gpu in found.values()]
    return {
        "id": [*found],
        "name": [gpu.name for gpu in found.values()],
        "smCount": [gpu.multiprocessors for gpu in found.values()],
        "computeMajor": [major for major, _ in capabilities],
        "computeMinor": [minor for _, minor in capabilities],
    }
