"""Windows: the stretches of a capture that belong to one round, one named part, or one test.

The worker opens each window as an NVTX range in a domain of its own and writes a record of it;
the analysis finds the range of every record in the capture. What a client sends to a server has
no range there: the records of its rounds hold the times themselves. This module is what the two
sides agree on, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pytest_nsys.catalogue import CLIENT
from pytest_nsys.gpu.state import RoundState
from pytest_nsys.support.json_values import Amount, Check, Count, Maybe, at_least, read

DOMAIN = "pytest-nsys"
"""NVTX domain of the plugin's ranges; whatever else a program marks is in other domains."""

MAIN = "test"
"""Name of the window around a test's body, or around the call that it hands to ``nsys``."""

COUNTED = "counted"
"""Text of the ranges that ncu looks at: its filter takes most signs in a test's id for its own."""

_LABEL_LENGTH = 200
_LATEST = 2**62

WindowKind = Literal["span", "round", "range", "sentinel"]
"""span: all rounds of a test; round: one measured call; range: a named part of a round;
sentinel: an empty range that closes the capture."""


_Units = Annotated[float, Check(lambda count: count > 0, "is not above zero")]
_Times = Annotated[
    tuple[Count, Count],
    Check(lambda times: times[0] < times[1] <= _LATEST, "is no stretch of a capture"),
]
_ClientMetric = Annotated[
    str, Check(lambda key: key.startswith(CLIENT), "is no metric of a client")
]


@dataclass(frozen=True)
class Leftover:
    """A process, or a thread of the worker, that was started by an earlier test and still runs.

    Attributes:
        pid: its process.
        tid: the thread; 0 for all of the process.
        since: node id of the test that started it.
    """

    pid: Count
    tid: Count
    since: str


WORK = frozenset({"flops", "bytes"})
"""The units that are work: each part of a test has its own, and a rate of it."""


@dataclass(frozen=True)
class Work:
    """What a window does, as the test says: ``nsys.units(flops=..., precision=..., bytes=...)``.

    Attributes:
        flops: floating-point operations; 0 if it does not say.
        bytes: of device memory that are read and written; 0 if it does not say.
        precision: of the operations; "" if it does not say.
    """

    flops: Maybe[Amount] = 0.0
    bytes: Maybe[Amount] = 0.0
    precision: Maybe[str] = ""


@dataclass(frozen=True)
class WindowRecord:
    """What is known of one window beforehand.

    Attributes:
        index: number within the capture; the first word of the NVTX range's text.
        kind: what the window is.
        nodeid: the test.
        name: `MAIN`, or the name given to ``nsys.range`` or to the window of a server.
        round: number of the round, from 0; -1 for a span or sentinel.
        units: what the round processed (``nsys.units(tokens=256)``).
        state: the GPUs around a round; None for windows of another kind, and where it is not
            known.
        times: start and end in the capture's time, ns; None where its NVTX range says them.
        leftovers: of a span, what earlier tests had left running.
        forks: of a span, how many processes were forked meanwhile.
        values: what a client measured in the round, by metric key (``client.ttft_p50``).
        cold_l2: of a round, whether the L2 cache of all devices in use was emptied before it.
        work: of a round or a part of one, what the test said that it does; None if it did not.
    """

    index: Count
    kind: WindowKind
    nodeid: str
    name: str
    round: Annotated[int, at_least(-1)]
    units: Mapping[str, _Units] = field(default_factory=dict)
    state: RoundState | None = None
    times: _Times | None = None
    leftovers: Maybe[tuple[Leftover, ...]] = ()
    forks: Maybe[Count] = 0
    values: Maybe[Mapping[_ClientMetric, Amount]] = field(default_factory=dict)
    work: Work | None = None
    cold_l2: Maybe[bool] = False

    @property
    def label(self) -> str:
        """The text of the NVTX range: the index, then what a person reads in a timeline."""
        part = "" if self.name == MAIN else f" {self.name}"
        when = f" round {self.round}" if self.round >= 0 else f" {self.kind}"
        return f"{self.index} {self.nodeid[:_LABEL_LENGTH]}{part[:_LABEL_LENGTH]}{when}"

    @classmethod
    def from_json(cls, data: object) -> WindowRecord:
        """The record that was ``written`` as JSON values.

        Raises:
            ValueError: the data is something else.
        """
        record = read(cls, data)
        if record.state is not None and record.kind != "round":
            raise ValueError(f"a {record.kind} with the state of a round")
        if record.kind == "range" and record.name == MAIN:
            raise ValueError("a range with the name of the test's body")
        if record.times is not None and record.kind == "sentinel":
            raise ValueError("a sentinel with times")
        if record.work is not None and record.kind not in ("round", "range"):
            raise ValueError(f"a {record.kind} with the work of a round")
        if record.values and record.kind != "round":
            raise ValueError(f"a {record.kind} with the values of a round")
        return record
