"""How jobs ended, and their recordings in parts that travel."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CUT_OFF = "cut off"
_LOG_BYTES = 24_000
_TAR_BYTES = 10_240  # the end of a tape, and what fills its last block


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        name: of the job.
        code: exit code of pytest.
        seconds: that it took.
        gpus: that it had.
        note: whether it was ended, and why; "" if it ended by itself.
        parts: seconds by what they went into, such as the stages of the engine's starts.
    """

    name: str
    code: int
    seconds: float
    gpus: tuple[str, ...]
    note: str
    parts: Mapping[str, float] = field(default_factory=dict)


def is_done(folder: Path) -> bool:
    """Whether a job has ended, well or not, without being cut off by the end of a step."""
    path = folder / "outcome.json"
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["note"] != CUT_OFF


def pack(root: Path, out: Path, part_bytes: int, most_parts: int) -> None:
    """Add OUT/results-NN.tar of the jobs that are done and were not packed before.

    Each has whole jobs, the end of their logs, and at most ``part_bytes``; a job that has no place
    is named, and left for the next time.
    """
    room: list[int] = []
    first = len([*out.glob("results-*.tar")])
    for folder in sorted((root / "jobs").iterdir()):
        if not is_done(folder) or (folder / "packed").exists():
            continue
        paths = [folder / "outcome.json", folder / "log", *sorted(folder.glob("recording/*"))]
        files = {path: path.read_bytes() for path in paths}
        files[folder / "log"] = files[folder / "log"][-_LOG_BYTES:]
        size = sum(len(data) + 1024 for data in files.values())  # with its header, in whole blocks
        part = next((n for n, left in enumerate(room) if size <= left), len(room))
        if part == most_parts or size > part_bytes - 2 * _TAR_BYTES:
            print(f"{folder.name} has no place in this step: {size / 1e6:.1f} MB", flush=True)
            continue
        if part == len(room):
            room.append(part_bytes - 2 * _TAR_BYTES)
        room[part] -= size
        with tarfile.open(out / f"results-{first + part:02}.tar", "a") as tar:
            for path, data in files.items():
                about = tarfile.TarInfo(str(path.relative_to(root / "jobs")))
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
        (folder / "packed").touch()


def unpack(parts: Iterable[Path], to: Path) -> None:
    """Unpack what `pack` wrote: of each job a folder."""
    for path in parts:
        with tarfile.open(path) as tar:
            tar.extractall(to, filter="data")
