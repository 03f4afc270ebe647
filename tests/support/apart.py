"""A /dev/shm of its own for each process of tests, so that real nsys in them do not meet.

nsys 2022 and 2023 keep tables of what runs in /dev/shm, one for all nsys of a version, and a lock
in /tmp/nvidia. Two that record at once lose each other's ranges, or do not start. Where
the machine lets a process have mounts of its own (a CI's container, root), they never meet.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_NEWIPC = 0x08000000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18

_SHARED = (Path("/dev/shm"), Path("/tmp/nvidia"))
"""Where all nsys of a machine meet, whatever their TMPDIR."""


def move_apart() -> bool:
    """Give this process, and what it starts from now on, folders of its own in place of those.

    Returns:
        Whether it has all of them; without, tests with a real nsys stay together.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC) != 0:
        return False
    # Private first: or the others would get these mounts too.
    if libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        return False
    for folder in _SHARED:
        folder.mkdir(exist_ok=True)
        if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, None) != 0:
            return False
    return True
