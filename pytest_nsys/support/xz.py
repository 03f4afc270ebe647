"""Files packed with xz, of unknown origin: they are to fill neither memory nor disk."""

from __future__ import annotations

import lzma
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from pytest_nsys.errors import RecordingError
from pytest_nsys.support.files import open_file, replacing

_CHUNK = 2**20
_MOST_MEMORY = 256 * 2**20  # xz -9 needs 65 MiB, and whoever packed the file chose
_LARGEST = 8 * 2**30
_MOST_TIMES = 200  # a capture packs 10 to 30 times smaller, a file of zeros 7000 times
_ALWAYS = 16 * 2**20
_MOST_STREAMS = 64  # one is usual; each costs the memory of a decompressor, also one of 32 bytes


def pack(source: Path, target: Path) -> None:
    """Pack a file; what was at ``target`` is replaced in one step, and not written to."""
    with (
        source.open("rb") as plain,
        replacing(target) as raw,
        lzma.open(raw, "wb", preset=6) as packed,
    ):
        shutil.copyfileobj(plain, packed, _CHUNK)


def unpack(path: Path, target: Path) -> None:
    """Unpack a file.

    Raises:
        RecordingError: it is missing, no file, not packed, cut off or damaged; it needs more than
            256 MiB of memory, or is of more than 64 streams; or it unpacks to more than 8 GiB, or
            to 16 MiB and 200 times its own size.
    """
    try:
        with open_file(path) as packed, target.open("wb") as plain:
            size = os.fstat(packed.fileno()).st_size
            most = min(_LARGEST, max(_ALWAYS, _MOST_TIMES * size))
            _unpack(packed, plain, most)
    except _TooLarge:
        raise RecordingError(
            f"{path} unpacks to more than {most >> 20:,} MiB",
            evidence=f"it is of {size:,} bytes",
            remedy="do not use this file",
        ) from None
    except (OSError, EOFError, lzma.LZMAError, MemoryError) as error:
        raise RecordingError(
            f"{path} cannot be unpacked",
            evidence=str(error) or type(error).__name__,
            remedy="record the run again, or restore the file",
        ) from None


class _TooLarge(Exception):
    pass


def _unpack(packed: BinaryIO, plain: BinaryIO, most: int) -> None:
    """Unpack the streams of a file, one after another, with nothing but padding between them."""
    data = packed.read(_CHUNK)
    for _ in range(_MOST_STREAMS):
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
        while not stream.eof:
            if stream.needs_input and not data:
                raise EOFError("it was cut off")
            unpacked = stream.decompress(data, _CHUNK)
            most -= plain.write(unpacked)
            if most < 0:
                raise _TooLarge
            data = packed.read(_CHUNK) if stream.needs_input else b""
        data = stream.unused_data.lstrip(b"\0")
        while not data:
            more = packed.read(_CHUNK)
            if not more:
                return
            data = more.lstrip(b"\0")
    raise lzma.LZMAError(f"it is of more than {_MOST_STREAMS} streams")
