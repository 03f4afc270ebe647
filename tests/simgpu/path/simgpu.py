"""A simulated GPU for code under test: CUDA-like calls with exact, repeatable device times.

Each call appends one line to the log of the stand-in ``nsys`` (see ``standin.py``); when no
capture is running it does nothing. Kernels run asynchronously on a virtual clock: one starts when
its launch has returned and its stream is free, and lasts exactly as long as it was asked to, plus
jitter where that is set. ``synchronize`` and the blocking copies really wait for the virtual
device, so that host and device times agree. All times are those of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import _simlog
from _simlog import own

LAUNCH_LATENCY_NS = 2_000
_COPY_OVERHEAD_NS = 1_000
_BYTES_PER_US = {"h2d": 25_000, "d2h": 25_000, "d2d": 2_000_000, "p2p": 200_000}
_MEMSET_BYTES_PER_US = 2_000_000
_ALIGNMENT = 2 << 20

jitter_pct = float(os.environ.get("SIMGPU_JITTER_PCT", "0"))
"""Device times vary evenly by up to this percentage, in the same way in each run (see ``seed``)."""

_Op = tuple[int, dict[str, object]]  # duration in ns, what the log says of the operation


@dataclass
class _Device:
    """What one process knows about its devices."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    random: random.Random = field(
        default_factory=lambda: random.Random(int(os.environ.get("SIMGPU_SEED", "0")))
    )
    calls: int = 100
    events: int = 0
    busy_until: dict[tuple[int, int], int] = field(default_factory=dict)  # by (device, stream)
    graphs: dict[tuple[str, ...], int] = field(default_factory=dict)
    allocated: dict[int, tuple[int, int]] = field(default_factory=dict)  # address: (bytes, device)
    reusable: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    next_address: int = 0x7F00_0000_0000


_state = _Device()


def _forget() -> None:
    global _state
    _state = _Device()


os.register_at_fork(after_in_child=_forget)


def seed(value: int) -> None:
    """Restart the sequence of the jitter."""
    _state.random.seed(value)


def launch(
    kernel: str,
    us: float,
    *,
    stream: int = 7,
    device: int = 0,
    graph_node: int | None = None,
    grid: int = 132,
    block: int = 128,
    registers: int = 32,
    shared: int = 0,
    local: int = 0,
) -> None:
    """Launch one kernel that takes ``us`` microseconds, in a grid of blocks of threads that have
    registers and bytes of local memory, and blocks bytes of shared memory; returns at once."""
    duration, fields = _kernel(kernel, us, graph_node)
    fields["launched"] = [grid, block, registers, shared, local]
    _call("cudaLaunchKernel", [(duration, fields)], device, stream)


def graph_launch(kernels: Iterable[tuple[str, float]], *, stream: int = 7, device: int = 0) -> None:
    """Launch one CUDA graph of ``(name, us)`` kernels; the same names are the same graph."""
    kernels = list(kernels)
    if not _simlog.enabled():
        return
    key = tuple(name for name, _ in kernels)
    with _state.lock:
        created = key not in _state.graphs
        graph = _state.graphs.setdefault(key, len(_state.graphs) + 1)
    first = 2 * graph << 32
    ops = [_kernel(name, us, first + node) for node, (name, us) in enumerate(kernels)]
    _call("cudaGraphLaunch", ops, device, stream, graph={"id": graph, "created": created})


def copy(
    kind: str,
    nbytes: int,
    *,
    pageable: bool = False,
    sync: bool = False,
    device: int = 0,
    stream: int = 7,
) -> None:
    """Copy ``nbytes``: kind is h2d, d2h, d2d or p2p. Synchronous and pageable copies block."""
    duration = _COPY_OVERHEAD_NS + nbytes * 1_000 // _BYTES_PER_US[kind]
    fields = {"op": "memcpy", "copy": kind, "bytes": nbytes, "pageable": pageable}
    name = "cudaMemcpy" if sync else "cudaMemcpyAsync"
    _call(name, [(duration, fields)], device, stream, blocking=sync or pageable)


def memset(nbytes: int, *, value: int = 0, device: int = 0, stream: int = 7) -> None:
    """Set ``nbytes`` of device memory; returns at once."""
    duration = _COPY_OVERHEAD_NS + nbytes * 1_000 // _MEMSET_BYTES_PER_US
    fields = {"op": "memset", "bytes": nbytes, "value": value}
    _call("cudaMemsetAsync", [(duration, fields)], device, stream)


