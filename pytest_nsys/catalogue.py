"""Every metric: key, unit, kind, direction and default tolerance, in one place.

This module knows what metrics *are*; how they are computed is in `pytest_nsys.metrics`. It is
imported when marked tests are collected, so it stays free of pandas.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pytest_nsys.errors import UnknownMetric
from pytest_nsys.quantities import Tolerance, Unit

Kind = Literal["exact", "timed"]
"""Exact metrics are near-deterministic (counts, bytes); timed ones are measured durations."""

Breakdown = Literal["kernels", "copies", "syncs", "allocations", "memsets", "calls"]
"""What a change of a metric is made of: the table a culprit is looked for in."""


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    Attributes:
        key: the name users write (``gpu.kernel_time``).
        unit: ns, B, 1, % or B/s.
        kind: whether it is compared for equality or as a noisy timing.
        worse: the direction in which it gets worse.
        tolerance: default tolerance; None for a metric that is recorded and shown, but is only
            gated where a marker or ini names it with a tolerance.
        gated: whether it is gated without being named.
        breakdown: where its culprits are looked for.
        about: the definition, with the table of the nsys export that it comes from.
    """

    key: str
    unit: Unit
    kind: Kind
    about: str
    tolerance: Tolerance | None = None
    gated: bool = False
    worse: Literal["up", "down"] = "up"
    breakdown: Breakdown | None = None


_MIB = 2.0**20


def _copy_metrics() -> Iterable[Metric]:
    names = {
        "h2d": "host to device (copyKind 1)",
        "d2h": "device to host (copyKind 2)",
        "d2d": "device to device (copyKind 8)",
        "p2p": "peer to peer (copyKind 10)",
    }
    for name, what in names.items():
        gated = name in ("h2d", "d2h")
        yield Metric(
            f"memcpy.{name}.bytes",
            "B",
            "exact",
            f"bytes copied, {what}",
            Tolerance(),
            gated,
            breakdown="copies",
        )
        yield Metric(
            f"memcpy.{name}.count",
            "1",
            "exact",
            f"copies, {what}",
            Tolerance(),
            gated,
            breakdown="copies",
        )
        yield Metric(
            f"memcpy.{name}.time",
            "ns",
            "timed",
            f"sum of the durations of copies, {what}",
            Tolerance(0.15, 50e3),
            breakdown="copies",
        )


METRICS: tuple[Metric, ...] = (
    Metric(
        "gpu.kernel_time",
        "ns",
        "timed",
        "sum of end - start over KERNEL rows (nsys: cuda_gpu_kern_sum)",
        Tolerance(0.03, 20e3),
        gated=True,
        breakdown="kernels",
    ),
    Metric(
        "gpu.kernel_count",
        "1",
        "exact",
        "KERNEL rows",
        Tolerance(),
        gated=True,
        breakdown="kernels",
    ),
    *_copy_metrics(),
    Metric(
        "memcpy.pageable",
        "1",
        "exact",
        "asynchronous copies (cudaMemcpy*Async, cuMemcpy*Async) from or to pageable memory",
        Tolerance(),
        breakdown="copies",
    ),
    Metric("memset.bytes", "B", "exact", "bytes set (MEMSET)", Tolerance(), breakdown="memsets"),
    Metric("memset.count", "1", "exact", "MEMSET rows", Tolerance(), breakdown="memsets"),
    Metric("memset.time", "ns", "timed", "sum of MEMSET durations", breakdown="memsets"),
    Metric(
        "sync.count",
        "1",
        "exact",
        "calls that block the host until the device is done: {cuda,cu}{Device,Ctx,Stream,Event}"
        "Synchronize (RUNTIME rows, by name)",
        Tolerance(),
        gated=True,
        breakdown="syncs",
    ),
    Metric("sync.time", "ns", "timed", "host time in those calls", breakdown="syncs"),
    Metric(
        "mem.peak",
        "B",
        "exact",
        "highest live device memory during the test's rounds minus what was live before them, "
        "caches released (CUDA_GPU_MEMORY_USAGE_EVENTS: device, array, managed, static)",
        Tolerance(0.02, 16 * _MIB),
        gated=True,
        breakdown="allocations",
    ),
    Metric(
        "mem.peak_total",
        "B",
        "exact",
        "highest live device memory during the test's rounds",
        breakdown="allocations",
    ),
    Metric(
        "mem.live_end",
        "B",
        "exact",
        "live device memory after the test's rounds minus that before them (a leak, or a cache)",
        Tolerance(0.0, 2 * _MIB),
        breakdown="allocations",
    ),
    Metric(
        "mem.alloc_count",
        "1",
        "exact",
        "device memory allocations in the test's rounds",
        Tolerance(),
        breakdown="allocations",
    ),
    Metric("graph.launches", "1", "exact", "CUDA graph launches (RUNTIME rows)", Tolerance()),
    Metric("api.count", "1", "exact", "CUDA API calls (RUNTIME rows)", breakdown="calls"),
    Metric("wall.time", "ns", "timed", "the window's duration on the host (its NVTX range)"),
)

