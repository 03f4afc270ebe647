"""What a rule says when it has found a bottleneck, and how that is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_nsys.support.text import cut, wrapped

NAME_MOST = 120
"""Characters of a kernel's name that are shown."""


@dataclass(frozen=True)
class Bottleneck:
    """A bottleneck of the windows that were looked at together.

    Attributes:
        name: what it is, the same in every release: ``host-bound``, ``pageable-copies``, ...
        share: the part of the windows' time that it concerns, 0 to 1. It is no promise of a gain,
            and parts of different ones may be the same time.
        summary: one sentence with the numbers.
        evidence: lines with numbers and the kernels, copies or calls they come from.
        advice: what to try.
        window: the window of a test that it is of, where the test has no body; else "".
    """

    name: str
    share: float
    summary: str
    evidence: tuple[str, ...]
    advice: str
    window: str = ""


def bottleneck_lines(bottlenecks: Iterable[Bottleneck]) -> list[str]:
    """Per bottleneck: its name and sentence, the evidence below it, and what to try."""
    lines = []
    for one in bottlenecks:
        lines += wrapped(f"{one.name}: {one.summary}", "", "  ")
        for line in one.evidence:
            lines += wrapped(line, "  - ", "    ")
        lines += wrapped(one.advice, "  try: ", "       ")
    return lines


def shortened(name: str) -> str:
    """A name of at most `NAME_MOST` characters; templates' arguments can be thousands long."""
    return cut(name, NAME_MOST, NAME_MOST - 3)


def percent(part: float, whole: float) -> str:
    """``part`` of ``whole``, for people; only nothing is "0%", only all of it "100%"."""
    if not whole or not part:
        return "0%"
    shown = f"{100 * part / whole:.0f}"
    if shown == "0":
        return "<1%"
    return ">99%" if shown == "100" and part < whole else f"{shown}%"
