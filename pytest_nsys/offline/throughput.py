"""What a window made of its GPU's time: units a second, and what its kernels would allow."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_nsys.catalogue import CLIENT, WORK_BYTES, WORK_FLOPS
from pytest_nsys.measure.measurement import WindowMeasurement

_S = 1e9
_FIRST = "token"
"""The unit that is told where there are several."""

_WORK = {"flop": WORK_FLOPS, "byte": WORK_BYTES}


@dataclass(frozen=True)
class Throughput:
    """Kernel time per unit, and how it goes with the units a second.

    Where kernels run at once, on several GPUs or streams, more than the limit can be reached. Of a
    body that ends while its kernels still run nobody knows how fast it was: it has no rate.

    Attributes:
        unit: what was processed; singular.
        kernel_ns: kernel time per unit.
        rate: units a second; None if not known.
        limit: units a second of a GPU that did nothing but these kernels, one after another; None
            without kernels.
        reached: the rate in percent of the limit.
        busy: GPU busy, percent.
        ttft_ns: median time to the first token, as clients saw it.
        latency_ns: 95th percentile of the time of a request, likewise.
    """

    unit: str
    kernel_ns: float
    rate: float | None
    limit: float | None
    reached: float | None
    busy: float | None
    ttft_ns: float | None
    latency_ns: float | None


def told_units(window: WindowMeasurement) -> list[str]:
    """The units of a window but work: of that there are rates by the time that the GPU was busy."""
    return [unit for unit in window.units if _WORK.get(unit) not in window.samples]


def throughput(window: WindowMeasurement) -> Throughput | None:
    """That of a window; None where nothing says what it processed."""
    units = told_units(window)
    unit = _FIRST if _FIRST in units else next(iter(units), "")
    kernel_ns = window.get(f"gpu.kernel_time.per_{unit}") if unit else None
    if kernel_ns is None:
        return None
    rate = units_per_s(window, unit)
    limit = _S / kernel_ns if kernel_ns else None
    return Throughput(
        unit=unit,
        kernel_ns=kernel_ns,
        rate=rate,
        limit=limit,
        reached=100 * rate / limit if rate is not None and limit is not None else None,
        busy=window.get("gpu.busy_pct"),
        ttft_ns=window.get(f"{CLIENT}ttft_p50"),
        latency_ns=window.get(f"{CLIENT}latency_p95"),
    )


def _waits(window: WindowMeasurement) -> bool:
    """Whether the window is as long as its kernels together."""
    return (window.get("wall.time") or 0.0) >= (window.get("gpu.kernel_time") or 0.0)


def rate_key(unit: str) -> str:
    """The metric that says how many of a unit a client saw in a second."""
    return f"{CLIENT}{unit}s_per_s"


def units_per_s(window: WindowMeasurement, unit: str) -> float | None:
    """Units a second as a client saw it, or by the time of the window, if its kernels end in it."""
    key = rate_key(unit)
    if key in window.samples:
        return window.get(key)
    wall = window.get("wall.time")
    if not wall or unit not in window.units or not _waits(window):
        return None
    return window.units[unit] * _S / wall
