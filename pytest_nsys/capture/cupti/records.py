"""CUPTI's activity records in raw memory: where they begin, and what is in them.

CUPTI lays records of all kinds one behind another into a buffer; a record begins with its kind and
has the size of the newest struct of that kind that the library knows. Offsets of the fields below
are the same from CUPTI 12.8 to 13.4, and only sizes have grown: ``benchmarks.cupti_spike.layouts``
compiles ``cupti_activity.h``, and says so. So of a version whose sizes are not known, CUPTI's own
iterator says where records begin, and the fields are where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_nsys.errors import CuptiUnread
from pytest_nsys.support.arrays.rows import Ints

MEMCPY: Final = 1
MEMSET: Final = 2
DRIVER: Final = 4
RUNTIME: Final = 5
KERNEL: Final = 10
PEER: Final = 22
SYNCHRONIZATION: Final = 38
MEMORY: Final = 49
"""CUpti_ActivityKind; KERNEL is that of concurrent kernels, MEMORY that of MEMORY2."""

_U64, _U32, _I32, _U16, _U8 = "<u8", "<u4", "<i4", "<u2", "u1"
_ON_GPU = {
    "start": (16, _U64),
    "end": (24, _U64),
}
_COPY = {
    "direction": (4, _U8),
    "source": (5, _U8),
    "target": (6, _U8),
    "bytes": (8, _U64),
    **_ON_GPU,
    "device": (32, _U32),
    "context": (36, _U32),
    "stream": (40, _U32),
}
_CALL = {
    "cbid": (4, _U32),
    "start": (8, _U64),
    "end": (16, _U64),
    "process": (24, _U32),
    "thread": (28, _U32),
    "correlation": (32, _U32),
    "result": (36, _U32),
}
FIELDS: Final[Mapping[int, Mapping[str, tuple[int, str]]]] = {
    KERNEL: {
        "registers": (6, _U16),
        **_ON_GPU,
        "device": (40, _U32),
        "context": (44, _U32),
        "stream": (48, _U32),
        "grid_x": (52, _I32),
        "grid_y": (56, _I32),
        "grid_z": (60, _I32),
        "block_x": (64, _I32),
        "block_y": (68, _I32),
        "block_z": (72, _I32),
        "static_shared": (76, _I32),
        "dynamic_shared": (80, _I32),
        "local": (84, _U32),
        "correlation": (92, _U32),
        "name": (104, _U64),
        "node": (144, _U64),
    },
    MEMCPY: {**_COPY, "correlation": (44, _U32), "node": (64, _U64)},
    PEER: {
        **_COPY,
        "source_device": (44, _U32),
        "target_device": (52, _U32),
        "correlation": (60, _U32),
        "node": (72, _U64),
    },
    MEMSET: {
        "bytes": (8, _U64),
        **_ON_GPU,
        "device": (32, _U32),
        "context": (36, _U32),
        "stream": (40, _U32),
        "correlation": (44, _U32),
        "memory": (50, _U16),
        "node": (64, _U64),
    },
    RUNTIME: _CALL,
    DRIVER: _CALL,
    SYNCHRONIZATION: {"type": (4, _U32), "start": (8, _U64), "end": (16, _U64)},
    MEMORY: {
        "operation": (4, _U32),
        "memory": (8, _U32),
        "correlation": (12, _U32),
        "address": (16, _U64),
        "bytes": (24, _U64),
        "start": (32, _U64),
        "device": (52, _U32),
        "context": (56, _U32),
        "pool_kind": (80, _U32),
        "pool": (88, _U64),
        "used": (112, _U64),
    },
}
"""Per kind, offset and type of the fields that are read."""

Records = Mapping[int, npt.NDArray[Any]]
"""Structured arrays by kind; see `FIELDS`."""

_SIZES = {MEMCPY: 96, PEER: 96, MEMSET: 88, RUNTIME: 40, DRIVER: 40, SYNCHRONIZATION: 56}
_SIZES[MEMORY] = 128
_SINCE: tuple[tuple[int, Mapping[int, int]], ...] = (
    (26, {**_SIZES, KERNEL: 208}),  # 12.8
    (130000, {**_SIZES, KERNEL: 216}),
    (130200, {**_SIZES, KERNEL: 224}),
    (130400, {**_SIZES, KERNEL: 248, MEMCPY: 112, MEMSET: 104}),
)
_BEYOND = 130500


def sizes_of(version: int) -> Mapping[int, int]:
    """Bytes of a record by kind; empty of a version that is not known.

    Args:
        version: CUPTI_API_VERSION of the library that is loaded.
    """
    known = [sizes for since, sizes in _SINCE if since <= version < _BEYOND]
    return known[-1] if known else {}


def dtype_of(kind: int, size: int = 0) -> np.dtype[Any]:
    """The fields of a kind, in records of a size, or of as many bytes as they need."""
    fields = FIELDS[kind]
    needed = max(offset + np.dtype(form).itemsize for offset, form in fields.values())
    return np.dtype(
        {
            "names": [*fields],
            "formats": [form for _, form in fields.values()],
            "offsets": [offset for offset, _ in fields.values()],
            "itemsize": size or -(-needed // 8) * 8,
        }
    )


def offsets_by_kind(data: npt.NDArray[np.uint8], sizes: Mapping[int, int]) -> dict[int, Ints]:
    """Where the records of each kind begin.

    Where a record begins is known once the one before it is, so this is a loop: its two lookups
    are all that is done for each record.

    Raises:
        CuptiUnread: a kind is not known, or the last record does not end with the buffer.
    """
    kinds = data[: len(data) // 8 * 8].view("<u4")[::2].tolist()
    steps = {kind: size // 8 for kind, size in sizes.items()}
    found: dict[int, list[int]] = {kind: [] for kind in sizes}
    appends = {kind: places.append for kind, places in found.items()}
    at, end = 0, len(kinds)
    try:
        while at < end:
            kind = kinds[at]
            appends[kind](at)
            at += steps[kind]
    except KeyError:
        raise _unread(f"a record of kind {kinds[at]} at byte {at * 8:,}") from None
    if at * 8 != len(data):
        raise _unread(f"records end at byte {at * 8:,} of {len(data):,}")
    return {kind: np.array(places, np.int64) * 8 for kind, places in found.items() if places}


def offsets_by_steps(
    data: npt.NDArray[np.uint8], after: Callable[[int, int, int], int]
) -> dict[int, Ints]:
    """The same by CUPTI's own iterator, of a version whose sizes are not known.

    Args:
        data: a buffer.
        after: address of the record after one, of a buffer's address and length; 0 for the first
            one, and where none is left.

    Raises:
        CuptiError: the iterator fails.
    """
    begin, at, found = data.ctypes.data, 0, []
    while at := after(begin, len(data), at):
        found.append(at - begin)
    offsets = np.array(found, np.int64)
    kinds = data.view("<u4")[offsets // 4]
    return {kind: offsets[kinds == kind] for kind in np.unique(kinds).tolist() if kind in FIELDS}


def read_records(
    buffers: Sequence[npt.NDArray[np.uint8]],
    places: Callable[[npt.NDArray[np.uint8]], Mapping[int, Ints]],
) -> dict[int, npt.NDArray[Any]]:
    """The records of all buffers by kind, as structured arrays.

    Args:
        buffers: what CUPTI has filled, of whole words of 8 bytes.
        places: where in one of them the records of each kind begin.

    Raises:
        CuptiError: they are not what is known.
    """
    parts: dict[int, list[npt.NDArray[Any]]] = {}
    for data in buffers:
        if len(data) % 8:
            raise _unread(f"a buffer of {len(data):,} bytes")
        words = data.view("<u8")  # eight bytes at a time: fewer indices
        for kind, offsets in places(data).items():
            dtype = dtype_of(kind)
            at = (offsets // 8)[:, None] + np.arange(dtype.itemsize // 8)
            if at.max(initial=0) >= len(words):
                raise _unread(f"a record of kind {kind} does not end within {len(data):,} bytes")
            parts.setdefault(kind, []).append(words[at].view(dtype).reshape(-1))
    return joined([{kind: np.concatenate(listed)} for kind, listed in parts.items()])


def joined(several: Sequence[Records]) -> dict[int, npt.NDArray[Any]]:
    """All records of several, by kind."""
    parts: dict[int, list[npt.NDArray[Any]]] = {}
    for records in several:
        for kind, rows in records.items():
            parts.setdefault(kind, []).append(rows)
    return {kind: np.concatenate(listed) for kind, listed in parts.items()}


def _unread(seen: str) -> CuptiUnread:
    return CuptiUnread(
        "CUPTI's records are not laid out as those of its version",
        evidence=seen,
        remedy="use nsys_capture = nsys, and report the version of nvidia-cuda-cupti",
    )
