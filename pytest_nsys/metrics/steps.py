"""Steps of an inference engine, found in what it launches, and metrics made of them.

An engine that generates text works in steps: it launches one forward pass over whatever requests
are in the batch, and copies the tokens that it has sampled to the host, as the next step, or the
client, needs them. So a copy to the host ends a step. A copy that has next to no kernels of its
own before it (a flag after the tokens, the hidden states before the sampling) ends none: forward
passes of one model have about equally many kernels, whatever is in the batch.

Engines that have captured their decode steps launch each of them as one CUDA graph, and steps that
hold prompts otherwise: kernel by kernel, or as a graph for each part between attentions. That tells
the two apart. Where it does not, nothing is said of either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pytest_nsys.support.arrays.rows import Flags, Floats, Ints, Members
from pytest_nsys.trace.schema import MemcpyKind
from pytest_nsys.windows.cut import Cut

STEP_METRICS = (
    "step.count",
    "step.time",
    "step.gap",
    "step.idle",
    "step.graphs",
    "prefill.steps",
    "prefill.kernel_time",
    "decode.steps",
    "decode.kernel_time",
)

SMALL = 0.25
"""What has less than this part of a typical step's kernels is no step of its own."""

GRAPH_KERNELS = 100
"""So many kernels count for the whole CUDA graphs between two copies, whose own are not listed."""

ALIKE = 2.0
"""Steps have at most so many times as many kernels as others have: the tenth of them with most as
that with fewest. Otherwise what was found are no steps."""

STEPS_PER_TOKEN = 1.5
"""There are at most so many steps for each output token and request: each gives a token to a
request, or takes a part of a prompt."""


@dataclass(frozen=True)
class Steps:
    """The steps of one window, a row each: those of one thread of one process after the other.

    Attributes:
        thread: number of the thread that launched it.
        process: number of its process.
        kernels: how many kernels it has, those of CUDA graphs included where they are listed.
        kernel_ns: their time; that of whole graphs where theirs are not listed.
        graphs: how many CUDA graphs it launched.
        ended: when the copy that ends it was launched, ns; -1 where the window ended before.
        gap: how long its devices were idle before it, since the step before, ns.
        idle: how long they were idle in it, ns.
        listed: whether the kernels of CUDA graphs are listed.
    """

    thread: Ints
    process: Ints
    kernels: Ints
    kernel_ns: Ints
    graphs: Ints
    ended: Ints
    gap: Ints
    idle: Ints
    listed: bool

    def __len__(self) -> int:
        return len(self.thread)

    @property
    def decoding(self) -> Flags | None:
        """Which steps only decode; None where steps with prompts are launched alike."""
        alone: Flags = self.graphs == 1
        return alone if alone.any() and not alone.all() else None

    @property
    def periods(self) -> Ints:
        """From the end of a step to that of the next of its thread, ns."""
        known = self.ended >= 0
        ended, thread = self.ended[known], self.thread[known]
        periods: Ints = np.diff(ended)[np.diff(thread) == 0]
        return periods

    def count(self, chosen: Flags | None = None) -> int:
        """How many steps there are, of those that are chosen; ranks take each step together."""
        processes = self.process if chosen is None else self.process[chosen]
        return int(np.bincount(processes).max(initial=0))

    def are_plausible(self, tokens: float, requests: float) -> bool:
        """Whether these can be the steps that answered so many requests with so many tokens."""
        if not 2 <= self.count() <= STEPS_PER_TOKEN * (tokens + requests):
            return False
        few, many = np.percentile(self.kernels, (10, 90))
        return not self.listed or bool(0 < many <= ALIKE * few)


