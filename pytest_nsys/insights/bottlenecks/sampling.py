"""Rules on sampled GPU metrics: what the hardware did while kernels ran.

A sample is the mean over the time since the one before it. It is set against how much of that time
kernels ran: SMs and tensor cores do nothing outside kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck, percent, shortened
from pytest_nsys.insights.bottlenecks.view import View, length
from pytest_nsys.metrics.sampled import SAMPLED
from pytest_nsys.support.arrays.intervals import Intervals, length_before
from pytest_nsys.support.arrays.rows import Flags, Ints

SAMPLES_LEAST = 5
"""Samples that must fall on the kernels in question; nsys takes one each 0.1 ms by default."""

CONCERNED = 0.2
"""Part of the time observed that the kernels in question must take."""

MOSTLY = 0.8
"""A sample speaks for kernels that ran for at least this part of all the time in it in which any
kernel ran."""

SM_LOW = 40.0
"""Percent of SMs that hold work, mean while kernels ran: below, most of the GPU has no block to run
and the kernels' grids are too small, or one long block holds up the rest."""

TENSOR_LOW = 20.0
"""Percent of the peak of tensor cores, mean while matrix kernels ran. Large products reach 60 to
90; fp32 without TF32 reaches 0."""

MEMORY_LOW = 40.0
"""Percent of the peak bandwidth of device memory, reads and writes together, mean while kernels ran
that do little but move data. Such kernels reach 70 to 90 on large arrays."""

MATRIX = frozenset({"gemm", "conv", "attention"})
STREAMING = frozenset({"elementwise", "norm", "reduce", "copy"})

RUNNING = 0.25
"""Part of a sample's time in which the kernels must have run. Values are whole percents, so a lower
part would make more of the rounding than of the kernels."""

_SMS = ("sm.active",)
_TENSOR = ("tensor.active",)
_MEMORY = ("dram.read", "dram.write")


@dataclass(frozen=True)
class _Activity:
    """What a metric says of some kernels: its mean while they ran, and over how many samples."""

    percent: float
    samples: int
    ran: int


def low_sm_activity(view: View) -> Bottleneck | None:
    """While kernels run, most SMs have nothing to do."""
    every = np.ones(len(view.background.kernels.codes), dtype=np.bool_)
    sms = _activity(view, _SMS, every)
    if sms is None or sms.percent >= SM_LOW:
        return None
    return Bottleneck(
        "low-sm-activity",
        view.share(sms.ran),
        f"While kernels ran, {sms.percent:.0f}% of the SMs were active on average.",
        (_line(view, "SMs active", sms), *_longest(view, every)),
        "Give each kernel more blocks: a larger batch, more heads or split-K; or run independent"
        " kernels side by side on several streams (or MPS, or MIG).",
    )


def low_tensor_activity(view: View) -> Bottleneck | None:
    """Kernels that multiply matrices hardly use tensor cores, and memory is no reason for it."""
    matrix = view.background.in_categories(MATRIX)
    tensor = _activity(view, _TENSOR, matrix)
    memory = _activity(view, _MEMORY, matrix)
    if tensor is None or tensor.percent >= TENSOR_LOW:
        return None
    if memory is not None and memory.percent >= MEMORY_LOW:
        return None  # products with few rows are limited by memory, as they should be
    return Bottleneck(
        "low-tensor-activity",
        view.share(tensor.ran),
        f"While matrix kernels ran, tensor cores were {tensor.percent:.0f}% active on average.",
        (
            _line(view, "tensor cores active", tensor),
            *([] if memory is None else [_line(view, "memory bandwidth", memory)]),
            *_longest(view, matrix),
        ),
        "Use types that run on tensor cores (bf16, fp16, fp8; TF32 for fp32:"
        " torch.set_float32_matmul_precision('high')), dimensions that are multiples of 64, and"
        " larger products: batch small ones together.",
    )


