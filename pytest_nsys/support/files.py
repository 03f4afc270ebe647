"""Reading files of unknown origin, and writing files so that nothing is lost or seen by others."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pytest_nsys.errors import LfsPointer, NsysError

LOCK = ".lock"

# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER = re.compile(rb"version https://(git-lfs|hawser)\.github\.com/spec/")
_POINTER_BEGIN = 64


@contextlib.contextmanager
def locked_folder(root: Path, deadline_s: float, error: type[NsysError]) -> Iterator[None]:
    """Keep other runs from writing to a folder, which is made; git is told to leave the lock out.

    Args:
        root: the folder.
        deadline_s: how long to wait for another run.
        error: what to raise where that is not enough.

    Raises:
        NsysError: the folder stayed locked.
        OSError: it cannot be written.
    """
    from filelock import FileLock, Timeout

    root.mkdir(parents=True, exist_ok=True)
    ignore = root / ".gitignore"
    if not ignore.exists():
        ignore.write_text(f"{LOCK}\n", encoding="utf-8")
    lock = FileLock(root / LOCK, timeout=deadline_s)
    try:
        lock.acquire()
    except Timeout:
        raise error(
            f"{root} stayed locked by another run for {deadline_s:g} s",
            evidence=str(root / LOCK),
            remedy="wait for the other run to end, or end it",
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def writing(what: str, error: type[NsysError], remedy: str) -> Iterator[None]:
    """Whatever keeps a file from being written within this is an error that says what to do.

    Args:
        what: what is written, for people.
        error: what to raise.
        remedy: what to do.

    Raises:
        NsysError: it could not be written.
    """
    try:
        yield
    except OSError as problem:
        raise error(f"{what} cannot be written", evidence=str(problem), remedy=remedy) from None


def replace_text(path: Path, text: str) -> None:
    """Replace a file's content, as UTF-8; see `replace_bytes`."""
    replace_bytes(path, text.encode("utf-8", "backslashreplace"))


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a file's content in one step, making the folders above it; see `replacing`.

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(data)


def replace_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Replace a file's content by a text that is made while it is written; see `replace_text`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of another when it is complete.

    A reader sees the old content or the new, never a part. The file keeps its permissions; a new
    one has those that the user's umask gives.

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(fd, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(fd, stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading that is one: a pipe may never begin and a device never end.

    Raises:
        OSError: it cannot be read, or is no file.
        LfsPointer: it is a pointer of Git LFS.
    """
    fd = _open_regular(path)
    if _POINTER.match(os.pread(fd, _POINTER_BEGIN, 0)):
        os.close(fd)
        raise LfsPointer(
            f"{path} is a pointer of Git LFS, and not the file that it stands for",
            remedy="fetch the file: git lfs pull; in GitHub Actions, check out with 'lfs: true'",
        )
    return os.fdopen(fd, "rb")


def read_beginning(path: Path, most: int) -> bytes:
    """The first bytes of a file, as fast as it goes: of many files, to open each is most of it.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    fd = _open_regular(path)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


def _open_regular(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a file")
    return fd


def read_limited(path: Path, most: int) -> bytes:
    """The content of a file of at most ``most`` bytes.

    Raises:
        OSError: it cannot be read, is no file, or is larger.
        LfsPointer: it is a pointer of Git LFS.
    """
    with open_file(path) as file:
        # No more is allocated than there is to read.
        data = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
    if len(data) > most:
        raise OSError(f"{path} is larger than {most >> 20} MiB")
    return data


def copy_private(source: Path, target: Path) -> None:
    """Copy a file so that at no time anybody but its owner can read the copy.

    What was at ``target`` before is replaced, and not written to: it might be a link.

    Raises:
        OSError: it cannot be written.
    """
    target.unlink(missing_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as whole, os.fdopen(fd, "wb") as copy:
        shutil.copyfileobj(whole, copy)
