"""Every metric: key, unit, kind, direction and default tolerance, in one place.

This module knows what metrics *are*; how they are computed is in `pytest_nsys.metrics`. It is
imported when marked tests are collected, so it stays free of pandas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from pytest_nsys.errors import UnknownMetric
from pytest_nsys.support.text import suggest
from pytest_nsys.support.units import Tolerance, Unit

CLIENT = "client."
"""What the keys of a client's metrics begin with."""

Kind = Literal["exact", "timed"]
"""Exact metrics are near-deterministic (counts, bytes); timed ones are measured durations."""

Breakdown = Literal[
    "kernels",
    "copies",
    "syncs",
    "allocations",
    "memsets",
    "calls",
    "ranges",
    "devices",
    "processes",
]
"""What a window is made of; for a metric, the table in which a culprit is looked for."""

Gates = Literal["test", "server"]
"""What is gated without being named: in a test's own work, and in what a server does for clients.

A server puts requests together as they come: how many kernels it launches depends on when each of
them arrives. So counts are gated in the former only.
"""

Combine = Literal["sum", "max", "median", "mean"]
"""How the values of several windows of one round are made one (of the instances of a range)."""


@dataclass(frozen=True)
class Ratio:
    """A metric that is the quotient of others: ``factor * sum(above) / sum(below)``.

    Where ``below`` is zero there is no value.
    """

    above: tuple[str, ...]
    below: tuple[str, ...]
    factor: float = 1.0


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    Attributes:
        key: the name users write (``gpu.kernel_time``).
        unit: ns, B, 1, %, B/s, 1/s, FLOP, FLOP/s, Hz, °C or W.
        kind: whether it is compared for equality or as a noisy timing.
        worse: the direction in which it gets worse.
        tolerance: default tolerance; None for a metric that is recorded and shown, but is only
            gated where a marker or ini names it with a tolerance.
        gated: whether it is gated without being named. Where clients load a server others are,
            which ``pytest-nsys metrics`` lists.
        breakdown: where its culprits are looked for.
        about: the definition, with the table of the nsys export that it comes from.
        combine: how the values of several windows of one round are made one.
        ratio: for a quotient of other metrics, of which.
        side: whether it says something of the GPU or of the host; only the former has a value
            per device.
    """

    key: str
    unit: Unit
    kind: Kind
    about: str
    tolerance: Tolerance | None = None
    gated: bool = False
    worse: Literal["up", "down"] = "up"
    breakdown: Breakdown | None = None
    combine: Combine = "sum"
    ratio: Ratio | None = None
    side: Literal["gpu", "host"] = "gpu"


Compute = Callable[[Any], Any]
"""Computes an added metric, from windows of a trace; what metrics of this package are computed with
is no matter of the catalogue's."""

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
        yield Metric(
            f"memcpy.{name}.throughput",
            "B/s",
            "timed",
            f"bytes over the durations of copies, {what}",
            worse="down",
            ratio=Ratio((f"memcpy.{name}.bytes",), (f"memcpy.{name}.time",), 1e9),
        )


def _sampled_metrics() -> Iterable[Metric]:
    names = {
        "sm.active": "multiprocessors with at least one warp",
        "tensor.active": "tensor cores at work",
        "dram.read": "device memory's bandwidth used by reads",
        "dram.write": "device memory's bandwidth used by writes",
        "pcie.rx": "PCIe's bandwidth used by what the GPU receives",
        "pcie.tx": "PCIe's bandwidth used by what the GPU sends",
    }
    for key, what in names.items():
        yield Metric(
            key,
            "%",
            "timed",
            f"{what}: mean of the samples in the window (GPU_METRICS; ask for them with "
            "--gpu-metrics-devices in nsys_args)",
            worse="up" if key.startswith(("dram", "pcie")) else "down",
            combine="mean",
        )


