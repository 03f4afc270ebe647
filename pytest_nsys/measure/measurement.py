"""What was measured of a test: samples by metric, and what they are made of.

The value between measuring and judging; free of pandas, so that baselines and recordings of
verdicts can be read without it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_nsys.capture.result import CUPTI
from pytest_nsys.catalogue import (
    CLIENT_METRICS,
    COUNTED_UNITS,
    Breakdown,
    Gates,
    lookup,
    split_per_unit,
)
from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.kernels.occupancy import Occupancy
from pytest_nsys.ncu.counters import KernelCounters
from pytest_nsys.plan.patterns import known_metric, look_for
from pytest_nsys.support.json_values import Maybe
from pytest_nsys.support.units import Unit
from pytest_nsys.windows.record import MAIN

if TYPE_CHECKING:
    from pytest_nsys.insights.bottlenecks import Bottleneck

Samples = tuple[tuple[float, ...], ...]
"""Samples of one metric: one tuple per process (worker process), one number per round."""


@lru_cache(maxsize=4096)
def shared(samples: Samples) -> Samples:
    """Samples that are the same as others as these others: most of a suite's are zeros and ones."""
    return samples


def centre(processes: Samples) -> float:
    """The median of the processes' medians: one odd process of three does not move it far."""
    return statistics.median(process_medians(processes))


def process_medians(processes: Samples) -> list[float]:
    """The median of each process that has samples."""
    return [statistics.median(process) for process in processes if process]


@dataclass(frozen=True)
class Launched:
    """One way in which a kernel was launched, per round (the mean over rounds).

    Attributes:
        configuration: its launch configuration.
        count: how many.
        ns: their time.
        occupancy: the theoretical one, and what limits it; None where the GPU's compute capability
            is not known.
        variant: the kernel's raw name, where that says how it was tuned and is short.
    """

    configuration: Configuration
    count: float
    ns: float
    occupancy: Occupancy | None = None
    variant: Maybe[str] = ""

    def plus(self, other: Launched) -> Launched:
        """Both together."""
        return replace(self, count=self.count + other.count, ns=self.ns + other.ns)

    def divided(self, number: int) -> Launched:
        """The mean, where it is the sum of so many."""
        return replace(self, count=self.count / number, ns=self.ns / number)


@dataclass(frozen=True)
class Part:
    """One line of a breakdown, per round (the median over rounds).

    Attributes:
        label: canonical kernel name, copy by direction and size, or API function.
        count: how many.
        ns: their time: on the GPU for operations, on the host for calls.
        bytes: what they copied, set or allocated.
        category: class of a kernel; empty for others.
        raw: the names patterns are matched with, apart from the label; not kept in baselines.
        launched: of a kernel, the launch configurations that took the most time, the longest first;
            empty where they are not known.
    """

    label: str
    count: float
    ns: float = 0.0
    bytes: float = 0.0
    category: str = ""
    raw: tuple[str, ...] = ()
    launched: tuple[Launched, ...] = ()

    def amount(self, unit: Unit) -> float:
        """How much of it there is in a unit of bytes, counts or time."""
        return {"1": self.count, "B": self.bytes}.get(unit, self.ns)

    def matches(self, pattern: str) -> bool:
        """Whether the label or a raw name matches the shell-style pattern (case counts)."""
        return any(fnmatchcase(name, pattern) for name in (self.label, *self.raw))


def largest_first(part: Part) -> tuple[float, float, str]:
    """The order of a breakdown: by time, then by size, then by name."""
    return (-part.ns, -part.bytes, part.label)


