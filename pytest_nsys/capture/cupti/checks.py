"""Whether CUPTI has recorded what it was to: other profilers take its records, or switch it off."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_nsys.capture.cupti.records import DRIVER, KERNEL, RUNTIME, Records
from pytest_nsys.cuda.names import api_name

CallName = Callable[[bool, int], str]
"""Name of a call, by whether it is the runtime's and its number."""

_WAIT = re.compile("cuCtxSynchronize")
_LAUNCH = re.compile(r"cu(da)?Launch(Cooperative)?Kernel\w*")
_BEGIN = re.compile(r"cu(da)?StreamBeginCapture\w*")
_END = re.compile(r"cu(da)?StreamEndCapture\w*")


def unrecorded_launches(records: Records, call_name: CallName) -> int:
    """How many calls have launched a kernel of which there is no record.

    A profiler that ends (torch.profiler, Proton) switches kinds of records off, whoever else wants
    them. Launches into a graph that is being captured run nothing, nor do those that fail.

    Args:
        records: of calls and kernels.
        call_name: name of a call, by whether it is the runtime's and its number.
    """
    kernels = records[KERNEL]["correlation"] if KERNEL in records else np.zeros(0, np.uint32)
    spans = _captures(records, call_name)
    count = 0
    for runtime, every in _calls(records):
        calls = _called(every, _LAUNCH, call_name, runtime=runtime)
        calls = calls[(calls["result"] == 0) & ~np.isin(calls["correlation"], kernels)]
        for begin, end in spans:
            calls = calls[(calls["end"] < begin) | (calls["start"] > end)]
        count += len(calls)
    return count


def has_wait(records: Records, began: int, call_name: CallName) -> bool:
    """Whether there is a record of a wait for the device that began then or later.

    Args:
        records: of calls.
        began: ns of CUPTI's clock.
        call_name: name of a call, by whether it is the runtime's and its number.
    """
    return any(
        (_called(calls, _WAIT, call_name, runtime=runtime)["start"] >= began).any()
        for runtime, calls in _calls(records)
    )


def _calls(records: Records) -> Iterator[tuple[bool, npt.NDArray[Any]]]:
    """The calls, by whether they are the runtime's."""
    for kind in (RUNTIME, DRIVER):
        if kind in records:
            yield kind == RUNTIME, records[kind]


def _captures(records: Records, call_name: CallName) -> list[tuple[int, int]]:
    """When streams were captured into graphs: from each beginning to the next end, if any."""
    begins, ends = (
        np.sort(
            np.concatenate(
                [
                    np.zeros(0, np.uint64),
                    *(
                        _called(calls, pattern, call_name, runtime=runtime)["start"]
                        for runtime, calls in _calls(records)
                    ),
                ]
            )
        )
        for pattern in (_BEGIN, _END)
    )
    last = np.iinfo(np.uint64).max
    places = np.searchsorted(ends, begins)
    return [
        (int(begin), int(ends[place]) if place < len(ends) else int(last))
        for begin, place in zip(begins, places.tolist(), strict=True)
    ]


def _called(
    calls: npt.NDArray[Any],
    pattern: re.Pattern[str],
    call_name: CallName,
    *,
    runtime: bool,
) -> npt.NDArray[Any]:
    """The calls of functions whose names, without suffixes, match."""
    chosen = [
        number
        for number in np.unique(calls["cbid"]).tolist()
        if pattern.fullmatch(api_name(call_name(runtime, number)))
    ]
    found: npt.NDArray[Any] = calls[np.isin(calls["cbid"], chosen)]
    return found