def _state_metrics() -> Iterable[Metric]:
    metrics: tuple[tuple[str, Unit, Literal["up", "down"], str], ...] = (
        ("gpu.sm_clock", "Hz", "down", "clock of the multiprocessors"),
        ("gpu.memory_clock", "Hz", "down", "clock of the device memory"),
        ("gpu.temperature", "°C", "up", "temperature of the GPU"),
        ("gpu.power", "W", "up", "power that the GPU draws"),
    )
    for key, unit, worse, what in metrics:
        yield Metric(
            key,
            unit,
            "timed",
            f"{what}: mean of before and after the round, over the GPUs that the test process "
            "uses, or of the busiest where these are not known (NVML, not the capture)",
            worse=worse,
            combine="mean",
        )


FLOPS_PER_S = "gpu.flops_per_s"
BYTES_PER_S = "gpu.bytes_per_s"
PCT_PEAK_FLOPS = "gpu.pct_peak_flops"
PCT_PEAK_BW = "gpu.pct_peak_bw"
WORK_FLOPS = "work.flops"
WORK_BYTES = "work.bytes"


def _work_metrics() -> Iterable[Metric]:
    """Of work that tests say they do: `nsys.units(flops=..., bytes=...)`."""
    yield Metric(
        WORK_FLOPS,
        "FLOP",
        "exact",
        "floating-point operations of a round, as the test says (nsys.units(flops=...))",
    )
    yield Metric(
        WORK_BYTES,
        "B",
        "exact",
        "bytes of device memory that a round reads and writes, as the test says "
        "(nsys.units(bytes=...))",
    )
    yield Metric(
        FLOPS_PER_S,
        "FLOP/s",
        "timed",
        "work.flops over gpu.busy, the time in which the GPU did anything",
        worse="down",
        ratio=Ratio((WORK_FLOPS,), ("gpu.busy",), 1e9),
    )
    yield Metric(
        BYTES_PER_S,
        "B/s",
        "timed",
        "work.bytes over gpu.busy",
        worse="down",
        ratio=Ratio((WORK_BYTES,), ("gpu.busy",), 1e9),
    )
    yield Metric(
        PCT_PEAK_FLOPS,
        "%",
        "timed",
        "gpu.flops_per_s over what NVIDIA's data sheet says of the GPU's model in the precision "
        "that the test names (dense; nsys.units(flops=..., precision=...))",
        worse="down",
        combine="mean",
    )
    yield Metric(
        PCT_PEAK_BW,
        "%",
        "timed",
        "gpu.bytes_per_s over the bandwidth of the GPU's memory, as the capture says it "
        "(TARGET_INFO_GPU.memoryBandwidth)",
        worse="down",
        combine="mean",
    )


_CLIENT_TOLERANCE = Tolerance(0.10)
_COARSE = Tolerance(0.20)


def _client_metrics() -> Iterable[Metric]:
    times = {
        "ttft": "time to first token: from sending a request to the first of its answer",
        "tpot": "time per output token after the first, of one request",
        "latency": "from sending a request to the end of its answer",
    }
    statistics = {
        "mean": "mean over the round's requests",
        "p50": "median over the round's requests",
        "p95": "95th percentile over the round's requests",
        "p99": "99th percentile over the round's requests",
    }
    for time, what in times.items():
        for statistic, over in statistics.items():
            yield Metric(
                f"{CLIENT}{time}_{statistic}",
                "ns",
                "timed",
                f"{what}; {over} (measured by the client)",
                _CLIENT_TOLERANCE,
                combine="mean",
                side="host",
            )
    for key, what in {"tokens": "output tokens", "requests": "answered requests"}.items():
        yield Metric(
            f"{CLIENT}{key}_per_s",
            "1/s",
            "timed",
            f"{what} per second of the round (measured by the client)",
            _CLIENT_TOLERANCE,
            worse="down",
            combine="mean",
            side="host",
        )
    yield Metric(
        f"{CLIENT}in_flight",
        "1",
        "timed",
        "requests in flight, mean over the round: their latencies together over its time",
        combine="mean",
        side="host",
    )
    counts = {
        "requests": "requests that were sent in the round",
        "errors": "requests of them that failed",
        "output_tokens": "tokens that the server answered",
        "prompt_tokens": "tokens that the server was sent, as it counts them",
    }
    for key, what in counts.items():
        yield Metric(
            f"{CLIENT}{key}",
            "1",
            "exact",
            f"{what} (counted by the client)",
            worse="up" if key == "errors" else "down",
            side="host",
        )


