"""One run at a time on a GPU: a lock per physical GPU, for all users of the machine.

The locks are those of ``flock(2)``, so they end with the process that holds them, however it
ends. They are files in a folder that everybody can write to, where anybody may have put anything:
nothing is followed, nothing is truncated before it is locked, and what others wrote is only shown.
(The filelock package, which serves for baselines, truncates and, in older versions, follows.)

Containers share a lock only where they share its folder (`FOLDER_VARIABLE`).
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import getpass
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import GpuBusy
from pytest_nsys.support.json_values import Positive, load, read
from pytest_nsys.support.own import own

FOLDER = Path("/tmp/pytest-nsys-gpu-locks")
"""The same for all users, which the folder for temporary files (TMPDIR) may not be."""

FOLDER_VARIABLE = "PYTEST_NSYS_LOCK_DIR"

_FOLDER_MODE, _FILE_MODE = 0o1777, 0o666
_POLL_S = 0.1
_LONGEST = 1024
_ODD = re.compile(r"[^A-Za-z0-9-]")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as it said itself.

    Attributes:
        pid: its process.
        user: its user.
        since: when it got the lock, seconds since 1970.
    """

    pid: Positive
    user: str
    since: float

    def described(self) -> str:
        """``process 123 of alice, since 12:03:00 (2 min ago)``."""
        began = datetime.datetime.fromtimestamp(self.since).strftime("%H:%M:%S")
        minutes, seconds = divmod(int(max(time.time() - self.since, 0.0)), 60)
        age = f"{minutes} min" if minutes else f"{seconds} s"
        return f"process {self.pid} of {self.user}, since {began} ({age} ago)"


def lock_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the locks: `FOLDER`, or what the environment names."""
    return Path(environ.get(FOLDER_VARIABLE) or FOLDER)


@contextmanager
def gpu_locks(
    uuids: Collection[str],
    *,
    deadline_s: float,
    waiting: Callable[[str], object],
    folder: Path | None = None,
) -> Iterator[tuple[str, ...]]:
    """Hold the locks of these GPUs while the block runs.

    All runs take them in the same order, so that no two wait for each other.

    Args:
        uuids: the physical GPUs (`pytest_nsys.gpu.nvml.visible_gpu_uuids`); none, no lock.
        deadline_s: how long to wait for all of them together.
        waiting: told once for each GPU that is in use: by whom, since when.
        folder: where the locks are; None for `lock_folder`.

    Yields:
        Notes: why a GPU could not be locked, one sentence each; it is used all the same.

    Raises:
        GpuBusy: one stayed in use until the deadline.
    """
    folder = lock_folder() if folder is None else folder
    deadline = own.clock() + deadline_s
    notes = []
    with ExitStack() as held:
        for uuid in sorted(set(uuids)):
            try:
                fd = _open(folder, f"{_ODD.sub('_', uuid)}.lock")
            except OSError as error:
                notes.append(
                    f"GPU {uuid} is not locked against other runs: {folder}: "
                    f"{error.strerror or error}"
                )
                continue
            held.callback(_release, fd)
            note = _lock(fd, uuid, folder, deadline, deadline_s, waiting)
            if note:
                notes.append(note)
        yield tuple(notes)


def _lock(
    fd: int,
    uuid: str,
    folder: Path,
    deadline: float,
    deadline_s: float,
    waiting: Callable[[str], object],
) -> str:
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(fd)
            who = holder.described() if holder else "another run"
            if own.clock() >= deadline:
                raise GpuBusy(
                    f"GPU {uuid} is in use by another run; waited {deadline_s:g} s for it",
                    evidence=f"{who}\n{folder}",
                    remedy="wait for the other run to end, or end it; or use another GPU "
                    "(CUDA_VISIBLE_DEVICES)",
                ) from None
            if not told:
                waiting(f"waiting for GPU {uuid}, in use by {who}")
                told = True
            own.sleep(min(_POLL_S, max(deadline - own.clock(), 0.0)))
        except OSError as error:  # a file system without locks
            return f"GPU {uuid} is not locked against other runs: {folder}: {error.strerror}"
        else:
            _sign(fd)
            return ""


def _release(fd: int) -> None:
    """Unlock, which closing does not as long as a fork of this process has the file open, too."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _open(folder: Path, name: str) -> int:
    """Open a lock file for locking, making it and the folder if need be.

    Raises:
        OSError: it cannot be, or is no plain file.
    """
    _make(folder)
    # A link in place of our own folder is not followed; the user's own choice may be one.
    no_link = os.O_NOFOLLOW if folder == FOLDER else 0
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | no_link)
    try:
        fd = _open_in(parent, name)
    finally:
        os.close(parent)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"{name} is not a file")
    return fd


def _make(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=_FOLDER_MODE)
    except FileExistsError:
        return
    folder.chmod(_FOLDER_MODE)  # whatever the umask took away


def _open_in(parent: int, name: str) -> int:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        # Not O_CREAT for a file that exists: the kernel may refuse it for other users' files
        # (fs.protected_regular).
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, _FILE_MODE, dir_fd=parent)
    except FileExistsError:
        try:
            return os.open(name, os.O_RDWR | flags, dir_fd=parent)
        except PermissionError:  # its maker has just not come to its chmod; reading is enough
            return os.open(name, os.O_RDONLY | flags, dir_fd=parent)
    os.fchmod(fd, _FILE_MODE)
    return fd


def _sign(fd: int) -> None:
    """Write who holds the lock into it, for those who wait."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        user = str(os.getuid())
    text = own.to_json({"pid": own.getpid(), "user": user, "since": round(time.time(), 3)})
    with contextlib.suppress(OSError):  # a full disk, or a file that may only be read
        os.ftruncate(fd, 0)
        os.pwrite(fd, text.encode(), 0)


def _holder(fd: int) -> Holder | None:
    """Who says that it holds the lock; None where that cannot be read, or is nonsense."""
    try:
        holder = read(Holder, load(os.pread(fd, _LONGEST, 0)))
        datetime.datetime.fromtimestamp(holder.since)
    except (OSError, ValueError, OverflowError):
        return None
    return holder if holder.user.isprintable() else None
