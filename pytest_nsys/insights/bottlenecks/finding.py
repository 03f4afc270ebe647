"""What a rule says when it has found a bottleneck."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A bottleneck of the windows that were looked at together.

    Attributes:
        name: what it is, the same in every release: ``host-bound``, ``pageable-copies``, ...
        share: the part of the windows' time that it concerns, 0 to 1. It is no promise of a gain,
            and parts of different findings may be the same time.
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
