"""What a run found: the value that every report is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_nsys.plan.options import Mode
from pytest_nsys.storage.baselines import Change
from pytest_nsys.verdict.verdict import Verdict


@dataclass(frozen=True)
class Unmeasured:
    """A test that was to be measured and has no verdict.

    Attributes:
        nodeid: the test.
        reason: "failed", "skipped", or what went wrong with its capture.
    """

    nodeid: str
    reason: str


@dataclass(frozen=True)
class RunReport:
    """A run of measured tests.

    Attributes:
        mode: what the run was to do.
        verdicts: in the order of the tests.
        unmeasured: tests without a verdict.
        changes: baselines that were written.
        seconds: where the time went: worker, nsys, export, analysis.
        command: how the run was started.
        kept: where raw reports were kept, if anywhere.
        notes: what was wrong with its captures and could be mended.
    """

    mode: Mode
    verdicts: tuple[Verdict, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()
    changes: tuple[Change, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    kept: str = ""
    notes: tuple[str, ...] = ()

    def counts(self) -> Counter[str]:
        """How many tests have each status; unmeasured ones count as such."""
        counts: Counter[str] = Counter(verdict.status for verdict in self.verdicts)
        if self.unmeasured:
            counts["unmeasured"] = len(self.unmeasured)
        return counts
