"""What a server test hands to the rest: its windows, each a capture with the rounds sent in it, and
the records of these rounds, as those of a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_nsys.capture.proof import prove_contents
from pytest_nsys.gpu.state import RoundState
from pytest_nsys.trace.clock import capture_times, prove_covered
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import whole
from pytest_nsys.windows.record import WindowRecord


@dataclass(frozen=True)
class SentRound:
    """One round: from the moment its first request was sent to the end of its last.

    Attributes:
        began_utc_ns: UTC, ns since 1970.
        ended_utc_ns: the same.
        values: what the client measured, by metric.
        units: what was processed, by unit.
        state: the GPUs before and after; None where they were not read.
    """

    began_utc_ns: int
    ended_utc_ns: int
    values: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)
    state: RoundState | None = None


@dataclass(frozen=True)
class WindowCapture:
    """One window of a test: a capture, and the rounds that lie in it.

    Attributes:
        name: of the window, unique in its test.
        report: nsys's report, in a private folder of its own.
        rounds: in their order; empty if the whole collection is one round.
        options: the options that the capture was made with.
        printed: what nsys printed of it.
        cut_short: the limit that ended the collection early; "" if none did.
        export: the report, if it was exported already.
        server: what the server was started with, as may be handed on; empty if that is not known.
        memory: whether all device memory was allocated in this capture, so that it is known: that
            of a program that was started in it.
    """

    name: str
    report: Path
    rounds: tuple[SentRound, ...]
    options: tuple[str, ...]
    printed: str = ""
    cut_short: str = ""
    export: Path | None = None
    memory: bool = False
    server: tuple[str, ...] = ()


@dataclass
class TestCaptures:
    """The captures of one process of a test, as its body makes them.

    Attributes:
        nodeid: the test.
        process: number of the process, from 0.
        nsys_args: further arguments of nsys that the test's marker names.
        windows: in the order they were made.
        seconds: what else took long: the stages of its servers' starts.
    """

    __test__ = False

    nodeid: str
    process: int
    nsys_args: tuple[str, ...] = ()
    windows: list[WindowCapture] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def add_seconds(self, what: str, seconds: float) -> None:
        """Something took so long, once more."""
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds


def round_records(trace: Trace, window: WindowCapture, nodeid: str) -> tuple[WindowRecord, ...]:
    """The records of a window's rounds, to be measured and recorded like those of a worker.

    Args:
        trace: the window's capture, just exported.
        window: what was sent in it; without rounds the whole collection is one.
        nodeid: the test.

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
    if not window.memory:
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
