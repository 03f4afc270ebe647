"""The rounds that a client sent, as windows of the capture in which they were served."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_nsys.capture.proof import prove_contents
from pytest_nsys.servers.captured import WindowCapture
from pytest_nsys.trace.clock import capture_times, prove_covered
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import whole
from pytest_nsys.windows.record import WindowRecord


def round_records(
    trace: Trace, window: WindowCapture, nodeid: str, *, memory: bool = False
) -> tuple[WindowRecord, ...]:
    """The records of a window's rounds, to be measured and recorded like those of a worker.

    Args:
        trace: the window's capture, just exported.
        window: what was sent in it; without rounds the whole collection is one.
        nodeid: the test.
        memory: whether all device memory was allocated in this capture, so that it is known: that
            of a program that was started in it.

    Raises:
        TimeNotCovered: the capture was not collecting during a round.
    """
    rounds = [
        WindowRecord(
            index=number,
            kind="round",
            nodeid=nodeid,
            name=window.name,
            round=number,
            units=sent.units,
            state=sent.state,
            times=capture_times(trace, sent.began_utc_ns, sent.ended_utc_ns),
            values=sent.values,
        )
        for number, sent in enumerate(window.rounds)
    ]
    if not rounds:
        everything = WindowRecord(0, "round", nodeid, window.name, 0, times=_whole(trace))
        rounds = [everything]
    if not memory:
        return tuple(rounds)
    starts, ends = zip(*(record.times for record in rounds if record.times), strict=True)
    around = (min(starts), max(ends))
    span = WindowRecord(len(rounds), "span", nodeid, window.name, -1, times=around)
    return (*rounds, span)


def _whole(trace: Trace) -> tuple[int, int]:
    """From the beginning of the collection to its end; if that is not known, to the last event."""
    return 0, int(whole(trace).ends[0]) if trace.length_ns is None else trace.length_ns


def prove_rounds(
    trace: Trace, records: Sequence[WindowRecord], *, needs_gpu: bool, needs_cuda: bool
) -> None:
    """The capture holds what the server did while the rounds were sent.

    Args:
        trace: the exported capture.
        records: of the rounds.
        needs_gpu: whether there must be a GPU.
        needs_cuda: whether the server must have used it.

    Raises:
        TimeNotCovered: a round does not lie within the collection.
        NoGpu, DiagnosticError, EventsMissing, NoCudaEvents: as of
            `pytest_nsys.capture.proof.prove_trace`.
    """
    prove_contents(trace, needs_gpu=needs_gpu, needs_cuda=needs_cuda)
    for record in records:
        if record.times is not None and trace.began_utc_ns is not None:
            prove_covered(trace, *record.times)
