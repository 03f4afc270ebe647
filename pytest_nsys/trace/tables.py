"""What a trace is: the value between loading a capture and everything that is computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import pandas as pd

from pytest_nsys.kernels.configuration import Configuration


@dataclass(frozen=True)
class TraceGpu:
    """A GPU that nsys saw on the machine of a capture.

    Attributes:
        id: nsys's number of it.
        name: its model.
        multiprocessors: how many it has; 0 if unknown.
        bandwidth: of its memory at most, bytes per second; 0 if unknown.
        capability: its compute capability, major and minor; None where the export does not say.
    """

    id: int
    name: str
    multiprocessors: int = 0
    bandwidth: int = 0
    capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class Trace:
    """An exported capture as tables. Times are ns from the session's start, sizes are bytes.

    GPU operations carry ``launched``, the start of the CUDA API call with their correlation id
    in their process, from whatever thread, and ``call``, that call's row in ``calls``; an
    operation without a recorded call has its own start and -1 there. ``kernels``, ``copies``,
    ``memsets``, ``graphs`` are sorted by ``launched`` and ``start``; the others by time. An
    integer that the export lacks is -1. Processes and threads are nsys's serialised ids, which
    are unique within a capture. Devices are nsys's numbers of the machine's GPUs, in whatever order
    a process sees them.

    Attributes:
        kernels: start, end, launched, call, device, context, stream, pid, name, short,
            graph_node (-1 outside CUDA graphs), configuration (the number of it among
            ``configurations``). In ``--cuda-graph-trace=node`` captures the
            kernels of a graph are rows, launched by their graph launch.
        copies: start, end, launched, call, device, context, stream, pid, bytes, kind, source,
            target (memory kinds), source_device, target_device, graph_node.
        memsets: start, end, launched, call, device, context, stream, pid, bytes, kind (of
            memory), graph_node.
        graphs: start, end, launched, call, device, context, stream, pid, graph: whole CUDA
            graphs, in ``--cuda-graph-trace=graph`` captures.
        calls: start, end, pid, tid, name: CUDA API calls (runtime and driver).
        memory: start, pid, device, context, address, bytes, kind, operation (0 alloc, 1 free),
            pool (address of the stream-ordered pool it is from, -1 if none), pool_used (bytes in
            use of that pool: after an allocation, and before a free).
        faults: start, end, pid, device (-1 on the CPU), count: page faults on unified memory.
        samples: time, device, metric, value: GPU metrics, where the capture sampled them.
        ranges: start, end, style (59 pushed and popped, 60 started and ended), domain, text, pid,
            tid, end_tid: NVTX ranges; an open one has end -1; end_tid is the thread that ended it
            where that is another, else -1.
        strings: text of the string ids in the columns name and short.
        sampled: names of the metrics in ``samples``; no two are the same.
        gpus: the machine's GPUs.
        configurations: the launch configurations of kernels.
        diagnostics: severity and text of what nsys says of its own capture.
        driver: the NVIDIA driver's version, "" if unknown.
        cuda: the driver's CUDA version ("13.0"), "" if unknown.
        nsys: the version of nsys that exported the capture.
        schema: the schema version of the export.
        ordinals: what CUDA calls a GPU in a process, where that is not its number here: by
            process id of the operating system and number of the GPU.
        defects: what is wrong with the rows themselves, and how each was taken.
        began_utc_ns: the time 0 of the tables, in ns since 1970 (UTC); None where the export does
            not say. Recordings do not keep it.
        length_ns: how long events were collected from then on; None where the export does not
            say. Recordings do not keep it.
        unknown: what cannot be known of it, by pattern of metrics' keys (``mem.*``), and why: it
            was made by something that does not record it.
    """

    kernels: pd.DataFrame
    copies: pd.DataFrame
    memsets: pd.DataFrame
    graphs: pd.DataFrame
    calls: pd.DataFrame
    memory: pd.DataFrame
    faults: pd.DataFrame
    samples: pd.DataFrame
    ranges: pd.DataFrame
    strings: Mapping[int, str]
    sampled: Mapping[int, str]
    gpus: tuple[TraceGpu, ...]
    diagnostics: tuple[tuple[int, str], ...]
    driver: str = ""
    cuda: str = ""
    nsys: str = ""
    schema: str = ""
    ordinals: Mapping[tuple[int, int], int] = field(default_factory=dict)
    defects: tuple[str, ...] = ()
    began_utc_ns: int | None = None
    length_ns: int | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    configurations: tuple[Configuration, ...] = ()

    @property
    def capability(self) -> tuple[int, int] | None:
        """The compute capability that all GPUs have; None where they differ, or it is unknown."""
        known = {gpu.capability for gpu in self.gpus}
        return known.pop() if len(known) == 1 else None

    @property
    def has_cuda_activity(self) -> bool:
        """Whether the capture holds any CUDA event at all."""
        tables = (self.kernels, self.copies, self.memsets, self.graphs, self.calls)
        return any(len(table) for table in tables)

    def knows(self, key: str) -> bool:
        """Whether the capture can tell what a metric is, also where that is zero."""
        return not any(fnmatchcase(key, pattern) for pattern in self.unknown)


def unknown_lines(unknown: Mapping[str, str]) -> tuple[str, ...]:
    """What `Trace.unknown` says, in a sentence for each reason."""
    by_reason: dict[str, list[str]] = {}
    for pattern, why in sorted(unknown.items()):
        by_reason.setdefault(why, []).append(pattern)
    return tuple(f"no value of {', '.join(patterns)}: {why}" for why, patterns in by_reason.items())
