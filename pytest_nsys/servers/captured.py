"""What a server test hands to the rest: its windows, each a capture with the rounds sent in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_nsys.gpu.state import RoundState


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
        memory: whether all device memory was allocated in this capture.
    """

    name: str
    report: Path
    rounds: tuple[SentRound, ...]
    options: tuple[str, ...]
    printed: str = ""
    cut_short: str = ""
    export: Path | None = None
    memory: bool = False


@dataclass
class TestCaptures:
    """The captures of one process of a test, as its body makes them.

    Attributes:
        nodeid: the test.
        process: number of the process, from 0.
        nsys_args: further arguments of nsys that the test's marker names.
        windows: in the order they were made.
    """

    __test__ = False

    nodeid: str
    process: int
    nsys_args: tuple[str, ...] = ()
    windows: list[WindowCapture] = field(default_factory=list)
