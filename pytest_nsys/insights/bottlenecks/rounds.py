"""What the rounds of tests suffer from, test by test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace

from pytest_nsys.insights.bottlenecks.background import Background
from pytest_nsys.insights.bottlenecks.finding import Finding
from pytest_nsys.insights.bottlenecks.rules import diagnose
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.trace import Trace
from pytest_nsys.windows.cut import cut_records
from pytest_nsys.windows.record import MAIN, WindowRecord


def diagnose_rounds(
    trace: Trace,
    records: Iterable[WindowRecord],
    nodeids: Collection[str],
    naming: Naming = Naming(),
) -> dict[str, tuple[Finding, ...]]:
    """Per test, the findings on the rounds of its body taken together.

    Of a server test, which has no body, they are on each of its windows.

    Args:
        trace: the capture.
        records: of the windows, the worker's or those of rounds that were sent to a server.
        nodeids: the tests that are wanted.
        naming: how kernels are named and classed.

    Raises:
        WindowsMissing: the capture lacks a window of them.
    """
    rounds: dict[tuple[str, str], list[WindowRecord]] = defaultdict(list)
    for record in records:
        if record.kind == "round" and record.nodeid in nodeids:
            rounds[record.nodeid, record.name].append(record)
    background = Background(trace, naming)
    found: dict[str, tuple[Finding, ...]] = {}
    for (nodeid, name), of_window in rounds.items():
        findings = diagnose(cut_records(trace, of_window), naming, background)
        window = "" if name == MAIN else name
        of_test = (replace(finding, window=window) for finding in findings)
        found[nodeid] = (*found.get(nodeid, ()), *of_test)
    return found