def step_values(cut: Cut, tokens: Floats, requests: Floats) -> dict[str, Floats]:
    """Per metric of steps, one value per window; NaN where it has none.

    Args:
        cut: the windows.
        tokens: that clients were answered in each; NaN where no client counted them.
        requests: that they sent.
    """
    found = {key: np.full(len(cut), np.nan) for key in STEP_METRICS}
    for window in np.flatnonzero(tokens > 0).tolist():
        steps = find_steps(cut, window)
        if steps is not None and steps.are_plausible(tokens[window], requests[window]):
            for key, value in _values(steps):
                found[key][window] = value
    return {key: values for key, values in found.items() if not np.isnan(values).all()}


def _values(steps: Steps) -> Iterator[tuple[str, float]]:
    yield "step.count", steps.count()
    if len(steps.periods):
        yield "step.time", float(np.median(steps.periods))
    yield "step.gap", float(np.median(steps.gap))
    yield "step.idle", float(np.median(steps.idle))
    yield "step.graphs", float(np.median(steps.graphs))
    if (decoding := steps.decoding) is None:
        return
    for name, chosen in (("prefill", ~decoding), ("decode", decoding)):
        yield f"{name}.steps", steps.count(chosen)
        yield f"{name}.kernel_time", float(steps.kernel_ns[chosen].sum())


@dataclass(frozen=True)
class _Launched:
    """GPU operations of a window, a row each.

    Attributes:
        launched: ns.
        start: ns.
        end: ns.
        device: its number.
        pid: serialised id of the process.
        call: row of the call, or -1.
        kernel: whether it is a kernel.
        whole: whether it is a whole CUDA graph.
        in_graph: whether it was launched by a CUDA graph, or is one.
        ends: whether it is a copy to the host.
    """

    launched: Ints
    start: Ints
    end: Ints
    device: Ints
    pid: Ints
    call: Ints
    kernel: Flags
    whole: Flags
    in_graph: Flags
    ends: Flags


