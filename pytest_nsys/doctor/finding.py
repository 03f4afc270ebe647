"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem", "skipped"]
"""problem: captures will fail or be wrong; warning: they may; skipped: could not be looked at."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        check: what was looked at, in a word or two.
        status: how good it is.
        what: what was found, one sentence without a full stop.
        evidence: what was seen: a path, a number, lines of a tool's output.
        remedy: what to do; for an "ok" what could be done, if anything.
    """

    check: str
    status: Status
    what: str
    evidence: str = ""
    remedy: str = ""
