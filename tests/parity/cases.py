"""Exports made row by row for the comparison with nsys's own ``stats``, and what they show.

Nothing here is left to chance: the same case is the same export under every version of Python, as
what nsys says of it is kept.
"""

from __future__ import annotations

import csv
import difflib
import random
from collections.abc import Callable
from typing import Any

import pytest

from pytest_nsys.trace.schema import NvtxType
from tests.support.exports import rows
from tests.support.exports.tables import VM
from tests.support.harness import TESTS

MAIN = VM | 900 << 24 | 900
"""The main thread of the first process."""
WORKER = VM | 900 << 24 | 917
"""Another thread of the first process."""
OTHER = VM | 901 << 24 | 901
"""The main thread of the second process."""

START_END = NvtxType.START_END


class Export(rows.Export):
    """An export of these threads."""

    main = MAIN


def nsys_report(capture: str, report: str) -> list[dict[str, str]]:
    """The rows of one of the reports that nsys made of a real capture."""
    with (TESTS / "captures" / f"{capture}.{report}.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if any(row.values())]


CASES: dict[str, Callable[[], Export]] = {}
"""Exports by what they show."""


def case(make: Callable[[Export], None]) -> Callable[[Export], None]:
    """Add a case, named after its function."""

    def made() -> Export:
        export = Export()
        make(export)
        return export

    CASES[make.__name__] = made
    return make


@case
def ties(e: Export) -> None:
    """Equal totals: the order of rows. Values in the middle between two roundings."""
    corr = 0
    for name, durations in (
        ("zeta", (10, 30)),
        ("alpha", (10, 30)),
        ("once", (40,)),
        ("quarters", (1, 1, 1, 2)),  # 1.25
        ("three quarters", (1, 2, 2, 2)),  # 1.75
        ("twentieths", (1,) * 17 + (2,) * 3),  # 1.15
        ("larger twentieths", (5603,) * 17 + (5604,) * 3),  # 5603.15
        ("odd", (3, 4)),
    ):
        for busy in durations:
            corr += 1
            e.launch(1000 * corr, corr, name, busy=busy)
    for number, name in enumerate(("cudaFree", "cudaMalloc", "cudaAaa_v3020", "cudaZzz_v10000")):
        e.call(500_000 + 100 * number, 500_000 + 100 * number + 33, 900 + number, name)


@case
def shares(e: Export) -> None:
    """Percentages in the middle between two roundings, of 2,000 ns in all."""
    for number, busy in enumerate((1, 3, 5, 23, 45, 47, 101, 105, 107, 203, 301, 403, 656)):
        e.call(2000 * number, 2000 * number + busy, number + 1, f"cuda{number}_v3020")
        e.kernel(2000 * number + 700, 2000 * number + 700 + busy, number + 1, f"kernel {number}")


@case
def commas_and_quotes(e: Export) -> None:
    """nsys puts cells with commas between quotation marks; nothing else."""
    names = ('a,b "c"', '"d', 'e"', '"f"', "g;h", "i\tj", "k\rl", ", ", '""', "'", 'm,"', "n\\,")
    for number, name in enumerate(names):
        e.range(1000 * number, 1000 * number + 900, name)
        e.launch(1000 * number + 1, number + 1, name, busy=500 - number)


@case
def two_devices_two_processes(e: Export) -> None:
    """The same correlation ids in two processes; the same kernel on two devices."""
    for thread in (MAIN, OTHER, WORKER):
        for corr in range(1, 6):
            number = corr + (10 if thread == WORKER else 0)
            e.call(1000 * number, 1000 * number + corr, number, globalTid=thread)
            e.kernel(
                1000 * number + 50,
                1000 * number + 90 + corr,
                number,
                "gemm" if corr % 2 else "norm",
                thread=thread,
                deviceId=corr % 2 if thread == MAIN else corr // 4,
            )
        e.range(900, 3500, "step", globalTid=thread)
        e.range(10_900, 13_500, "later", globalTid=thread)
    e.copy(100, 300, 2, 10, 4096, thread=OTHER, srcDeviceId=0, dstDeviceId=1)


@case
def graph_rows_and_nodes(e: Export) -> None:
    """Both kinds of rows on CUDA graphs, one launch each."""
    e.call(100, 180, 1, "cudaGraphLaunch_v10000")
    for node in range(4):
        e.kernel(200 + 50 * node, 240 + 50 * node, 1, f"node {node % 2}", graphNodeId=70 + node)
    e.memset(500, 520, 1, 64, graphNodeId=80)
    e.call(1000, 1100, 2, "cudaGraphLaunch_v10000")
    e.graph(1200, 2400, 2, graphId=1, graphExecId=2)
    e.call(3000, 3100, 3)
    e.kernel(3050, 3200, 3)
    e.range(50, 190, "nodes")
    e.range(900, 1150, "whole")
    e.range(40, 4000, "all")


@case
def whole_graphs_only(e: Export) -> None:
    """Nothing but whole graphs."""
    for number in range(3):
        e.call(1000 * number, 1000 * number + 100, number, "cudaGraphLaunch_v10000")
        e.graph(1000 * number + 200, 1000 * number + 700 + number, number)
    e.range(0, 1900, "replay")


@case
def unified_memory(e: Export) -> None:
    """Migrations that nobody called for; every kind of copy, and one that is not listed."""
    for kind in (*range(14), 99):
        e.copy(100 * kind, 100 * kind + 10 + kind, 200 + kind, kind, 1000 * (kind + 1))
    for number in range(6):
        e.copy(5000 + number, 5100, None, 11 + number % 3, 65_536, migrationCause=1)
        e.copy(6000 + number, 6050, 0, 11 + number % 3, 4096)
    e.memset(7000, 7100, 999, 2**33)
    e.launch(8000, 300)
    e.range(0, 9000, "touch")


@case
def memory_sets_only(e: Export) -> None:
    """Sizes around the third decimal of a megabyte."""
    for number, size in enumerate((499, 500, 501, 1500, 2500, 999_500, 0, 1_048_576, 123_456_789)):
        e.call(100 * number, 100 * number + 10, number + 1, "cudaMemsetAsync_v3020")
        e.memset(100 * number + 20, 100 * number + 40, number + 1, size)
    e.range(0, 450, "fill")


@case
def copies_of_half_a_thousand_bytes(e: Export) -> None:
    """Means and medians of sizes that lie between two thousands."""
    for kind, sizes in ((1, (500, 1500)), (2, (500,)), (8, (1500,)), (10, (2500, 2500, 2503))):
        for size in sizes:
            e.copy(10, 20, 1, kind, size)


@case
def sizes_by_the_half_thousand(e: Export) -> None:
    """Larger such sizes; extremes, means and medians of all kinds of copies."""
    for kind in range(14):
        for number in range(1 + kind % 5):
            size = 500 * (1 + 2 * ((7919 * kind + 104_729 * number) % 50_000))
            e.copy(10 * kind, 10 * kind + 5 + number, None, kind, size)


@case
def nested_ranges(e: Export) -> None:
    """Levels and children; a child without GPU work is not counted, but makes a level."""
    e.range(0, 10_000, "outer")
    for step in range(3):
        at = 100 + 3000 * step
        e.range(at, at + 2500, "step")
        e.range(at + 10, at + 1000, "forward")
        e.range(at + 20, at + 500, "layer")
        e.launch(at + 30, 10 * step + 1)
        e.launch(at + 200, 10 * step + 2, "norm")
        e.range(at + 600, at + 700, "idle")
        e.range(at + 1100, at + 2000, "empty")
        e.range(at + 1110, at + 1900, "deep")
        e.launch(at + 1200, 10 * step + 3)
    e.launch(20_000, 99)


@case
def crossing_ranges(e: Export) -> None:
    """Start/end ranges cross each other and pushed ones; calls lie on their edges."""
    e.range(0, 500, "a", START_END)
    e.range(100, 600, "b", START_END)
    e.range(200, 300, "c", START_END)
    e.range(150, 550, "pushed")
    e.range(150, 560, "a")
    for number, at in enumerate((0, 90, 140, 149, 150, 200, 290, 291, 490, 491, 540, 590, 591)):
        e.launch(at, number + 1, busy=7 * number)


@case
def same_extents(e: Export) -> None:
    """Ranges with the same start and end are each other's parents, so they have no level."""
    for name in ("one", "two"):
        e.range(100, 500, name)
    e.range(120, 300, "inside")
    e.range(0, 900, "around")
    e.launch(130, 1)
    for name in ("x", "y", "z"):
        e.range(2000, 2500, name)
    e.range(2010, 2400, "within")
    e.launch(2100, 2)
    e.range(3000, 3000, "moment")
    e.call(3000, 3000, 3)
    e.kernel(3001, 3002, 3)


@case
def domains_and_strings(e: Export) -> None:
    """Names of domains and of ranges, registered or not, missing or empty."""
    e.domain(1, "CCCL")
    e.domain(2, "other")
    e.domain(2, "the other process's", globalTid=OTHER)
    e.domain(3, None, textId=e.string("a registered domain"))
    e.domain(4, "")
    e.domain(6, "of another thread", globalTid=WORKER)
    corr = 0
    for number in range(7):
        for thread in (MAIN, OTHER):
            at = 1000 * corr + 100
            corr += 1
            e.range(at, at + 100, "plain", domainId=number, globalTid=thread)
            e.registered(at + 1, at + 99, "registered", domainId=number, globalTid=thread)
            e.launch(at + 10, corr, thread=thread, busy=corr)
    for text in (None, "", "with\nline", "ümläut", " blank "):
        at = 1000 * corr + 100
        corr += 1
        e.range(at, at + 100, text)
        e.launch(at + 10, corr, text or "x", busy=100 - corr)
    e.range(60_000, 60_100, None, textId=98_765)
    e.launch(60_010, 78)
    e.range(61_000, 61_100, "no domain", domainId=None)
    e.launch(61_010, 79)


@case
def open_ranges(e: Export) -> None:
    """A range that never ended lasts to the last time that any range knows of."""
    e.range(0, None, "open")
    e.range(100, 200, "closed")
    e.range(150, 5000, "on another thread", globalTid=WORKER)
    e.range(300, None, "open", START_END)
    for number, at in enumerate((10, 110, 310, 4995, 5001, 6000)):
        e.launch(at, number + 1)


@case
def open_ranges_only(e: Export) -> None:
    """No range ever ended."""
    e.range(0, None, "open")
    e.range(500, None, "open too")
    e.launch(10, 1)
    e.launch(400, 2)


@case
def ranges_across_threads(e: Export) -> None:
    """What starts on one thread and ends on another is left out, and is no parent."""
    e.range(0, 1000, "across", START_END, endGlobalTid=WORKER)
    e.range(0, 1000, "same", START_END, endGlobalTid=MAIN)
    e.range(10, 900, "here", START_END)
    e.range(20, None, "open")
    e.range(5, 3000, "far", START_END, endGlobalTid=WORKER)
    e.launch(100, 1)
    e.launch(200, 2, thread=WORKER)
    e.launch(2500, 3)


@case
def calls_on_other_threads(e: Export) -> None:
    """Work launched by another thread belongs to no range; so does what began outside it."""
    e.range(100, 200, "backward")
    e.launch(110, 1, thread=WORKER)
    e.launch(120, 2)
    e.launch(195, 3)  # ends after the range
    e.launch(95, 4)  # begins before it
    e.range(300, 400, "nothing")
    e.launch(310, 5, thread=WORKER)


@case
def kernels_without_launch(e: Export) -> None:
    """No correlation, no call, the call of another process; no queue time, or none at all."""
    e.kernel(100, 200, None, "no correlation")
    e.kernel(200, 300, 55, "no call")
    e.launch(1000, 1, "known")
    e.kernel(1300, 1400, 1, "other process", thread=OTHER)
    e.call(2000, 2020, 2, "cuLaunchKernel")
    e.kernel(2015, 2100, 2, "during its call")
    e.call(3000, 3100, 3)
    e.kernel(3050, 3080, 3, "early")
    e.call(3200, 3300, 4)
    e.kernel(3300, 3310, 4, "just then")
    e.call(4000, 4100, None, "without correlation")
    e.range(900, 5000, "all")


@case
def never_queued(e: Export) -> None:
    """All kernels start before their calls end: no queue time at all."""
    for number in range(4):
        e.call(100 * number, 100 * number + 50, number + 1, "cudaLaunchKernelExC_v11060")
        e.kernel(100 * number + 20, 100 * number + 30 + 15 * number, number + 1)


@case
def versions_of_calls(e: Export) -> None:
    """Which endings nsys takes off the names of calls."""
    names = "a_v3020 a_v7000 a_v10000 a_v11060 a_v999 a_vabcd _v1234 v1234 a_v1234_v5678 a_V7000"
    for number, name in enumerate(names.split()):
        e.call(100 * number, 100 * number + 10 + number // 2, number + 1, name)
        e.kernel(100 * number + 20, 100 * number + 40, number + 1)


@case
def long_times(e: Export) -> None:
    """Hours of work that differ by nanoseconds: the deviation must not be lost."""
    for number in range(6):
        at = 10**13 * number
        e.call(at, at + 3 * 10**12 + number, number + 1)
        e.kernel(at + 4 * 10**12, at + 8 * 10**12 + 3 * number, number + 1)
        e.copy(at, at + 10**12 + number, None, 1, 2**40 + number)
    e.range(0, 6 * 10**13, "hours")


@case
def nothing_took_time(e: Export) -> None:
    """All durations are nought: shares of nothing."""
    for number in range(3):
        e.call(100 * number, 100 * number, number + 1)
        e.kernel(100 * number, 100 * number, number + 1)
        e.copy(100 * number, 100 * number, number + 1, 1, 0)
    e.range(0, 250, "quick")


@case
def calls_only(e: Export) -> None:
    """A program that only asks."""
    e.call(10, 20, 1, "cudaGetDeviceCount_v3020")
    e.range(0, 100, "ask")


@case
def kernels_only(e: Export) -> None:
    """Kernels and no table of calls."""
    e.kernel(10, 20, 1)
    e.range(0, 100, "step")


@case
def ranges_only(e: Export) -> None:
    """No CUDA at all."""
    e.range(0, 100, "host")


@case
def no_ranges(e: Export) -> None:
    """CUDA and no NVTX."""
    e.launch(10, 1)
    e.copy(10, 20, 1)


@case
def empty_tables(e: Export) -> None:
    """All tables, no rows."""
    for kind in ("KERNEL", "MEMCPY", "MEMSET", "RUNTIME", "GRAPH_TRACE"):
        e.rows[f"CUPTI_ACTIVITY_KIND_{kind}"] = []
    e.rows["NVTX_EVENTS"] = []


def random_export(seed: int) -> Export:
    """A small export of anything: few threads, names and times, so that they often coincide."""
    source = random.Random(seed)

    def below(limit: int) -> int:
        # Only random() yields the same numbers under all versions of Python.
        return int(source.random() * limit)

    def pick(values: Any) -> Any:
        return values[below(len(values))]

    export = Export()
    threads = (MAIN, WORKER, OTHER)[: 1 + below(3)]
    export.domain(1, "lib")
    scale = pick((1, 10, 1000))
    for corr in range(1, 6 + below(40)):
        thread, at = pick(threads), below(300) * scale
        end = at + below(20) * scale
        export.call(at, end, corr, pick(("cudaA_v3020", "cudaB_v10000", "cuC")), globalTid=thread)
        for _ in range(pick((0, 1, 1, 1, 3))):
            start = max(at, end - 3 * scale + below(12) * scale)
            stop = start + below(9) * scale
            place = {"thread": thread, "deviceId": below(2)}
            what = below(8)
            if what == 0:
                export.copy(start, stop, corr, pick((1, 2, 8, 10)), below(5) * 700_500, **place)
            elif what == 1:
                export.memset(start, stop, corr, below(4000), **place)
            elif what == 2:
                export.graph(start, stop, corr, **place)
            else:
                export.kernel(start, stop, corr, pick(("gemm", "norm", "copy")), **place)
    for _ in range(below(30)):
        at = below(280) * scale
        end = None if below(15) == 0 else at + below(120) * scale
        more = {"globalTid": pick(threads), "domainId": pick((0, 0, 1))}
        if below(15) == 0:
            more["endGlobalTid"] = pick(threads)
        export.range(at, end, pick("abcd"), pick((59, 59, 59, 60)), **more)
    return export


RANDOM = range(20)
"""Seeds of the random exports that nsys 2025.3 was asked about."""


def named_export(name: str) -> Export:
    """The export of a case, or the random one ``random_NN``."""
    return random_export(int(name[-2:])) if name.startswith("random_") else CASES[name]()


def assert_same_text(ours: str, theirs: str) -> None:
    """Fail with the lines in which the two differ."""
    if ours != theirs:
        lines = difflib.unified_diff(
            theirs.split("\n"), ours.split("\n"), "nsys", "ours", lineterm="", n=0
        )
        pytest.fail("\n".join(line[:600] for line in lines), pytrace=False)
