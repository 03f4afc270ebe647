"""Where the baseline of a test lies: names that any file system and any diff can bear."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

from pytest_nsys.errors import BaselineError
from pytest_nsys.gpu.names import device_slug

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120
_DIGEST = 8


def baseline_path(device: str, nodeid: str) -> PurePosixPath:
    """``nvidia-h200/tests/test_x.py/TestY.test_z.json`` for a node id, relative to the root.

    A short digest of the node id follows where the readable name is not the whole truth:
    parameters with other characters, names with dots of their own, or too long for a file system.
    """
    file, _, rest = nodeid.partition("::")
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", "//")]
    folders = [_component(part) for part in parts]
    plain = rest.replace("::", ".")
    name = _UNSAFE.sub("-", plain).strip("-.")
    is_exact = name == plain and "." not in rest and "/".join(parts) == file
    if not is_exact or len(name) > _LONGEST or not name:
        name = f"{name[:_LONGEST]}-{_digest(nodeid)}".lstrip("-")
    return PurePosixPath(device_slug(device), *folders, f"{name}.json")


def check_folder(root: Path) -> None:
    """That a command was given the baselines: none reads the ini file, which may name them.

    Raises:
        BaselineError: there is no such folder.
    """
    if not root.is_dir():
        raise BaselineError(
            f"there is no folder of baselines {root.absolute()}",
            remedy="name it with --baseline-dir, or record some with pytest --nsys-update",
        )


def _component(part: str) -> str:
    name = _UNSAFE.sub("-", part)
    if part == ".." or name != part or len(name) > _LONGEST:
        return f"{name.strip('.')[:_LONGEST]}-{_digest(part)}".lstrip("-")
    return name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGEST]
