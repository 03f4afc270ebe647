"""Names that CUDA's functions and copies have in captures; free of pandas, for marks are checked
with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

COPY_TEXTS: Mapping[str, str] = {
    "h2d": "[CUDA memcpy HtoD] [CUDA memcpy Host-to-Device]",
    "d2h": "[CUDA memcpy DtoH] [CUDA memcpy Device-to-Host]",
    "d2d": "[CUDA memcpy DtoD] [CUDA memcpy Device-to-Device]",
    "p2p": "[CUDA memcpy PtoP] [CUDA memcpy Peer-to-Peer]",
}
"""What copies are called in lists, by direction, and the name that patterns match besides: both
spellings of nsys's."""

UNIFIED_COPIES = ("unified h2d", "unified d2h", "unified d2d")
"""What migrations of unified memory are called."""

MEMSET_TEXT = "[CUDA memset]"
"""What memory sets are called by nsys."""

_VERSION = re.compile(r"_v\d+")
_NUMBER = re.compile(r"[0-9]{4,6}|0+")
_DEFAULT_STREAM = re.compile(r"_pt(sz|ds)")


def api_name(raw: str) -> str:
    """A CUDA API function's name without version and stream suffixes.

    ``cudaLaunchKernel_v7000`` and ``cudaLaunchKernel_ptsz_v7000`` are ``cudaLaunchKernel``.
    """
    return _VERSION.sub("", _DEFAULT_STREAM.sub("", raw))


def cuda_version(raw: str) -> str:
    """A version of CUDA as people write it: ``13000`` is ``13.0``; what is no such number stays.

    nsys and CUDA write it as one number; "0", of no driver, is none.
    """
    if not _NUMBER.fullmatch(raw):
        return raw
    number = int(raw)
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""


@cache
def functions() -> tuple[str, ...]:
    """Functions of the runtime and the driver, without suffixes: those that CUPTI of CUDA 11.8 and
    12.4 can trace, that captures have shown, and some of CUDA 13.

    A function that is not among them may still be one, of a newer CUDA.
    """
    text = Path(__file__).with_name("functions.txt").read_text(encoding="ascii")
    return tuple(text.split())
