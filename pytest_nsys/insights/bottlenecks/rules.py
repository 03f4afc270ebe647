"""All rules, and what they find together."""

from __future__ import annotations

from collections.abc import Callable

from pytest_nsys.insights.bottlenecks.allocations import allocation
from pytest_nsys.insights.bottlenecks.background import Background
from pytest_nsys.insights.bottlenecks.finding import Finding
from pytest_nsys.insights.bottlenecks.idleness import host_bound, launch_bound, sync_bound
from pytest_nsys.insights.bottlenecks.kernels import communication_overlap, one_kernel
from pytest_nsys.insights.bottlenecks.sampling import (
    low_memory_throughput,
    low_sm_activity,
    low_tensor_activity,
)
from pytest_nsys.insights.bottlenecks.transfers import (
    copy_overlap,
    pageable_copies,
    synchronous_copies,
    transfer_bound,
)
from pytest_nsys.insights.bottlenecks.view import View, build_view
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.windows.cut import Cut

Rule = Callable[[View], Finding | None]

RULES: tuple[Rule, ...] = (
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
"""ns. Windows that are shorter than this on average get no findings: a launch, a synchronisation
and what tracing adds to them take about as long, so shares of such a window say nothing."""


def diagnose(
    cut: Cut, naming: Naming = Naming(), background: Background | None = None
) -> tuple[Finding, ...]:
    """What keeps the windows from being faster, all of them taken together.

    Args:
        cut: windows of one kind: the rounds of a test, or the instances of a range. Amounts in the
            findings are means per window.
        naming: how kernels are named and classed.
        background: that of the cut's trace and the naming; given one, many cuts of a trace are
            diagnosed in time proportional to the cuts.

    Raises:
        ValueError: the background is that of another trace.

    Returns:
        The findings, those that concern the most time first; none for windows that are empty or too
        short, or have nothing wrong with them.
    """
    if background is None:
        background = Background(cut.trace, naming)
    elif background.trace is not cut.trace:
        raise ValueError("the background is that of another trace")
    view = build_view(cut, background)
    if view.each < TOO_SHORT:
        return ()
    found = [finding for rule in RULES if (finding := rule(view)) is not None]
    return tuple(sorted(found, key=lambda finding: -finding.share))
