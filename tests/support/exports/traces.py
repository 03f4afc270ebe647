"""Traces made by hand: a few API calls, what they launched, and the ranges around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.trace import schema
from pytest_nsys.trace.schema import MemcpyKind, MemKind, NvtxType
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.record import DOMAIN, MAIN, WindowKind, WindowRecord
from tests.support.exports.rows import LAUNCH, PID, Export, launched_as, pairs
from tests.support.exports.tables import write_sqlite


@dataclass
class TraceBuilder:
    """An export by its launches: an operation starts 5 ns after its call, which takes 1 ns."""

    made: Export = field(default_factory=Export)
    windows: list[WindowRecord] = field(default_factory=list)
    _domains: dict[str, int] = field(default_factory=lambda: {"": 0})

    @property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows by table, as nsys writes them."""
        return self.made.rows

    def call(self, name: str, start: int, end: int | None = None, *, tid: int = PID + 1) -> None:
        """An API call."""
        self.made.call(start, start + 1 if end is None else end, name=name, thread=tid)

    def kernel(
        self,
        name: str,
        launched: int,
        ns: int,
        *,
        start: int | None = None,
        device: int = 0,
        stream: int = 7,
        call: str = LAUNCH,
        tid: int = PID + 1,
        configuration: Configuration | None = None,
    ) -> None:
        """A kernel and the call that launched it."""
        begun = launched + 5 if start is None else start
        launch = (call, launched, launched + 1)
        place = {"device": device, "stream": stream, "thread": tid}
        short = self.made.string(name)
        how = {} if configuration is None else launched_as(configuration)
        self.made.kernel(begun, begun + ns, launch, name, shortName=short, **place, **how)

    def copy(
        self,
        launched: int,
        ns: int,
        size: int,
        *,
        kind: int = MemcpyKind.H2D,
        source: int = MemKind.PINNED,
        target: int = MemKind.DEVICE,
        call: str = "cudaMemcpyAsync_v3020",
        device: int = 0,
    ) -> None:
        """A copy and its call."""
        times = (launched + 5, launched + 5 + ns, (call, launched, launched + 1))
        self.made.copy(*times, kind, size, source=source, target=target, device=device)

    def memset(self, launched: int, ns: int, size: int, *, device: int = 0) -> None:
        """A memory set and its call."""
        launch = ("cudaMemsetAsync_v3020", launched, launched + 1)
        times = (launched + 5, launched + 5 + ns, launch)
        self.made.memset(*times, size, memKind=MemKind.DEVICE, device=device)

    def graph(self, launched: int, ns: int, *, device: int = 0) -> None:
        """A whole CUDA graph, as captures in graph mode have it, and its launch."""
        launch = ("cudaGraphLaunch_v10000", launched, launched + 1)
        self.made.graph(launched + 5, launched + 5 + ns, launch, graphId=1, device=device)

    def fault(self, start: int, *, device: int | None = None) -> None:
        """A page fault on unified memory, of the CPU or of a device."""
        row = {"start": start, "globalPid": PID}
        if device is None:
            self.rows[schema.CPU_FAULTS].append(row)
        else:
            place = {"end": start + 1, "deviceId": device, "numberOfPageFaults": 1}
            self.rows[schema.GPU_FAULTS].append({**row, **place})

    def sample(self, time: int, metric: str, value: int, *, device: int = 0) -> None:
        """One sample of a GPU metric."""
        self.made.sample(time, metric, value, device)

    def memory(
        self,
        start: int,
        size: int,
        *,
        address: int,
        free: bool = False,
        pid: int = PID,
        context: int = 1,
        kind: int = MemKind.DEVICE,
        pool: int | None = None,
        pool_used: int | None = None,
    ) -> None:
        """An allocation of device memory, or its end."""
        self.rows[schema.MEMORY].append(
            {
                **{"start": start, "globalPid": pid, "deviceId": 0, "contextId": context},
                **{"address": address, "bytes": size, "memKind": kind},
                "memoryOperationType": int(free),
                "localMemoryPoolAddress": pool,
                "localMemoryPoolUtilizedSize": pool_used,
            }
        )

    def range(self, text: str, start: int, end: int, *, domain: str = "") -> None:
        """A range of the program's own."""
        if domain not in self._domains:
            self._domains[domain] = len(self._domains)
            self.made.domain(self._domains[domain], domain)
        number = self._domains[domain]
        self.made.range(start, end, text, NvtxType.START_END, domainId=number)

    def window(
        self,
        start: int,
        end: int,
        *,
        nodeid: str = "t",
        name: str = MAIN,
        kind: WindowKind = "round",
        round: int = 0,
        **units: float,
    ) -> None:
        """A window of the plugin: its range and the worker's record of it."""
        record = WindowRecord(len(self.windows), kind, nodeid, name, round, units)
        self.windows.append(record)
        self.range(record.label, start, end, domain=DOMAIN)

    def sent(
        self,
        start: int,
        end: int,
        *,
        nodeid: str = "t",
        name: str = "load",
        kind: WindowKind = "round",
        round: int = 0,
        values: Mapping[str, float] | None = None,
        **units: float,
    ) -> None:
        """A round that a client sent to a server: a record with times, and no range."""
        number = len(self.windows)
        times = (start, end)
        record = WindowRecord(
            number, kind, nodeid, name, round, units, times=times, values=values or {}
        )
        self.windows.append(record)

    def _complete(self, gpus: Sequence[str]) -> Export:
        self.rows[schema.GPU] = [{"id": n, "name": name} for n, name in enumerate(gpus)]
        self.rows[schema.SYSTEM] = pairs({"NvDriverVersion": "580.1", "CudaDriverVersion": "13000"})
        return self.made

    def build(self, gpus: Sequence[str] = ("NVIDIA H200",)) -> Trace:
        """The trace of all rows."""
        return self._complete(gpus).trace()

    def export(self, path: Path, gpus: Sequence[str] = ("NVIDIA H200",)) -> Path:
        """All rows as an SQLite file, in whose columns may be anything."""
        return write_sqlite(path, self._complete(gpus).tables())
