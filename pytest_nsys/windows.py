"""Windows: the stretches of a capture that belong to one round, one named part, or one test.

The worker opens each window as an NVTX range in a domain of its own and writes a record of it;
the analysis finds the range of every record in the capture. This module is what the two agree
on, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pytest_nsys.gpu_state import RoundState
from pytest_nsys.json_values import mapping, number, text_of, whole

DOMAIN = "pytest-nsys"
"""NVTX domain of the plugin's ranges; whatever else a program marks is in other domains."""

MAIN = "test"
"""Name of the window around a test's body, or around the call that it hands to ``nsys``."""

_LABEL_LENGTH = 200

WindowKind = Literal["span", "round", "range", "sentinel"]
"""span: all rounds of a test; round: one measured call; range: a named part of a round;
sentinel: an empty range that closes the capture."""


@dataclass(frozen=True)
class WindowRecord:
    """What the worker knows of one window.

    Attributes:
        index: number within the capture; the first word of the NVTX range's text.
        kind: what the window is.
        nodeid: the test.
        name: `MAIN`, or the name given to ``nsys.range``.
        round: number of the round, from 0; -1 for a span or sentinel.
        units: what the round processed (``nsys.units(tokens=256)``).
        state: the GPUs around a round; None for windows of another kind, and where it is not
            known.
    """

    index: int
    kind: WindowKind
    nodeid: str
    name: str
    round: int
    units: Mapping[str, float] = field(default_factory=dict)
    state: RoundState | None = None

    @property
    def label(self) -> str:
        """The text of the NVTX range: the index, then what a person reads in a timeline."""
        part = "" if self.name == MAIN else f" {self.name}"
        when = f" round {self.round}" if self.round >= 0 else f" {self.kind}"
        return f"{self.index} {self.nodeid[:_LABEL_LENGTH]}{part[:_LABEL_LENGTH]}{when}"

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        state = {} if self.state is None else {"state": self.state.to_json()}
        return {
            "index": self.index,
            "kind": self.kind,
            "nodeid": self.nodeid,
            "name": self.name,
            "round": self.round,
            "units": dict(self.units),
            **state,
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
        return cls(
            index=whole(data["index"], 0),
            kind=data["kind"],
            nodeid=text_of(data["nodeid"]),
            name=text_of(data["name"]),
            round=whole(data["round"], -1),
            units=units,
            state=None if state is None else RoundState.from_json(mapping(state)),
        )