def _process_metrics() -> Iterable[Metric]:
    yield Metric(
        "process.count",
        "1",
        "exact",
        "processes that launched kernels, where there are several (KERNEL.globalPid): the ranks of "
        "a tensor-parallel server",
        combine="max",
    )
    yield Metric(
        "process.skew_pct",
        "%",
        "timed",
        "by how much the kernel time of the process with the most is above the mean of all that "
        "launched kernels, where there are several: 0 where the ranks share the work evenly; "
        "communication kernels are left out, for they last until the slowest rank has come",
        combine="mean",
    )


def _side(key: str) -> Literal["gpu", "host"]:
    return "gpu" if key.endswith(".kernel_time") else "host"


def _step_metrics() -> Iterable[Metric]:
    """Of what a server does in steps, where clients counted its output tokens."""
    a_step = "a step ends where sampled tokens are copied to the host"
    metrics: tuple[tuple[str, Unit, Kind, Combine, str], ...] = (
        (
            "step.count",
            "1",
            "exact",
            "sum",
            f"steps of the engine, found in what it launches: {a_step} (MEMCPY, copyKind 2)",
        ),
        ("step.time", "ns", "timed", "median", "median of the time from step to step"),
        (
            "step.gap",
            "ns",
            "timed",
            "median",
            "median of the time that the GPU is idle between two steps: scheduler, detokenisation",
        ),
        (
            "step.idle",
            "ns",
            "timed",
            "median",
            "median of the time that the GPU is idle within a step: launches, preparation of its "
            "inputs, waits",
        ),
        ("step.graphs", "1", "exact", "median", "median of the CUDA graphs that a step launches"),
        (
            "prefill.steps",
            "1",
            "exact",
            "sum",
            "steps that hold prompts (and the decoding requests that an engine puts beside them): "
            "all but decode.steps; known where both are",
        ),
        (
            "prefill.kernel_time",
            "ns",
            "timed",
            "sum",
            "the part of gpu.kernel_time in them",
        ),
        (
            "decode.steps",
            "1",
            "exact",
            "sum",
            "steps that only decode: those launched as exactly one CUDA graph",
        ),
        (
            "decode.kernel_time",
            "ns",
            "timed",
            "sum",
            "the part of gpu.kernel_time in them",
        ),
    )
    for key, unit, kind, combine, about in metrics:
        yield Metric(key, unit, kind, about, combine=combine, side=_side(key))
    yield Metric(
        "step.tokens",
        "1",
        "timed",
        "output tokens per step: the batch, as far as it decodes",
        worse="down",
        ratio=Ratio((f"{CLIENT}output_tokens",), ("step.count",)),
        side="host",
    )
    yield Metric(
        "decode.step_kernel_time",
        "ns",
        "timed",
        "decode.kernel_time over decode.steps",
        ratio=Ratio(("decode.kernel_time",), ("decode.steps",)),
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        "gpu.kernel_time",
        "ns",
        "timed",
        "sum of end - start over KERNEL rows (nsys: cuda_gpu_kern_sum); and over GRAPH_TRACE rows, "
        "whole CUDA graphs, where those of their kernels are not listed (--cuda-graph-trace=graph)",
        Tolerance(0.03, 5e3),
        gated=True,
        breakdown="kernels",
    ),
    Metric(
        "gpu.kernel_count",
        "1",
        "exact",
        "KERNEL rows, and whole CUDA graphs where those of their kernels are not listed",
        Tolerance(),
        gated=True,
        breakdown="kernels",
    ),
    Metric(
        "gpu.busy",
        "ns",
        "timed",
        "length of the union of the intervals of GPU operations (KERNEL, MEMCPY, MEMSET, and "
        "GRAPH_TRACE), per device, summed over devices",
        breakdown="kernels",
    ),
    Metric(
        "gpu.idle",
        "ns",
        "timed",
        "GPU span (start of the first operation to end of the last, on any device) minus the "
        "busy time, summed over the devices that were used",
    ),
    Metric(
        "gpu.busy_pct",
        "%",
        "timed",
        "gpu.busy over the GPU span",
        Tolerance(absolute=3.0),
        worse="down",
        ratio=Ratio(("gpu.busy",), ("gpu.busy", "gpu.idle"), 100.0),
    ),
    Metric(
        "gpu.max_gap",
        "ns",
        "timed",
        "the longest time within the GPU span in which a device that was used did nothing",
        combine="max",
    ),
    *_work_metrics(),
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
        "um.bytes",
        "B",
        "exact",
        "unified memory migrated (MEMCPY, copyKind 11 to 13; ask for it with "
        "--cuda-um-gpu-page-faults=true and --cuda-um-cpu-page-faults=true in nsys_args)",
        Tolerance(0.05, _MIB),
    ),
    Metric(
        "um.faults",
        "1",
        "exact",
        "page faults on unified memory, of GPUs and CPUs (CUDA_UM_GPU_PAGE_FAULT_EVENTS, "
        "CUDA_UM_CPU_PAGE_FAULT_EVENTS; ask for them as for um.bytes)",
        Tolerance(0.05, 1),
    ),
    Metric(
        "sync.count",
        "1",
        "exact",
        "calls that block the host until the device is done: cuda{Device,Thread,Stream,Event}"
        "Synchronize, cu{Ctx,Stream,Event}Synchronize, in all their versions (RUNTIME rows, by "
        "name)",
        Tolerance(),
        gated=True,
        breakdown="syncs",
        side="host",
    ),
    Metric("sync.time", "ns", "timed", "host time in those calls", breakdown="syncs", side="host"),
    Metric(
        "sync.exposed",
        "ns",
        "timed",
        "the part of that time (union over threads) in which no device did anything",
        breakdown="syncs",
        side="host",
    ),
    Metric(
        "mem.peak",
        "B",
        "exact",
        "highest live device memory during the test's rounds minus what was live before them, "
        "caches released (CUDA_GPU_MEMORY_USAGE_EVENTS: device, array, managed, static)",
        Tolerance(0.02, 16 * _MIB),
        gated=True,
        breakdown="allocations",
        combine="max",
    ),
    Metric(
        "mem.peak_total",
        "B",
        "exact",
        "highest live device memory during the test's rounds",
        breakdown="allocations",
        combine="max",
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
    Metric(
        "mem.pool_peak",
        "B",
        "exact",
        "highest use of stream-ordered memory pools during the test's rounds "
        "(localMemoryPoolUtilizedSize, summed over pools)",
        combine="max",
    ),
    Metric(
        "nccl.time",
        "ns",
        "timed",
        "sum of the durations of communication kernels (category comm)",
        breakdown="kernels",
    ),
    Metric(
        "nccl.exposed",
        "ns",
        "timed",
        "time in which a device ran communication kernels and no others, summed over devices",
        breakdown="kernels",
    ),
    Metric(
        "graph.launches",
        "1",
        "exact",
        "CUDA graph launches (RUNTIME rows)",
        Tolerance(),
        side="host",
    ),
    Metric(
        "launch.latency",
        "ns",
        "timed",
        "median, over kernels outside CUDA graphs, of the kernel's start minus the start of the "
        "call that launched it",
        combine="median",
    ),
    Metric(
        "api.count",
        "1",
        "exact",
        "CUDA API calls (RUNTIME rows)",
        breakdown="calls",
        side="host",
    ),
    Metric(
        "api.time",
        "ns",
        "timed",
        "length of the union, over all threads, of CUDA API calls (nsys sums them: cuda_api_sum)",
        breakdown="calls",
        side="host",
    ),
    Metric(
        "wall.time",
        "ns",
        "timed",
        "the window's duration on the host (its NVTX range, or a round's time by the client's "
        "clock)",
        side="host",
    ),
    *_process_metrics(),
    *_client_metrics(),
    *_step_metrics(),
    *_sampled_metrics(),
    *_state_metrics(),
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
        side="host",
    ),
    Metric(
        "api[NAME].time",
        "ns",
        "timed",
        "host time in CUDA API calls of this name (nsys: cuda_api_sum)",
        breakdown="calls",
        side="host",
    ),
)