@dataclass(frozen=True)
class Parts:
    """One breakdown of a window: its parts, the longest first, of equal ones the largest.

    Attributes:
        parts: the parts.
        kind: of which breakdown, where patterns are to be looked at that match nothing.
    """

    parts: tuple[Part, ...] = ()
    kind: Breakdown | None = field(default=None, compare=False, repr=False)

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def matching(self, pattern: str) -> tuple[Part, ...]:
        """The parts that match the pattern.

        Raises:
            UnknownPattern: it matches none, and never could.
        """
        found = tuple(part for part in self.parts if part.matches(pattern))
        if not found and self.kind is not None:
            look_for(pattern, self.kind)
        return found

    def count(self, pattern: str = "*") -> float:
        """How many per round match the pattern."""
        return sum(part.count for part in self.matching(pattern))

    def time(self, pattern: str = "*") -> float:
        """The time per round of what matches the pattern, ns."""
        return sum(part.ns for part in self.matching(pattern))

    def bytes(self, pattern: str = "*") -> float:
        """The bytes per round of what matches the pattern."""
        return sum(part.bytes for part in self.matching(pattern))


@dataclass(frozen=True)
class WindowMeasurement:
    """What was measured of one window: a test's body, a named part of it, or a load that clients
    sent to a server.

    ``check`` functions get this value.

    Attributes:
        name: "test" for the body, else the name given to ``nsys.range`` or to the server's window.
        samples: per metric key, its samples by process and round.
        units: what a round processes (median over rounds).
        breakdown: what a round is made of.
        precision: of its floating-point operations, as the test says; "" if it does not.
    """

    name: str
    samples: Mapping[str, Samples]
    units: Mapping[str, float] = field(default_factory=dict)
    breakdown: Mapping[Breakdown, Parts] = field(default_factory=dict)
    precision: str = ""

    def by_process(self, key: str) -> Samples:
        """The samples of a metric by process; empty if it was not measured.

        ``X.per_unit`` is derived where the test declared the unit, and round by round where the
        unit was counted in each.
        """
        if key in self.samples:
            return self.samples[key]
        per_unit = split_per_unit(key)
        if per_unit is None or per_unit[1] not in self.units:
            return ()
        whole, unit = per_unit
        processes, counted = self.by_process(whole), self.counted(unit)
        count = self.units[unit]
        if [*map(len, processes)] != [*map(len, counted)]:
            counted = tuple((count,) * len(process) for process in processes)
        return tuple(
            tuple(value / number for value, number in zip(process, numbers, strict=True))
            for process, numbers in zip(processes, counted, strict=True)
        )

    def counted(self, unit: str) -> Samples:
        """How many of a unit each round processed, where they were counted; else empty."""
        found = self.samples.get(COUNTED_UNITS.get(unit, ""), ())
        if unit not in self.units or not any(found) or not all(map(all, found)):
            return ()
        # Of requests, those that failed are no units.
        return found if math.isclose(centre(found), self.units[unit], rel_tol=1e-3) else ()

    @property
    def gates(self) -> Gates:
        """What is gated by default, which is another list where clients loaded a server."""
        return "test" if CLIENT_METRICS.isdisjoint(self.samples) else "server"

    def values(self, key: str) -> tuple[float, ...]:
        """All samples of a metric, over processes and rounds; empty if it was not measured.

        Raises:
            UnknownMetric: there is no such metric.
        """
        found = tuple(value for process in self.by_process(key) for value in process)
        if not found:
            known_metric(key)
        return found

    def __getitem__(self, key: str) -> float:
        """The value of a metric: the median of its processes' medians.

        Raises:
            KeyError: it was not measured.
            UnknownMetric: there is no such metric.
        """
        value = self.get(key)
        if value is None:
            raise KeyError(f"{known_metric(key).key} was not measured")
        return value

    def get(self, key: str) -> float | None:
        """The value of a metric; None if it was not measured.

        Raises:
            UnknownMetric: there is no such metric.
        """
        processes = self.by_process(key)
        if any(processes):
            return centre(processes)
        lookup(key)
        return None

    @property
    def kernels(self) -> Parts:
        """Kernels by canonical name."""
        return replace(self.breakdown.get("kernels", Parts()), kind="kernels")

    @property
    def copies(self) -> Parts:
        """Copies by direction and size."""
        return replace(self.breakdown.get("copies", Parts()), kind="copies")

    @property
    def calls(self) -> Parts:
        """CUDA API calls by name."""
        return replace(self.breakdown.get("calls", Parts()), kind="calls")

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was recorded of the GPU."""
        keys = ("gpu.kernel_count", "gpu.busy", "api.count", "mem.alloc_count")
        copies = [f"memcpy.{kind}.count" for kind in ("h2d", "d2h", "d2d", "p2p")]
        return not any(value for key in (*keys, *copies) for value in self.values(key))


@dataclass(frozen=True)
class Environment:
    """Where and with what a measurement was made.

    Attributes:
        gpu: name of the GPU, "" if there was none.
        gpu_digests: which GPUs of that name, as digests of their UUIDs; empty if unknown.
        driver: version of the NVIDIA driver.
        cuda: CUDA version of the driver ("13.0").
        nsys: version of nsys; "" where CUPTI recorded in its place.
        trace: options of the capture.
        versions: Python and the frameworks that are installed, and ``cupti``, where that recorded.
        date: day of the measurement (ISO 8601).
        commit: what git had checked out, with ``+dirty`` where files differed from it; "" if
            unknown.
        server: the engine, or program, of a server and its arguments, as may be handed on; empty
            where there is none, or it is not known.
    """

    gpu: str = ""
    driver: str = ""
    cuda: str = ""
    nsys: str = ""
    trace: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    gpu_digests: Maybe[tuple[str, ...]] = ()
    server: Maybe[tuple[str, ...]] = ()
    commit: Maybe[str] = ""

    @property
    def capture(self) -> str:
        """What recorded, such as ``nsys 2025.3.1`` or ``cupti 13.0``."""
        cupti = self.versions.get(CUPTI)
        return f"nsys {self.nsys}".rstrip() if cupti is None else f"cupti {cupti}"

    def is_captured_as(self, other: Environment) -> bool:
        """Whether both were recorded by nsys, or both by CUPTI within the process."""
        return (CUPTI in self.versions) == (CUPTI in other.versions)

    def is_elsewhere(self, other: Environment) -> bool:
        """Whether it is known that the other has no GPU of this."""
        mine, others = set(self.gpu_digests), set(other.gpu_digests)
        return bool(mine and others) and mine.isdisjoint(others)


@dataclass(frozen=True)
class Measurement:
    """Everything measured of one test.

    Attributes:
        nodeid: the test.
        device: the key of its baseline folder.
        warmup: calls before the measured ones.
        unlocked: why the GPU's clocks cannot be taken for locked; "" if they can, or where nothing
            was run on one; not kept in baselines.
        cold_l2: whether the L2 cache was emptied before each of these.
        rounds: measured calls per process.
        windows: by name; the body's first. A server test has no body.
        environment: where it was made.
        remarks: what was odd about it, in sentences: disturbed rounds, data that was mended; not
            kept in baselines.
        leftovers: launches in its rounds by what earlier tests left running, in words; "" for none;
            not kept in baselines.
        warnings: what is to be known of it though the test passes, in sentences; not kept in
            baselines.
        timeline: one round of the test's body, or of its first window where it has none; None where
            none was wanted or kept.
        bottlenecks: what keeps the rounds of the test's body, or of its windows where it has none,
            from being faster, where it was asked for; not kept in baselines.
        recordings: those that it was measured from; empty where it was measured in this run; not
            kept in baselines.
        counters: what ncu has counted of some of its kernels, where it was asked to.
    """

    nodeid: str
    device: str
    warmup: int
    rounds: int
    windows: Mapping[str, WindowMeasurement]
    environment: Environment
    remarks: tuple[str, ...] = ()
    leftovers: str = ""
    warnings: tuple[str, ...] = ()
    timeline: Timeline | None = None
    bottlenecks: tuple[Bottleneck, ...] = ()
    recordings: tuple[str, ...] = ()
    counters: tuple[KernelCounters, ...] = ()
    cold_l2: bool = False
    unlocked: str = ""

    @property
    def bodies(self) -> tuple[str, ...]:
        """The windows that stand for the test, which are its body, or all where it has none."""
        return (MAIN,) if MAIN in self.windows else tuple(self.windows)

    @property
    def processes(self) -> int:
        """How many worker processes measured it."""
        return max(
            (
                len(processes)
                for window in self.windows.values()
                for processes in window.samples.values()
            ),
            default=0,
        )
