"""All rules, and what they find together: in windows, and in the rounds of tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from pytest_nsys.insights.bottlenecks.allocations import allocation
from pytest_nsys.insights.bottlenecks.background import Background
from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck
from pytest_nsys.insights.bottlenecks.idleness import host_bound, launch_bound, sync_bound
from pytest_nsys.insights.bottlenecks.kernels import communication_overlap, one_kernel
from pytest_nsys.insights.bottlenecks.sampling import (
    low_memory_throughput,
    low_sm_activity,
    low_tensor_activity,
)
from pytest_nsys.insights.bottlenecks.serving import Serving, serving_of
from pytest_nsys.insights.bottlenecks.transfers import (
    copy_overlap,
    pageable_copies,
    synchronous_copies,
    transfer_bound,
)
from pytest_nsys.insights.bottlenecks.view import View, build_view
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.trace import Trace
from pytest_nsys.windows.cut import Cut, cut_records
from pytest_nsys.windows.record import MAIN, WindowRecord

RULES: tuple[Callable[[View], Bottleneck | None], ...] = (
    host_bound,
    sync_bound,
    launch_bound,
    transfer_bound,
    pageable_copies,
    synchronous_copies,
    copy_overlap,
    allocation,
    one_kernel,
    communication_overlap,
    low_sm_activity,
    low_tensor_activity,
    low_memory_throughput,
)
"""Every rule, a pure function of a view; causes come before what they lead to."""

TOO_SHORT = 50_000
"""ns. Windows that are shorter than this on average have none: a launch, a synchronisation
and what tracing adds to them take about as long, so shares of such a window say nothing."""


def diagnose(
    cut: Cut,
    naming: Naming = Naming(),
    background: Background | None = None,
    serving: Serving | None = None,
) -> tuple[Bottleneck, ...]:
    """What keeps the windows from being faster, all of them taken together.

    Args:
        cut: windows of one kind: the rounds of a test, or the instances of a range. Amounts in the
            bottlenecks are means per window.
        naming: how kernels are named and classed.
        background: that of the cut's trace and the naming; given one, many cuts of a trace are
            diagnosed in time proportional to the cuts.
        serving: what a server did in the windows, if they are those of one.

    Raises:
        ValueError: the background is that of another trace.

    Returns:
        The bottlenecks, those that concern the most time first; none for windows that are empty or
        too short, have nothing wrong with them, or are of a trace without times.
    """
    if not cut.trace.knows("gpu.busy"):
        return ()
    if background is None:
        background = Background(cut.trace, naming)
    elif background.trace is not cut.trace:
        raise ValueError("the background is that of another trace")
    view = build_view(cut, background, serving)
    if view.each < TOO_SHORT:
        return ()
    found = [one for rule in RULES if (one := rule(view)) is not None]
    return tuple(sorted(found, key=lambda one: -one.share))


def diagnose_rounds(
    trace: Trace,
    records: Iterable[WindowRecord],
    nodeids: Collection[str],
    naming: Naming = Naming(),
) -> dict[str, tuple[Bottleneck, ...]]:
    """Per test, the bottlenecks of the rounds of its body taken together.

    Of a server test, which has no body, they are of each of its windows.

    Args:
        trace: the capture.
        records: of the windows, the worker's or those of rounds that were sent to a server.
        nodeids: the tests that are wanted.
        naming: how kernels are named and classed.

    Raises:
        WindowsMissing: the capture lacks a window of them.
    """
    wanted = [one for one in records if one.kind == "round" and one.nodeid in nodeids]
    # Once for all: it reads all ranges of the capture.
    cut = cut_records(trace, wanted)
    rounds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, record in enumerate(wanted):
        rounds[record.nodeid, record.name].append(place)
    background = Background(trace, naming)
    found: dict[str, tuple[Bottleneck, ...]] = {}
    for (nodeid, name), places in rounds.items():
        of_window = Cut(trace, cut.starts[places], cut.ends[places])
        serving = serving_of(of_window, [wanted[place] for place in places])
        bottlenecks = diagnose(of_window, naming, background, serving)
        window = "" if name == MAIN else name
        of_test = (replace(one, window=window) for one in bottlenecks)
        found[nodeid] = (*found.get(nodeid, ()), *of_test)
    return found