RANGE_KEY = "range[NAME].METRIC"
RANGE_ABOUT = (
    "any of the above but mem.*, client.* and those of work, of steps and of NVML in those of the "
    "program's own NVTX ranges whose name (text, or DOMAIN:TEXT) matches the pattern NAME and that "
    "began in the window: what their process did in them; several of them as one"
)

_BY_KEY = {metric.key: metric for metric in METRICS}
_ADDED: dict[str, tuple[Metric, Compute]] = {}

CLIENT_METRICS = frozenset(metric.key for metric in _client_metrics())
"""What a client measures of its requests to a server."""

SAID_BY_TESTS: Mapping[str, str] = {
    **dict.fromkeys((WORK_FLOPS, FLOPS_PER_S), "nsys.units(flops=...)"),
    **dict.fromkeys((WORK_BYTES, BYTES_PER_S), "nsys.units(bytes=...)"),
    PCT_PEAK_FLOPS: 'nsys.units(flops=..., precision="bf16")',
    PCT_PEAK_BW: "nsys.units(bytes=...)",
}
"""The metrics of work that a test says it does, and what each takes."""

_NOT_OF_RANGES: Mapping[str, str] = {
    **dict.fromkeys(SAID_BY_TESTS, "work is said of the parts of tests that nsys.range names"),
    **dict.fromkeys(CLIENT_METRICS, "a client measures whole rounds"),
    **{metric.key: "steps are those of whole rounds" for metric in _step_metrics()},
    **{metric.key: "NVML is asked before and after whole rounds" for metric in _state_metrics()},
    **{
        key: "memory is measured over all rounds of a test"
        for key in _BY_KEY
        if key.startswith("mem.")
    },
}
"""The metrics that ranges do not have, and why."""

