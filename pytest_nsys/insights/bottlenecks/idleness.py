"""Rules on why devices were idle: the host, synchronisation, launches."""

from __future__ import annotations

import numpy as np

from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck, percent
from pytest_nsys.insights.bottlenecks.gaps import BRIEF, IdleCause
from pytest_nsys.insights.bottlenecks.view import View, length
from pytest_nsys.support.arrays.intervals import Intervals, intersection, length_before, merged
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.support.units import format_amount
from pytest_nsys.trace.calls import CallClass

HOST_IDLE = 0.3
"""Part of the time a device must be idle for the host's sake. nsys's own rule asks for half of it;
a test's window is short, so the beginning and the end, which no program can fill, count for more
than in a long run, and what is below a third is often nothing else."""

HOST_IDLE_LEAST = BRIEF
"""ns per window. A range around one operation is idle for so long even if all is well."""

WAIT_IDLE = 0.15
"""Part of the time a device must be idle after synchronisations: what removing them can win."""

WAIT_GAPS = 3
"""Gaps per window that begin in a synchronisation. One at the end of a window is how a test waits
for its result."""

LAUNCH_IDLE = 0.15
"""Part of the time a device must be idle between operations that are shorter than their launch. A
CUDA graph wins about this much; below, it is not worth its constraints."""

NAMED = 3
"""Functions that a line of evidence names."""


def host_bound(view: View) -> Bottleneck | None:
    """The devices are idle because the host has not given them work."""
    gaps = view.gaps.of(IdleCause.HOST)
    idle = length(gaps)
    share = view.share(idle)
    least = HOST_IDLE_LEAST * view.instances
    if not view.devices or share < HOST_IDLE or idle < least:
        return None
    rows, during = _calls_in(view, gaps)
    outside = idle - length(intersection(merged(view.call_intervals(rows)), gaps))
    named = view.functions(np.concatenate(rows), np.concatenate(during))
    evidence = [
        f"{view.many(len(gaps), 'gap')}, {view.time(idle)} together,"
        f" the longest {format_amount(int((gaps.end - gaps.start).max()), 'ns')}",
        f"{percent(outside, idle)} of it the host was in no CUDA call",
        *(
            f"{percent(ns, idle)} of it in {name} ({view.many(count, 'call')})"
            for name, count, ns in named[:NAMED]
            if ns >= 0.01 * idle
        ),
        *_after_waits(view, IdleCause.HOST),
        *_steps(view),
    ]
    return Bottleneck(
        "host-bound",
        share,
        f"The GPU is idle for {percent(idle, view.total)} of {view.scope} because the host"
        " gives it no work.",
        tuple(evidence),
        _host_advice(view, rows, during, idle, outside),
    )


def sync_bound(view: View) -> Bottleneck | None:
    """The host waits until the device has run dry, and only then launches on."""
    chosen = view.gaps.cause == IdleCause.WAIT
    gaps = view.gaps.intervals.only(chosen)
    idle = length(gaps)
    share = view.share(idle)
    if len(gaps) < WAIT_GAPS * view.instances or share < WAIT_IDLE:
        return None
    named = view.functions(view.gaps.waited[chosen], gaps.end - gaps.start)
    evidence = [
        f"{view.many(count, 'gap')} after {name}: {view.time(ns)} together,"
        f" {format_amount(ns / count, 'ns')} each"
        for name, count, ns in named[:NAMED]
    ]
    evidence += _steps(view)
    return Bottleneck(
        "sync-bound",
        share,
        f"The GPU is idle for {percent(idle, view.total)} of {view.scope} after"
        f" {view.count(len(gaps))} waits for it: it runs dry before the host launches on.",
        tuple(evidence),
        "Have the engine wait once a step, for the tokens, and with the next step already launched"
        " (asynchronous or overlap scheduling): what else it reads in each step (log"
        " probabilities, hidden states, .item()) makes it wait again."
        if view.serving
        else "Wait once, at the end: collect results on the device and read them together instead"
        " of .item(), .cpu(), print() or a Python condition in each step; torch.where instead of"
        " if; copy to pinned memory with non_blocking=True and look at it one step later.",
    )