def find_steps(cut: Cut, window: int) -> Steps | None:
    """The steps of a window of the cut; None where nothing is copied to the host."""
    work = _launched(cut, window)
    if not work.ends.any():
        return None
    calls = cut.trace.calls["tid"].to_numpy()
    tids = np.where(work.call >= 0, calls[work.call], work.pid) if len(calls) else work.pid
    thread = _leading(pd.factorize(tids)[0], pd.factorize(work.pid)[0], work.ends)
    order = np.lexsort((work.start, work.launched, thread))
    thread, ends = thread[order], work.ends[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (thread[1:] != thread[:-1]) | ends[:-1]
    stretch = np.cumsum(begins) - 1
    kernels = np.bincount(stretch, weights=work.kernel[order])
    graphs = np.bincount(stretch, weights=work.whole[order])
    weights = kernels + GRAPH_KERNELS * (graphs > 0)
    joined = _joined(weights, thread[begins])
    step = np.empty(len(order), dtype=np.int64)
    step[order] = joined[stretch]
    return _summed(work, step, pd.factorize(work.pid)[0], _first(step, thread, order))


def _first(step: Ints, thread: Ints, order: Ints) -> Ints:
    """The thread of each step."""
    found = np.zeros(int(step.max()) + 1, dtype=np.int64)
    found[step[order][::-1]] = thread[::-1]
    return found


def _summed(work: _Launched, step: Ints, process: Ints, thread: Ints) -> Steps:
    number = len(thread)
    took = (work.end - work.start) * (work.kernel | work.whole)
    launches = np.unique(np.stack([step[work.in_graph], work.call[work.in_graph]]), axis=1)[0]
    ended = np.full(number, -1, dtype=np.int64)
    np.maximum.at(ended, step[work.ends], work.launched[work.ends])
    of_process = np.zeros(number, dtype=np.int64)
    of_process[step] = process
    gap, idle = _idle(work, step, number)
    return Steps(
        thread=thread,
        process=of_process,
        kernels=np.bincount(step[work.kernel], minlength=number),
        kernel_ns=np.bincount(step, weights=took, minlength=number).astype(np.int64),
        graphs=np.bincount(launches, minlength=number),
        ended=ended,
        gap=gap,
        idle=idle,
        listed=not work.whole.any(),
    )


def _idle(work: _Launched, step: Ints, number: int) -> tuple[Ints, Ints]:
    """Per step, the idle time of its devices before it and in it.

    A stretch in which a device does nothing is in a step where what ran last before it and what
    runs first after it are of that step, and else before the step of the latter.
    """
    gap, idle = np.zeros(number, dtype=np.int64), np.zeros(number, dtype=np.int64)
    for device in np.unique(work.device).tolist():
        rows = np.flatnonzero(work.device == device)
        rows = rows[np.argsort(work.start[rows], kind="stable")]
        start, end, of = work.start[rows], work.end[rows], step[rows]
        reached = np.maximum.accumulate(end)
        latest = np.maximum.accumulate(np.where(end == reached, np.arange(len(rows)), 0))
        empty = np.maximum(start[1:] - reached[:-1], 0)
        within = of[1:] == of[latest[:-1]]
        np.add.at(idle, of[1:][within], empty[within])
        np.add.at(gap, of[1:][~within], empty[~within])
    return gap, idle


def _leading(thread: Ints, process: Ints, ends: Ints | Flags) -> Ints:
    """Per operation, the thread whose steps it is in: its own, if that copies to the host, else
    that of its process which does so most often, or of all processes."""
    leading = thread.copy()
    copies = np.bincount(thread[ends], minlength=int(thread.max()) + 1)
    for number in np.unique(process[copies[thread] == 0]).tolist():
        mine = process == number
        others = thread[mine] if copies[thread[mine]].any() else thread
        leader = others[np.argmax(copies[others])]
        leading[mine & (copies[thread] == 0)] = leader
    return leading


def _joined(weights: Floats, thread: Ints) -> Ints:
    """The number of the step that each stretch between copies belongs to.

    A small one belongs to the step before it, or to the first of its thread.
    """
    kept = weights >= SMALL * _typical(weights)
    step = np.cumsum(kept) - 1
    first: dict[int, int] = {}
    for number, owner in zip(step[kept].tolist(), thread[kept].tolist(), strict=True):
        first.setdefault(owner, number)
    least = np.array([first.get(one, 0) for one in thread.tolist()], dtype=np.int64)
    joined: Ints = np.maximum(step, least)
    return joined


def _typical(weights: Floats) -> float:
    """The weight in whose stretches, and lighter ones, half of all weight is."""
    ordered = np.sort(weights)
    total = np.cumsum(ordered)
    return float(ordered[np.searchsorted(total, total[-1] / 2)])


def _launched(cut: Cut, window: int) -> _Launched:
    trace = cut.trace
    members = (cut.kernels, cut.copies, cut.memsets, cut.graphs)
    tables = (trace.kernels, trace.copies, trace.memsets, trace.graphs)
    rows = [_of_window(one, window) for one in members]

    def column(name: str) -> Ints:
        parts = [t[name].to_numpy(np.int64)[row] for t, row in zip(tables, rows, strict=True)]
        return np.concatenate(parts)

    table = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    nodes = [t["graph_node"].to_numpy()[row] >= 0 for t, row in zip(tables[:3], rows, strict=False)]
    in_graph = np.concatenate([*nodes, np.ones(len(rows[3]), dtype=np.bool_)])
    ends = np.zeros(len(table), dtype=np.bool_)
    ends[table == 1] = trace.copies["kind"].to_numpy()[rows[1]] == MemcpyKind.D2H
    return _Launched(
        launched=column("launched"),
        start=column("start"),
        end=column("end"),
        device=column("device"),
        pid=column("pid"),
        call=column("call"),
        kernel=table == 0,
        whole=table == 3,
        in_graph=in_graph,
        ends=ends & ~in_graph,
    )


def _of_window(members: Members, window: int) -> Ints:
    low, high = np.searchsorted(members.window, (window, window + 1))
    return members.row[low:high]