COUNTED_UNITS: Mapping[str, str] = {
    "token": f"{CLIENT}output_tokens",
    "request": f"{CLIENT}requests",
}
"""Units that are not declared but counted in each round, and the metric that has their number."""

SERVER_GATES: Mapping[str, Tolerance] = {
    "gpu.kernel_time.per_token": Tolerance(0.05),
    f"{CLIENT}ttft_p50": _COARSE,
    f"{CLIENT}tokens_per_s": _COARSE,
}
"""What is gated without being named where clients load a server, and with what tolerance.

What clients see scatters from one start of a server to the next: what is gated unasked must be wide
enough to be told from that by one start, and few, as all gates of a test share its false alarms.
"""
_FAMILY_BY_SHAPE = {metric.key: metric for metric in FAMILIES}
_FAMILY = re.compile(r"(kernel|category|api)\[(.+)\]\.(\w+)", re.DOTALL)
_RANGE = re.compile(r"range\[(.+?)\]\.(.+)", re.DOTALL)
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


def inner_family(key: str) -> FamilyKey | None:
    """The parts of a parametrised key, also of one in a range or per unit; None for others."""
    bare = undivided(key)
    in_range = parse_range(bare)
    return parse_family(in_range[1] if in_range else bare)


def parse_range(key: str) -> tuple[str, str] | None:
    """``("fwd", "gpu.busy")`` for ``range[fwd].gpu.busy``, else None."""
    match = _RANGE.fullmatch(key)
    return (match[1], match[2]) if match else None


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
    if key in _ADDED:
        return _ADDED[key][0]
    in_range = parse_range(key)
    if in_range is not None:
        why = _NOT_OF_RANGES.get(undivided(in_range[1]))
        if why is not None:
            raise UnknownMetric(
                f"there is no metric {key!r}: {why}",
                remedy=f"name {in_range[1]}, or another metric of the range",
            )
        # A window's breakdown is not that of the ranges in it.
        return replace(lookup(in_range[1]), key=key, gated=False, breakdown=None)
    family = parse_family(key)
    if family is not None:
        return replace(_FAMILY_BY_SHAPE[f"{family.family}[NAME].{family.measure}"], key=key)
    per_unit = split_per_unit(key)
    if per_unit is not None:
        whole = lookup(per_unit[0])
        tolerance = whole.tolerance and Tolerance(relative=whole.tolerance.relative)
        return replace(whole, key=key, tolerance=tolerance, gated=False)
    raise UnknownMetric(f"there is no metric {key!r}", remedy=suggest(key, metric_names()))