def launch_bound(view: View) -> Bottleneck | None:
    """Kernels are shorter than the calls that launch them, so the device waits for each."""
    if not view.launch_limited:
        return None
    gaps = view.gaps.of(IdleCause.LAUNCH)
    idle = length(gaps)
    share = view.share(idle)
    if share < LAUNCH_IDLE:
        return None
    kernels = view.of_table("kernels")
    short = view.short & kernels
    operations = view.operations
    took = operations.end[short] - operations.start[short]
    launch = view.background.call_durations[operations.call[short]]
    return Bottleneck(
        "launch-bound",
        share,
        f"The GPU is idle for {percent(idle, view.total)} of {view.scope} between kernels that are"
        " shorter than their launch.",
        (
            f"{view.count(len(took))} of {view.count(int(np.count_nonzero(kernels)))} kernels are"
            f" shorter than their launch: {format_amount(float(np.median(took)), 'ns')} against"
            f" {format_amount(float(np.median(launch)), 'ns')} (medians)",
            f"{view.many(len(gaps), 'gap')} of less than {format_amount(BRIEF, 'ns')} before them,"
            f" {view.time(idle)} together",
            *view.most_frequent(short, NAMED),
            *_steps(view),
        ),
        view.serving.advice()
        if view.serving
        else "Capture the step in a CUDA graph (torch.cuda.graph, or"
        " torch.compile(mode='reduce-overhead')), or make fewer and longer kernels: fuse them"
        " (torch.compile), use the foreach or fused variants, take a larger batch.",
    )


def _calls_in(view: View, gaps: Intervals) -> tuple[list[Ints], list[Ints]]:
    """Per device, the calls that lie in its gaps, and for how long each does, ns."""
    starts, ends = view.background.column("calls", "start"), view.background.column("calls", "end")
    found, during = [], []
    for group, rows in enumerate(view.calls):
        mine = gaps.only(gaps.group == group)
        if len(mine):  # most calls are in no gap: look at the first that they could be in
            first = np.searchsorted(mine.end, starts[rows], side="right")
            within = first < len(mine)
            within[within] = mine.start[first[within]] < ends[rows[within]]
            rows = rows[within]
        inside = length_before(mine, ends[rows]) - length_before(mine, starts[rows])
        found.append(rows[inside > 0])
        during.append(inside[inside > 0])
    return found, during


def _after_waits(view: View, cause: IdleCause) -> list[str]:
    """A line on gaps that began while the host waited, if there are any."""
    waited = view.gaps.waited[(view.gaps.cause == cause) & (view.gaps.waited >= 0)]
    if len(waited) == 0:
        return []
    name = view.functions(waited)[0][0]
    return [f"{view.count(len(waited))} of the gaps began in a wait for the GPU, mostly {name}"]


def _steps(view: View) -> list[str]:
    """A line on the steps of the server whose windows these are, if they are those of one."""
    return [*view.serving.evidence()] if view.serving else []


def _host_advice(view: View, rows: list[Ints], during: list[Ints], idle: int, outside: int) -> str:
    classes = view.background.call_classes[np.concatenate(rows)]
    loading = int(np.concatenate(during)[classes == CallClass.LOADING].sum())
    launching = idle - outside - loading
    if loading >= max(outside, launching):
        return (
            "Kernels are loaded when they are first launched: measure after more warm-up rounds, or"
            " load them at start-up (CUDA_MODULE_LOADING=EAGER)."
        )
    if view.serving:
        return view.serving.advice()
    if outside >= launching:
        return (
            "Find out what the CPU does in the gaps (py-spy, or nsys with --sample=cpu) and take it"
            " off the step: prepare inputs in DataLoader workers and prefetch them, launch the next"
            " step before reading the results of this one, compile the step (torch.compile) or"
            " capture it in a CUDA graph."
        )
    return (
        "The host is slow to launch: capture the step in a CUDA graph (torch.cuda.graph,"
        " torch.compile(mode='reduce-overhead')), fuse small operations, and keep the CUDA calls"
        " named above out of the step."
    )