FAMILIES: tuple[Metric, ...] = (
    Metric(
        "kernel[NAME].time",
        "ns",
        "timed",
        "gpu.kernel_time of the kernels whose canonical name matches the pattern NAME",
        Tolerance(0.10, 50e3),
        breakdown="kernels",
    ),
    Metric(
        "kernel[NAME].count",
        "1",
        "exact",
        "gpu.kernel_count of the kernels whose canonical name matches the pattern NAME",
        Tolerance(),
        breakdown="kernels",
    ),
    Metric(
        "category[NAME].time",
        "ns",
        "timed",
        "gpu.kernel_time of one category: gemm, attention, conv, norm, elementwise, reduce, ...",
        breakdown="kernels",
    ),
    Metric(
        "api[NAME].count",
        "1",
        "exact",
        "CUDA API calls of this name, version suffix stripped (patterns allowed)",
        Tolerance(),
        breakdown="calls",
    ),
    Metric(
        "api[NAME].time",
        "ns",
        "timed",
        "host time in CUDA API calls of this name",
        breakdown="calls",
    ),
)

_BY_KEY = {metric.key: metric for metric in METRICS}
_FAMILY_BY_SHAPE = {metric.key: metric for metric in FAMILIES}
_FAMILY = re.compile(r"(kernel|category|api)\[(.+)\]\.(\w+)", re.DOTALL)
_PER_UNIT = re.compile(r"(.+)\.per_([A-Za-z_]\w*)", re.DOTALL)


@dataclass(frozen=True)
class FamilyKey:
    """The parts of a key such as ``kernel[gemm*].time``."""

    family: str
    pattern: str
    measure: str


def parse_family(key: str) -> FamilyKey | None:
    """The parts of a parametrised key; None for a plain one."""
    match = _FAMILY.fullmatch(key)
    if match is None or f"{match[1]}[NAME].{match[3]}" not in _FAMILY_BY_SHAPE:
        return None
    return FamilyKey(match[1], match[2], match[3])


def split_per_unit(key: str) -> tuple[str, str] | None:
    """``("gpu.kernel_time", "token")`` for ``gpu.kernel_time.per_token``, else None."""
    match = _PER_UNIT.fullmatch(key)
    return (match[1], match[2]) if match else None


def undivided(key: str) -> str:
    """The key without its units: ``gpu.kernel_time`` for ``gpu.kernel_time.per_token``."""
    while per_unit := split_per_unit(key):
        key = per_unit[0]
    return key


def lookup(key: str) -> Metric:
    """The metric of this key, parametrised and per-unit keys included.

    A metric per unit keeps kind, direction and relative tolerance of the metric it divides; an
    absolute tolerance says nothing about a quotient and is dropped.

    Raises:
        UnknownMetric: there is none; the nearest name is suggested.
    """
    if key in _BY_KEY:
        return _BY_KEY[key]
    family = parse_family(key)
    if family is not None:
        return replace(_FAMILY_BY_SHAPE[f"{family.family}[NAME].{family.measure}"], key=key)
    per_unit = split_per_unit(key)
    if per_unit is not None:
        whole = lookup(per_unit[0])
        tolerance = whole.tolerance and Tolerance(relative=whole.tolerance.relative)
        return replace(whole, key=key, tolerance=tolerance, gated=False)
    raise UnknownMetric(f"there is no metric {key!r}", remedy=suggest(key, metric_names()))


def metric_names() -> list[str]:
    """Every key, with ``NAME`` in parametrised ones."""
    return [metric.key for metric in (*METRICS, *FAMILIES)]


def suggest(name: str, valid: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the nearest of ``valid``, else the whole list."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "valid names: " + ", ".join(names)
