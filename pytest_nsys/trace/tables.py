"""What a trace is: the value between loading a capture and everything that is computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Gpu:
    """A GPU that nsys saw on the machine."""

    id: int
    name: str


@dataclass(frozen=True)
class Trace:
    """An exported capture as tables. Times are ns from the session's start, sizes are bytes.

    GPU operations carry ``launched``: the start of the CUDA API call with their correlation id
    in their process, from whatever thread; an operation without a recorded call has its own
    start there. ``kernels``, ``copies``, ``memsets``, ``graphs`` are sorted by it; the others by
    start.

    Attributes:
        kernels: start, end, launched, device, context, stream, pid, name, short, graph_node
            (-1 outside CUDA graphs). In ``--cuda-graph-trace=node`` captures the kernels of a
            graph are rows, launched by their graph launch.
        copies: start, end, launched, device, context, stream, pid, bytes, kind, source, target
            (memory kinds), call (string id of the launching API call's name, or -1).
        memsets: start, end, launched, device, context, stream, pid, bytes.
        graphs: start, end, launched, device, context, stream, pid: whole CUDA graphs, in
            ``--cuda-graph-trace=graph`` captures.
        calls: start, end, pid, tid, name: CUDA API calls (runtime and driver).
        memory: start, pid, device, context, address, bytes, kind, operation (0 alloc, 1 free).
        ranges: start, end, domain, text, pid, tid: closed NVTX ranges; an open one has end -1.
        strings: text of the string ids in the columns name, short and call.
        gpus: the machine's GPUs.
        diagnostics: severity and text of what nsys says of its own capture.
        driver: the NVIDIA driver's version, "" if unknown.
        cuda: the driver's CUDA version as nsys writes it ("13000"), "" if unknown.
        nsys: the version of nsys that exported the capture.
        schema: the schema version of the export.
    """

    kernels: pd.DataFrame
    copies: pd.DataFrame
    memsets: pd.DataFrame
    graphs: pd.DataFrame
    calls: pd.DataFrame
    memory: pd.DataFrame
    ranges: pd.DataFrame
    strings: Mapping[int, str]
    gpus: tuple[Gpu, ...]
    diagnostics: tuple[tuple[int, str], ...]
    driver: str = ""
    cuda: str = ""
    nsys: str = ""
    schema: str = ""

    @property
    def has_cuda_activity(self) -> bool:
        """Whether the capture holds any CUDA event at all."""
        return any(len(table) for table in (self.kernels, self.copies, self.memsets, self.calls))
