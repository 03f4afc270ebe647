"""What the rounds of tests suffer from, test by test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from pytest_nsys.cut import cut_records
from pytest_nsys.diagnosis.background import Background
from pytest_nsys.diagnosis.finding import Finding
from pytest_nsys.diagnosis.rules import diagnose
from pytest_nsys.metrics.naming import Naming
from pytest_nsys.trace import Trace
from pytest_nsys.windows import MAIN, WindowRecord


def diagnose_rounds(
    trace: Trace,
    records: Iterable[WindowRecord],
    nodeids: Collection[str],
    naming: Naming = Naming(),
) -> dict[str, tuple[Finding, ...]]:
    """Per test, the findings on the rounds of its body taken together.

    Args:
        trace: the capture.
        records: the worker's records of windows.
        nodeids: the tests that are wanted.
        naming: how kernels are named and classed.

    Raises:
        WindowsMissing: the capture lacks a window of them.
    """
    rounds: dict[str, list[WindowRecord]] = defaultdict(list)
    for record in records:
        if record.kind == "round" and record.name == MAIN and record.nodeid in nodeids:
            rounds[record.nodeid].append(record)
    background = Background(trace, naming)
    return {
        nodeid: diagnose(cut_records(trace, of_test), naming, background)
        for nodeid, of_test in rounds.items()
    }