def low_memory_throughput(view: View) -> Bottleneck | None:
    """Kernels that only move data are far from the memory's bandwidth."""
    streaming = view.background.in_categories(STREAMING)
    memory = _activity(view, _MEMORY, streaming)
    if memory is None or memory.percent >= MEMORY_LOW:
        return None
    return Bottleneck(
        "low-memory-throughput",
        view.share(memory.ran),
        "While kernels that only move data ran, the memory was at"
        f" {memory.percent:.0f}% of its bandwidth on average.",
        (_line(view, "memory bandwidth", memory), *_longest(view, streaming)),
        "See that neighbouring threads read neighbouring addresses (contiguous tensors,"
        " channels_last), that arrays are large enough to fill the GPU, and that accesses are"
        " vectorised; fuse such kernels with their neighbours (torch.compile).",
    )


def _activity(view: View, metrics: tuple[str, ...], kernels: Flags) -> _Activity | None:
    """Mean of the sum of the metrics while the kernels ran; None where too little is known."""
    if len(view.cut.trace.samples) == 0:
        return None
    ran = view.kernels(kernels)
    if view.share(length(ran)) < CONCERNED:
        return None
    everything = view.kernels()
    weighted, weights, found = 0.0, 0.0, 0
    for group, device in enumerate(view.devices):
        time, value, period = _series(view, device, metrics)
        if len(time) == 0:
            continue
        here = _covered(ran, group, time, period)
        total = _covered(everything, group, time, period)
        inside = _covered(view.observed, group, time, period)
        # A sample that reaches out of the windows, or holds other kernels, says little of these.
        good = (here >= RUNNING * period) & (here >= MOSTLY * total) & (inside >= MOSTLY * period)
        weighted += float((value[good] * period[good]).sum())
        weights += float(here[good].sum())
        found += int(np.count_nonzero(good))
    if found < SAMPLES_LEAST:
        return None
    return _Activity(min(weighted / weights, 100.0), found, length(ran))


def _series(view: View, device: int, metrics: tuple[str, ...]) -> tuple[Ints, Ints, Ints]:
    """Times, sums of the metrics' values, and the time that each stands for, of one device."""
    samples, sampled = view.cut.trace.samples, view.cut.trace.sampled
    patterns = [SAMPLED[metric] for metric in metrics]
    wanted = [key for key, name in sampled.items() if any(p.fullmatch(name) for p in patterns)]
    mine = (samples["device"].to_numpy() == device) & np.isin(samples["metric"].to_numpy(), wanted)
    time, at = np.unique(samples["time"].to_numpy()[mine], return_inverse=True)
    sums = np.zeros(len(time), dtype=np.int64)
    np.add.at(sums, at, samples["value"].to_numpy()[mine])
    if len(time) < 2:
        return time[:0], sums[:0], time[:0]
    steps = np.diff(time)
    # After a pause in sampling, a sample stands for the usual time and not for all of the pause.
    period = np.minimum(np.concatenate([steps[:1], steps]), 2 * int(np.median(steps)))
    return time, sums, period


def _covered(intervals: Intervals, group: int, time: Ints, period: Ints) -> Ints:
    mine = intervals.only(intervals.group == group)
    return length_before(mine, time) - length_before(mine, time - period)


def _line(view: View, what: str, activity: _Activity) -> str:
    return (
        f"{what}: {activity.percent:.0f}%, over {activity.samples} samples;"
        f" the kernels ran for {view.time(activity.ran)}, {percent(activity.ran, view.total)} of"
        " the time"
    )


def _longest(view: View, kernels: Flags) -> list[str]:
    """The three kernels among these that take the most time."""
    chosen = view.of_table("kernels", kernels)
    operations, names = view.operations, view.background.kernels
    codes = names.codes[operations.row[chosen]]
    took = operations.end[chosen] - operations.start[chosen]
    sums = np.bincount(codes, weights=took, minlength=len(names.raw))
    counts = np.bincount(codes, minlength=len(names.raw))
    canonical = view.background.naming.canonical
    return [
        f"{view.count(int(counts[code]))}x {shortened(canonical(names.raw[code]))}:"
        f" {view.time(sums[code])}"
        for code in np.argsort(-sums, kind="stable")[:3]
        if counts[code]
    ]