def is_known(key: str) -> bool:
    """Whether there is a metric of this key."""
    with suppress(UnknownMetric):
        return bool(lookup(key))
    return False


_MAY_BE_NEGATIVE = ("launch.latency",)
"""Of times: its two ends are of two clocks."""


def is_never_negative(key: str) -> bool:
    """Whether the metric is a time or a number of something, as this package measures it."""
    if key in _ADDED or not is_known(key):
        return False
    metric = lookup(key)
    return metric.unit in ("ns", "1") and not any(part in key for part in _MAY_BE_NEGATIVE)


def default_tolerance(metric: Metric, gates: Gates = "test") -> Tolerance | None:
    """The tolerance that a metric is gated with where nobody names it; None where it is not gated.

    Metrics that a project adds are gated everywhere or nowhere, as they say themselves.
    """
    if gates == "server" and undivided(metric.key) in _BY_KEY:
        return SERVER_GATES.get(metric.key)
    return metric.tolerance if metric.gated else None


def default_gates(gates: Gates) -> tuple[Metric, ...]:
    """The metrics that are gated where nobody names them, in the catalogue's order."""
    known = {one.key: one for one in (*plain_metrics(), *map(lookup, SERVER_GATES))}
    return tuple(one for one in known.values() if default_tolerance(one, gates) is not None)


def is_gated(metric: Metric) -> bool:
    """Whether the metric is gated in any window where nobody names it."""
    return metric.gated or metric.key in SERVER_GATES


def metric_names() -> list[str]:
    """Every key, with ``NAME`` in parametrised ones; added ones last."""
    families = [metric.key for metric in FAMILIES]
    return [*_BY_KEY, *families, RANGE_KEY, *_ADDED]


def add_metric(metric: Metric, compute: Compute) -> None:
    """Make a metric that is not of this package known, until `remove_metric`.

    Raises:
        ValueError: its key is taken.
    """
    with suppress(UnknownMetric):
        raise ValueError(f"there is a metric {lookup(metric.key).key!r} already")
    _ADDED[metric.key] = metric, compute


def plain_metrics() -> tuple[Metric, ...]:
    """The metrics without a parameter: those of this package, and those that were added."""
    return (*METRICS, *(metric for metric, _ in _ADDED.values()))


def added_metrics() -> dict[str, Compute]:
    """The keys of the metrics that were added, in that order, and what computes each."""
    return {key: compute for key, (_, compute) in _ADDED.items()}


def remove_metric(key: str) -> None:
    """Forget an added metric."""
    del _ADDED[key]
