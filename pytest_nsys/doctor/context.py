"""What the doctor's checks are: probes that look at a machine and an nsys, and what they found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.machine import Machine

Status = Literal["ok", "warning", "problem", "skipped"]
"""problem: captures will fail or be wrong; warning: they may; skipped: could not be looked at."""


@dataclass(frozen=True)
class CheckResult:
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


@dataclass(frozen=True)
class ProbeContext:
    """What is looked at: a machine, and the nsys that is used on it, if there is one."""

    machine: Machine
    nsys: NsysTool | None


Probe = Callable[[ProbeContext], list[CheckResult]]
"""Looks at one thing; changes nothing and makes no capture."""
