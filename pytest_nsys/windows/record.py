"""Windows: the stretches of a capture that belong to one round, one named part, or one test.

The worker opens each window as an NVTX range in a domain of its own and writes a record of it;
the analysis finds the range of every record in the capture. What a client sends to a server has
no range there: the records of its rounds hold the times themselves. This module is what the two
sides agree on, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pytest_nsys.catalogue import CLIENT
from pytest_nsys.gpu.state import RoundState
from pytest_nsys.support.json_values import listing, mapping, number, text_of, whole

DOMAIN = "pytest-nsys"
"""NVTX domain of the plugin's ranges; whatever else a program marks is in other domains."""

MAIN = "test"
"""Name of the window around a test's body, or around the call that it hands to ``nsys``."""

_LABEL_LENGTH = 200
_LATEST = 2**62

WindowKind = Literal["span", "round", "range", "sentinel"]
"""span: all rounds of a test; round: one measured call; range: a named part of a round;
sentinel: an empty range that closes the capture."""


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
        values: what a client measured in the round, by metric key (``client.ttft_p50``).
    """

    index: int
    kind: WindowKind
    nodeid: str
    name: str
    round: int
    units: Mapping[str, float] = field(default_factory=dict)
    state: RoundState | None = None
    times: tuple[int, int] | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The text of the NVTX range: the index, then what a person reads in a timeline."""
        part = "" if self.name == MAIN else f" {self.name}"
        when = f" round {self.round}" if self.round >= 0 else f" {self.kind}"
        return f"{self.index} {self.nodeid[:_LABEL_LENGTH]}{part[:_LABEL_LENGTH]}{when}"

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        rest: dict[str, Any] = {} if self.state is None else {"state": self.state.to_json()}
        if self.times is not None:
            rest["times"] = list(self.times)
        if self.values:
            rest["values"] = dict(self.values)
        return {
            "index": self.index,
            "kind": self.kind,
            "nodeid": self.nodeid,
            "name": self.name,
            "round": self.round,
            "units": dict(self.units),
            **rest,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WindowRecord:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: the data is something else.
        """
        units = {name: number(count) for name, count in mapping(data["units"]).items()}
        if not all(count > 0 for count in units.values()):
            raise ValueError("units that are not above zero")
        if data["kind"] not in get_args(WindowKind):
            raise ValueError(f"a window of the kind {data['kind']!r:.80}")
        state = data.get("state")
        if state is not None and data["kind"] != "round":
            raise ValueError(f"a {data['kind']} with the state of a round")
        times = None if "times" not in data else _times(data["times"])
        if times is not None and data["kind"] == "sentinel":
            raise ValueError("a sentinel with times")
        values = _values(mapping(data["values"])) if "values" in data else {}
        if values and data["kind"] != "round":
            raise ValueError(f"a {data['kind']} with the values of a round")
        return cls(
            index=whole(data["index"], 0),
            kind=data["kind"],
            nodeid=text_of(data["nodeid"]),
            name=text_of(data["name"]),
            round=whole(data["round"], -1),
            units=units,
            state=None if state is None else RoundState.from_json(mapping(state)),
            times=times,
            values=values,
        )


def _times(value: object) -> tuple[int, int]:
    start, end = (whole(time, 0) for time in listing(value))
    if not start < end <= _LATEST:
        raise ValueError("times that are no stretch of a capture")
    return start, end


def _values(data: Mapping[str, Any]) -> dict[str, float]:
    found = {key: number(value) for key, value in data.items()}
    for key, value in found.items():
        if not key.startswith(CLIENT) or value < 0:
            raise ValueError(f"{key!r:.80} is no value of a client")
    return found
