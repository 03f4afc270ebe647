"""Probes of Python and of the packages that a capture depends on."""

from __future__ import annotations

import re

from pytest_nsys.capture.nsys import records_ranges
from pytest_nsys.doctor.context import CheckResult, ProbeContext


def python(context: ProbeContext) -> list[CheckResult]:
    """Python's version."""
    version = ".".join(map(str, context.machine.python))
    return [CheckResult("Python", "ok", f"Python {version}")]


def nvtx(context: ProbeContext) -> list[CheckResult]:
    """Whether the nvtx package marks ranges, and such that this nsys records them."""
    version = context.machine.package("nvtx")
    if version is None:
        return [
            CheckResult(
                "nvtx",
                "problem",
                "the Python package nvtx is not installed: nothing can be measured",
                remedy="pip install nvtx",
            )
        ]
    if context.machine.environ.get("NVTX_DISABLE"):
        return [
            CheckResult(
                "nvtx",
                "problem",
                "NVTX_DISABLE is set: no NVTX range is recorded, and so nothing measured",
                f"nvtx {version}",
                "unset NVTX_DISABLE",
            )
        ]
    if context.nsys is None:
        return [CheckResult("nvtx", "ok", f"nvtx {version}")]
    pair = f"nvtx {version}, nsys {context.nsys.version_text}"
    if not records_ranges(context.nsys.version, version):
        return [
            CheckResult(
                "nvtx",
                "problem",
                "this nsys records no range of this nvtx package, and so nothing is measured",
                pair,
                "use nsys 2025 or newer, or: pip install 'nvtx<0.2.12'",
            )
        ]
    return [CheckResult("nvtx", "ok", "the nvtx package and nsys understand each other", pair)]


def pyarrow(context: ProbeContext) -> list[CheckResult]:
    """Whether captures can be read from Parquet."""
    version = context.machine.package("pyarrow")
    if version is not None:
        return [CheckResult("pyarrow", "ok", f"pyarrow {version}: captures are read from Parquet")]
    return [
        CheckResult(
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
