"""The heads of baselines: what a file says first, read without the samples that follow.

Keys are sorted in a file, so that a test, its device and the day stand before all that was
measured; of ten thousand files as much is read as of one list of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import BaselineError
from pytest_nsys.storage.baselines.document import parse
from pytest_nsys.storage.baselines.location import check_folder
from pytest_nsys.storage.baselines.store import LARGEST, unreadable
from pytest_nsys.support.files import read_beginning, read_limited

_HEAD = 8192
_REST = b'\n "windows": '


@dataclass(frozen=True)
class Head:
    """What a baseline is, apart from its numbers.

    Attributes:
        path: the file.
        nodeid: the test.
        device: the device's key.
        date: the day it was recorded (ISO 8601).
        gpu: name of the GPU.
        nsys: version of nsys.
        rounds: measured calls in a process.
    """

    path: Path
    nodeid: str
    device: str
    date: str
    gpu: str
    nsys: str
    rounds: int


def baseline_files(root: Path) -> list[Path]:
    """The files of all baselines in a folder of them, by device, test file and test.

    Raises:
        BaselineError: there is no such folder.
    """
    check_folder(root)
    found = []
    for folder, _, files in os.walk(root):
        if folder != str(root):  # what lies beside the devices' folders is no baseline
            found += [f"{folder}{os.sep}{name}" for name in files if name.endswith(".json")]
    return [*map(Path, sorted(found))]


def heads(root: Path) -> Iterator[Head | BaselineError]:
    """The heads of all baselines in a folder, or why one cannot be read, in the files' order.

    Raises:
        BaselineError: there is no such folder.
    """
    for path in baseline_files(root):
        try:
            yield read_head(path)
        except BaselineError as error:
            yield error


def read_head(path: Path) -> Head:
    """The head of one baseline.

    Raises:
        BaselineDamaged: the file is no baseline.
        BaselineError: it cannot be read.
    """
    try:
        text = read_beginning(path, _HEAD)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        return _head_of(text, path)
    except (ValueError, KeyError, TypeError):
        pass
    # It is longer, or somebody formatted it, or it is damaged: the whole says which.
    try:
        whole = parse(read_limited(path, LARGEST).decode("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None
    environment = whole.environment
    return Head(
        path,
        whole.nodeid,
        whole.device,
        environment.date,
        environment.gpu,
        environment.nsys,
        whole.rounds,
    )


def _head_of(text: bytes, path: Path) -> Head:
    beginning, separator, _ = text.partition(_REST)
    if not separator:
        raise ValueError("what was measured is not last")
    data = json.loads(beginning.decode("utf-8").rstrip().removesuffix(",") + "}")
    environment = data["environment"]
    found = Head(
        path,
        data["nodeid"],
        data["device"],
        environment["date"],
        environment["gpu"],
        environment["nsys"],
        data["plan"]["rounds"],
    )
    texts = (found.nodeid, found.device, found.date, found.gpu, found.nsys)
    if not all(isinstance(one, str) for one in texts) or type(found.rounds) is not int:
        raise TypeError("a value is of the wrong kind")
    return found
