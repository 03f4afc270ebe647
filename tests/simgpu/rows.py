"""From the simulated event log to the rows of the CUDA and NVTX tables of an nsys export."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.support.exports.tables import VM, Strings

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Record = dict[str, Any]

NONE = 0xFFFF_FFFF
"""What nsys writes for the stream or event that a row does not have."""

_API_VERSIONS = {
    "cudaEventRecordWithFlags": 11010,
    "cudaGetDeviceProperties": 12000,
    "cudaGraphDestroy": 10000,
    "cudaGraphExecDestroy": 10000,
    "cudaGraphInstantiateWithFlags": 11040,
    "cudaGraphLaunch": 10000,
    "cudaLaunchKernel": 7000,
    "cudaLaunchKernelExC": 11060,
    "cudaMallocAsync": 11020,
    "cudaFreeAsync": 11020,
    "cudaProfilerStart": 4000,
    "cudaProfilerStop": 4000,
    "cudaStreamBeginCapture": 10000,
    "cudaStreamCreateWithFlags": 5000,
    "cudaStreamDestroy": 5050,
    "cudaStreamEndCapture": 10000,
    "cudaStreamIsCapturing": 10000,
}
_COPY_KINDS = {"h2d": 1, "d2h": 2, "d2d": 8, "p2p": 10}
_PAGEABLE, _PINNED, _DEVICE = 0, 1, 2
_SYNC_EVENT, _SYNC_STREAM_WAIT, _SYNC_STREAM, _SYNC_CONTEXT = 1, 2, 3, 4
_GRAPH_NODE_CREATION = 77
_CATEGORY, _MARK, _PUSH_POP, _START_END, _DOMAIN = 33, 34, 59, 60, 75
RANGES = (_PUSH_POP, _START_END)


def global_tid(pid: int, tid: int = 0) -> int:
    """The identifier of a thread; of its process, without ``tid``."""
    return VM | pid << 24 | tid & 0xFF_FFFF


def read_log(path: Path, start: int, length: int, *, trace_forks: bool) -> Iterator[Record]:
    """The log's records of ``length`` ns, with times since ``start``, without untraced forks."""
    forked: dict[int, bool] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["kind"] == "process":
            forked[record["pid"]] = record["forked"]
        if forked.get(record["pid"]) and not trace_forks:
            continue
        record = _since(record, start)
        if all(0 <= record[name] <= length for name in ("start", "time") if name in record):
            yield record


def _since(record: Record, start: int) -> Record:
    for name in ("start", "end", "time"):
        if name in record:
            record[name] -= start
    for part in (*record.get("ops", ()), *filter(None, [record.get("memory")])):
        _since(part, start)
    return record


def nvtx_rows(records: Iterable[Record], strings: Strings) -> list[Row]:
    """The table NVTX_EVENTS. The ``end`` of what was still open is NULL."""
    rows: list[Row] = []
    domains: dict[int, dict[str | None, int]] = defaultdict(lambda: {None: 0})
    open_pushes: dict[tuple[int, int, int], list[Row]] = defaultdict(list)
    open_starts: dict[tuple[int, int], Row] = {}
    for record in records:
        event, pid, tid = record["event"], record["pid"], record["tid"]
        known = domains[pid]
        common: Row = {"start": record["time"], "globalTid": global_tid(pid, tid)}
        if record["domain"] not in known:
            known[record["domain"]] = len(known)
            name = record["domain"]
            rows.append({**common, "eventType": _DOMAIN, "text": name, "domainId": len(known) - 1})
        domain = common["domainId"] = known[record["domain"]]
        if event == "category":
            category = {"category": record["category"], "text": record["text"]}
            rows.append({**common, "eventType": _CATEGORY, **category})
        elif event == "pop":
            if open_pushes[pid, tid, domain]:
                open_pushes[pid, tid, domain].pop()["end"] = record["time"]
        elif event == "end":
            row = open_starts.pop((pid, record["range"]), None)
            if row is not None:
                row["end"] = record["time"]
                if row["globalTid"] != common["globalTid"]:
                    row["endGlobalTid"] = common["globalTid"]
        elif event in ("mark", "push", "start"):
            row = {**common, **_attributes(record, strings)}
            rows.append(row)
            if event == "mark":
                row["eventType"] = _MARK
            elif event == "push":
                row["eventType"] = _PUSH_POP
                open_pushes[pid, tid, domain].append(row)
            else:
                row.update(eventType=_START_END, rangeId=record["range"])
                open_starts[pid, record["range"]] = row
    return rows


