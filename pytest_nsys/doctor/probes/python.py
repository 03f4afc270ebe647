"""Probes of Python and of the packages that a capture depends on."""

from __future__ import annotations

import re

from pytest_nsys.doctor.finding import Finding
from pytest_nsys.doctor.seen import Seen

# From this nvtx on, ranges carry a payload that nsys up to 2023.4 refuses, and the range with it.
_NVTX_WITH_PAYLOADS = (0, 2, 12)
_LAST_NSYS_WITHOUT = (2023, 4)


def python(seen: Seen) -> list[Finding]:
    """Python's version."""
    version = ".".join(map(str, seen.machine.python))
    return [Finding("Python", "ok", f"Python {version}")]


def nvtx(seen: Seen) -> list[Finding]:
    """Whether the nvtx package marks ranges, and such that this nsys records them."""
    version = seen.machine.package("nvtx")
    if version is None:
        return [
            Finding(
                "nvtx",
                "problem",
                "the Python package nvtx is not installed: nothing can be measured",
                remedy="pip install nvtx",
            )
        ]
    if seen.machine.environ.get("NVTX_DISABLE"):
        return [
            Finding(
                "nvtx",
                "problem",
                "NVTX_DISABLE is set: no NVTX range is recorded, and so nothing measured",
                f"nvtx {version}",
                "unset NVTX_DISABLE",
            )
        ]
    if seen.nsys is None:
        return [Finding("nvtx", "ok", f"nvtx {version}")]
    pair = f"nvtx {version}, nsys {seen.nsys.version_text}"
    if numbers(version) >= _NVTX_WITH_PAYLOADS and seen.nsys.version[:2] <= _LAST_NSYS_WITHOUT:
        return [
            Finding(
                "nvtx",
                "problem",
                "this nsys records no range of this nvtx package, and so nothing is measured",
                pair,
                "use nsys 2025 or newer, or: pip install 'nvtx<0.2.12'",
            )
        ]
    return [Finding("nvtx", "ok", "the nvtx package and nsys understand each other", pair)]


def pyarrow(seen: Seen) -> list[Finding]:
    """Whether captures can be read from Parquet."""
    version = seen.machine.package("pyarrow")
    if version is not None:
        return [Finding("pyarrow", "ok", f"pyarrow {version}: captures are read from Parquet")]
    return [
        Finding(
            "pyarrow",
            "ok",
            "captures are read from SQLite, since pyarrow is not installed: slower if large",
            remedy="pip install 'pytest-nsys[parquet]'",
        )
    ]


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (0, 2, 12) of "0.2.12rc1"."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
