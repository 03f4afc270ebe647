"""Profiles that Triton's Proton writes (``.hatchet``), as tables of an export.

A profile is a tree of scopes, in which kernels are nodes with the number of their launches and
their time together; when each of them ran it does not say. They are laid one after another, each
as long as their mean, so that counts and times come out exactly, and a scope is a range around
those that are below it. What else depends on times is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_nsys.support.json_stream import Unreadable, read_whole
from pytest_nsys.trace import schema
from pytest_nsys.trace.kineto import NOBODY, Profile, small_number, whole_number
from pytest_nsys.trace.made import Names, Rows
from pytest_nsys.trace.schema import NvtxType
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import TraceGpu

_LARGEST = 64 * 2**20
_MOST_LAUNCHES = 2**21
"""Launches of all kernels together: each is a row, and a file may say any number."""

_ROOT = "ROOT"

_UNKNOWN: Mapping[str, str] = {
    **dict.fromkeys(
        ("wall.*", "gpu.busy*", "gpu.idle", "gpu.max_gap", "nccl.exposed", "launch.*"),
        "it does not say when a kernel ran",
    ),
    **dict.fromkeys(
        ("memcpy.*", "memset.*", "api*", "sync.*", "graph.*", "mem.*"), "it has kernels alone"
    ),
}


def read_tree(path: Path, names: Names) -> Profile:
    """A profile of Proton.

    Raises:
        Unreadable: it is none, or has more in it than it may.
    """
    document = read_whole(path, _LARGEST)
    if not isinstance(document, list) or not document:
        raise Unreadable("it is no list of a tree and its devices")
    kernels = Rows(
        "start end deviceId streamId correlationId globalPid demangledName shortName".split()
    )
    ranges = Rows(("start", "end", "eventType", "textId", "globalTid", "domainId"))
    at = 0
    begun: list[tuple[str, int]] = []
    for depth, name, metrics in _nodes(document[0]):
        while len(begun) > depth:
            scope, start = begun.pop()
            if at > start and scope != _ROOT:
                ranges.add(start, at, NvtxType.PUSH_POP, names.number(scope), NOBODY, 0)
        begun.append((name, at))
        spent, count = metrics.get("time(ns)", ABSENT), metrics.get("count", ABSENT)
        if spent < 0 or count <= 0:
            continue
        if len(kernels) + count > _MOST_LAUNCHES:
            raise Unreadable(f"its kernels have more than {_MOST_LAUNCHES:,} launches")
        begun.pop()
        begun.append((_ROOT, at))  # a kernel is no range of its own
        number, device = names.number(name), metrics.get("deviceid", ABSENT)
        for launch in range(count):
            start = at + spent * launch // count
            end = at + spent * (launch + 1) // count
            kernels.add(start, end, device, 0, ABSENT, NOBODY, number, number)
        at += spent
    while begun:
        scope, start = begun.pop()
        if at > start and scope != _ROOT:
            ranges.add(start, at, NvtxType.PUSH_POP, names.number(scope), NOBODY, 0)
    return Profile(
        tables={schema.KERNEL: kernels.integers(), schema.NVTX: ranges.integers()},
        rank=None,
        gpus=_gpus(document[1:]),
        cuda="",
        unknown=_UNKNOWN,
        notes=(
            "its kernels are sums: the duration of each launch is the mean of those of its kernel "
            "in its scope, and no bottlenecks are looked for",
        ),
    )


def _nodes(root: Any) -> Iterator[tuple[int, str, Mapping[str, int]]]:
    """Depth, name and whole numbers among the metrics of each node, parents first.

    Keys are in lower case without spaces and underscores: ``device_id`` was ``DeviceId`` once.
    """
    waiting = [(0, root)] if isinstance(root, dict) else []
    while waiting:
        depth, node = waiting.pop()
        frame, metrics, children = (node.get(key) for key in ("frame", "metrics", "children"))
        name = frame.get("name") if isinstance(frame, dict) else None
        listed = metrics.items() if isinstance(metrics, dict) else ()
        found = {key.lower().replace(" ", "").replace("_", ""): value for key, value in listed}
        whole = {key: whole_number(value) for key, value in found.items()}
        yield depth, name if isinstance(name, str) else "", whole
        if isinstance(children, list):
            if not all(isinstance(child, dict) for child in children):
                raise Unreadable("a node of its tree is no object")
            waiting += [(depth + 1, child) for child in reversed(children)]


def _gpus(listed: list[Any]) -> tuple[TraceGpu, ...]:
    """The devices that are described after the tree: ``{"CUDA": {"0": {"arch": "90"}}}``."""
    found = []
    for by_kind in listed:
        for kind, devices in by_kind.items() if isinstance(by_kind, dict) else ():
            for number, one in devices.items() if isinstance(devices, dict) else ():
                one = one if isinstance(one, dict) else {}
                arch = str(one.get("arch", ""))[:40]
                name = f"sm_{arch}" if kind == "CUDA" else arch
                count = small_number(one.get("num_sms"))
                found.append(TraceGpu(small_number(number), name, multiprocessors=count))
    return tuple(found)