def _attributes(record: Record, strings: Strings) -> Row:
    payload = record["payload"]
    return {
        "textId": None if record["text"] is None else strings.id(record["text"]),
        "color": record["color"],
        "category": record["category"],
        "int64Value": payload if isinstance(payload, int) else None,
        "doubleValue": payload if isinstance(payload, float) else None,
    }


class CudaRows:
    """The CUDA tables, call by call.

    Synchronisations come out as nsys 2025.3 with driver 580 records them, not as its enumeration
    says: one row of type 2 for cudaStreamSynchronize, none for cudaDeviceSynchronize. With
    ``documented_sync`` they are of type 3 and 4.
    """

    def __init__(self, strings: Strings, *, graphs: bool, memory: bool, documented_sync: bool):
        self.tables: Tables = defaultdict(list)
        self._strings = strings
        self._whole_graphs = graphs
        self._memory = memory
        self._documented_sync = documented_sync
        self._grids: dict[int, int] = defaultdict(int)
        self._streams: set[tuple[int, int, int]] = set()

    def add(self, call: Record) -> None:
        """Add an API call and all that it caused on the device."""
        self._add("RUNTIME", self._runtime(call))
        place = {
            "deviceId": call["device"],
            "contextId": call["device"] + 1,
            "greenContextId": 0,
            "streamId": call["stream"],
            "correlationId": call["correlation"],
            "globalPid": global_tid(call["pid"]),
        }
        self._streams.add((call["pid"], call["device"], call["stream"]))
        graph = call.get("graph")
        if graph and self._whole_graphs:
            self._graph_trace(call, place)
        else:
            if graph and graph["created"]:
                self._graph_nodes(call)
            for op in call.get("ops", ()):
                times = {"start": op["start"], "end": op["end"]}
                kind, columns = self._operation(op, call)
                self._add(kind, {**place, **times, **columns})
        if "sync" in call:
            self._synchronization(call, place)
        elif call.get("event"):
            ids = {"eventId": call["event"], "eventSyncId": call["event"]}
            self._add("CUDA_EVENT", {**place, **ids})
        if "memory" in call and self._memory:
            self.tables["CUDA_GPU_MEMORY_USAGE_EVENTS"].append(self._memory_event(call, place))

    def finish(self, gpus: int) -> Tables:
        """All tables, with those that list contexts, streams and devices."""
        for pid, device in sorted({(pid, device) for pid, device, _ in self._streams}):
            where = {"hwId": 0, "vmId": 1, "processId": pid, "contextId": device + 1}
            self.tables["TARGET_INFO_CUDA_CONTEXT_INFO"].append(
                {
                    **where,
                    "nullStreamId": 7,
                    "deviceId": device,
                    "parentContextId": 0,
                    "isGreenContext": 0,
                }
            )
            self.tables["TARGET_INFO_CUDA_STREAM"] += [
                {**where, "streamId": stream, "priority": 0, "flag": 3 if stream == 7 else 2}
                for owner, number, stream in sorted(self._streams)
                if (owner, number) == (pid, device)
            ]
        for pid in sorted({pid for pid, _, _ in self._streams}):
            self.tables["TARGET_INFO_CUDA_DEVICE"] += [
                {"gpuId": number, "cudaId": number, "pid": pid} for number in range(gpus)
            ]
        return self.tables

    def _add(self, kind: str, row: Row) -> None:
        self.tables[f"CUPTI_ACTIVITY_KIND_{kind}"].append(row)

    def _runtime(self, call: Record) -> Row:
        name = call["api"]
        driver = name.startswith("cu") and not name.startswith("cuda")
        if not driver and "_v" not in name:
            name = f"{name}_v{_API_VERSIONS.get(name, 3020)}"
        return {
            "start": call["start"],
            "end": call["end"],
            "eventClass": int(driver),
            "globalTid": global_tid(call["pid"], call["tid"]),
            "correlationId": call["correlation"],
            "nameId": self._strings.id(name),
            "returnValue": 0,
        }

    def _operation(self, op: Record, call: Record) -> tuple[str, Row]:
        if op["op"] == "kernel":
            return "KERNEL", self._kernel(op, call["pid"])
        if op["op"] == "memset":
            return "MEMSET", {"bytes": op["bytes"], "value": op["value"], "memKind": _DEVICE}
        host = _PAGEABLE if op["pageable"] else _PINNED
        columns: Row = {
            "bytes": op["bytes"],
            "copyKind": _COPY_KINDS[op["copy"]],
            "srcKind": host if op["copy"] == "h2d" else _DEVICE,
            "dstKind": host if op["copy"] == "d2h" else _DEVICE,
            "copyCount": 1,
        }
        if op["copy"] == "p2p":
            source, target = call["device"], call["device"] + 1
            columns.update(srcDeviceId=source, srcContextId=source + 1)
            columns.update(dstDeviceId=target, dstContextId=target + 1)
        return "MEMCPY", columns

    def _kernel(self, op: Record, pid: int) -> Row:
        self._grids[pid] += 1
        short = short_name(op["name"])
        grid, block, registers, shared, local = op.get("launched", (132, 128, 32, 0, 0))
        mangled = op["name"] if short == op["name"] else f"_Z{len(short)}{short}v"
        return {
            "demangledName": self._strings.id(op["name"]),
            "shortName": self._strings.id(short),
            "mangledName": self._strings.id(mangled),
            "launchType": 1,
            "cacheConfig": 1,
            "registersPerThread": registers,
            "gridX": grid,
            "gridY": 1,
            "gridZ": 1,
            "blockX": block,
            "blockY": 1,
            "blockZ": 1,
            "staticSharedMemory": 0,
            "dynamicSharedMemory": shared,
            "localMemoryPerThread": local,
            "localMemoryTotal": 250871808,
            "gridId": self._grids[pid],
            "sharedMemoryExecuted": 32768,
            "graphNodeId": op["graph_node"],
            "sharedMemoryLimitConfig": 0,
        }

    def _graph_trace(self, call: Record, place: Row) -> None:
        if call["ops"]:
            times = {"start": call["ops"][0]["start"], "end": call["ops"][-1]["end"]}
            graph = call["graph"]["id"]
            ids = {"graphId": 2 * graph - 1, "graphExecId": 2 * graph}
            self._add("GRAPH_TRACE", {**place, **times, **ids})

    def _graph_nodes(self, call: Record) -> None:
        for op in call["ops"]:
            node = op["graph_node"]
            original = node - (1 << 32)
            for number, origin in ((original, None), (node, original)):
                self.tables["CUDA_GRAPH_NODE_EVENTS"].append(
                    {
                        "start": call["start"],
                        "end": call["start"],
                        "eventClass": _GRAPH_NODE_CREATION,
                        "globalTid": global_tid(call["pid"], call["tid"]),
                        "nameId": self._strings.id("Graph Node Creation"),
                        "graphNodeId": number,
                        "originalGraphNodeId": origin,
                    }
                )

    def _synchronization(self, call: Record, place: Row) -> None:
        row = {
            **place,
            "greenContextId": None,
            "start": call["start"],
            "end": call["end"],
            "eventId": NONE,
            "eventSyncId": NONE,
        }
        if call["sync"] == "stream":
            row["syncType"] = _SYNC_STREAM if self._documented_sync else _SYNC_STREAM_WAIT
        elif call["sync"] == "event":
            row.update(syncType=_SYNC_EVENT, streamId=NONE)
            row.update(eventId=call["event"], eventSyncId=call["event"])
        elif self._documented_sync:
            row.update(syncType=_SYNC_CONTEXT, streamId=NONE)
        else:
            return
        self._add("SYNCHRONIZATION", row)

    @staticmethod
    def _memory_event(call: Record, place: Row) -> Row:
        event = call["memory"]
        return {
            "start": event["time"],
            "globalPid": place["globalPid"],
            "deviceId": place["deviceId"],
            "contextId": place["contextId"],
            "address": event["address"],
            "pc": 0,
            "bytes": event["bytes"],
            "memKind": _DEVICE,
            "memoryOperationType": int(event["op"] == "free"),
            "correlationId": call["correlation"],
        }


def short_name(demangled: str) -> str:
    """The function's own name: no return type, namespaces, template arguments or parameters."""
    plain, depth = "", 0
    for character in demangled.removeprefix("void "):
        if character == "(" and depth == 0:
            break
        depth += (character == "<") - (character == ">")
        if depth == 0 and character != ">":
            plain += character
    return plain.rpartition("::")[2] or demangled