def synchronize(kind: str = "context", *, device: int = 0, stream: int = 7) -> None:
    """Wait for the device: kind is context, stream or event (one recorded here and now)."""
    names = {
        "context": "cudaDeviceSynchronize",
        "stream": "cudaStreamSynchronize",
        "event": "cudaEventSynchronize",
    }
    name = names[kind]
    if not _simlog.enabled():
        return
    event = 0
    if kind == "event":
        with _state.lock:
            _state.events = event = _state.events + 1
        _call("cudaEventRecord", device=device, stream=stream, event=event)
    start = own.clock_ns()
    with _state.lock:
        ends = [
            end
            for (owner, queue), end in _state.busy_until.items()
            if owner == device and (kind == "context" or queue == stream)
        ]
    _wait_until(max(ends, default=0))
    _emit(name, start, device, stream, sync=kind, event=event)


def malloc(nbytes: int, device: int = 0) -> int:
    """Allocate device memory and return its address; addresses are reused, as real ones are."""
    start = own.clock_ns()
    with _state.lock:
        reusable = _state.reusable.get((nbytes, device))
        if reusable:
            address = reusable.pop()
        else:
            address = _state.next_address
            _state.next_address += -(-max(nbytes, 1) // _ALIGNMENT) * _ALIGNMENT
        _state.allocated[address] = (nbytes, device)
    _emit("cudaMalloc", start, device, memory=_memory("alloc", address, nbytes))
    return address


def free(address: int) -> None:
    """Free what ``malloc`` returned."""
    start = own.clock_ns()
    with _state.lock:
        nbytes, device = _state.allocated.pop(address)
        _state.reusable.setdefault((nbytes, device), []).append(address)
    _emit("cudaFree", start, device, memory=_memory("free", address, nbytes))


def api(name: str, us: float) -> None:
    """A CUDA API call of exactly ``us`` microseconds that does nothing on the device."""
    if not _simlog.enabled():
        return
    start = own.clock_ns()
    end = start + round(us * 1_000)
    _wait_until(end)
    _emit(name, start, end=end)


def _kernel(name: str, us: float, graph_node: int | None) -> _Op:
    return round(us * 1_000), {"op": "kernel", "name": name, "graph_node": graph_node}


def _memory(operation: str, address: int, nbytes: int) -> dict[str, object]:
    return {"op": operation, "address": address, "bytes": nbytes, "time": own.clock_ns()}


def _call(
    name: str,
    ops: Sequence[_Op] = (),
    device: int = 0,
    stream: int = 7,
    *,
    blocking: bool = False,
    **fields: object,
) -> None:
    """One API call and the device operations that it puts into a stream."""
    if not _simlog.enabled():
        return
    start = own.clock_ns()
    placed = []
    with _state.lock:
        end = max(own.clock_ns(), start + 1)
        free_at = max(end + LAUNCH_LATENCY_NS, _state.busy_until.get((device, stream), 0))
        for duration, operation in ops:
            op_end = free_at + _with_jitter(duration)
            placed.append({**operation, "start": free_at, "end": op_end})
            free_at = op_end
        if placed:
            _state.busy_until[device, stream] = free_at
    if blocking:
        _wait_until(free_at)
        end = own.clock_ns()
    _emit(name, start, device, stream, end=end, ops=placed, **fields)


def _emit(
    name: str, start: int, device: int = 0, stream: int = 7, *, end: int = 0, **fields: object
) -> None:
    if not _simlog.enabled():
        return
    with _state.lock:
        _state.calls = correlation = _state.calls + 1
    _simlog.emit(
        "call",
        api=name,
        start=start,
        end=end or own.clock_ns(),
        correlation=correlation,
        device=device,
        stream=stream,
        **fields,
    )


def _with_jitter(duration: int) -> int:
    if not jitter_pct:
        return duration
    return round(duration * (1 + _state.random.uniform(-jitter_pct, jitter_pct) / 100))


def _wait_until(end: int) -> None:
    while (left := end - own.clock_ns()) > 0:
        own.sleep(left / 1e9)
