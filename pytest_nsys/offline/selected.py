"""Bottlenecks of what is selected of a capture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_nsys.insights.bottlenecks import Bottleneck, diagnose
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.trace import Trace
from pytest_nsys.trace.narrow import of_process
from pytest_nsys.trace.schema import process_number
from pytest_nsys.windows.cut import whole
from pytest_nsys.windows.ranges import Selection, cut_ranges, of_selected_process, selected_ranges


def diagnose_selected(
    trace: Trace, selection: Selection, naming: Naming = Naming()
) -> Sequence[Bottleneck]:
    """The bottlenecks of what is selected, the largest share first.

    Ranges of several processes are looked at process by process, each on the devices that it uses:
    a finding is that of the process that has most of it, and says which that is.

    Raises:
        NotACapture: there is no such range or process.
    """
    trace = of_selected_process(trace, selection)
    if selection.range is None:
        return diagnose(whole(trace), naming)
    rows = selected_ranges(trace, selection)
    pids = rows["pid"].unique().tolist()
    if len(pids) == 1:
        return diagnose(cut_ranges(of_process(trace, pids[0]), rows), naming)
    largest: dict[str, Bottleneck] = {}
    for pid in pids:
        cut = cut_ranges(of_process(trace, pid), rows[rows["pid"] == pid])
        for found in diagnose(cut, naming):
            known = largest.get(found.name)
            if known is None or found.share > known.share:
                of_it = f"in process {process_number(pid)}"
                largest[found.name] = replace(found, evidence=(*found.evidence, of_it))
    return sorted(largest.values(), key=lambda one: (-one.share, one.name))
