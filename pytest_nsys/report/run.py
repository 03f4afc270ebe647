"""What a run found: the value that every report is made from, and what several take from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_nsys.catalogue import Breakdown, default_gates, lookup
from pytest_nsys.errors import ReportError
from pytest_nsys.measure.measurement import Part, WindowMeasurement
from pytest_nsys.plan.options import Mode
from pytest_nsys.storage.baselines import Change
from pytest_nsys.storage.baselines.orphans import Orphan
from pytest_nsys.support.files import replace_pieces, writing
from pytest_nsys.verdict.verdict import Comparison, Verdict


@dataclass(frozen=True)
class Unmeasured:
    """A test that was to be measured and has no verdict.

    Attributes:
        nodeid: the test.
        reason: "failed", "skipped", "xfailed", or what went wrong with its capture.
        baselines: the devices that have a baseline of a test that was skipped, or xfailed.
    """

    nodeid: str
    reason: str
    baselines: tuple[str, ...] = ()

    @property
    def is_lost(self) -> bool:
        """Whether pytest's own report does not say why there is no verdict."""
        return self.reason not in ("failed", "skipped", "xfailed")


@dataclass(frozen=True)
class RunReport:
    """A run of measured tests.

    Attributes:
        mode: what the run was to do.
        verdicts: in the order of the tests.
        unmeasured: tests without a verdict.
        changes: baselines that were written.
        orphans: baselines whose test is gone, in files that were collected as a whole.
        seconds: where the time went: worker, nsys, export, analysis.
        command: how the run was started.
        kept: where raw reports were kept, if anywhere.
        notes: what was wrong with its captures and could be mended.
        columns: the metrics that tables show, where they were chosen.
        name: what the run is called, where there are several; "" if it is not.
    """

    mode: Mode
    verdicts: tuple[Verdict, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()
    changes: tuple[Change, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    kept: str = ""
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    name: str = ""

    def counts(self) -> Counter[str]:
        """How many tests have each status; unmeasured ones count as such."""
        counts: Counter[str] = Counter(verdict.status for verdict in self.verdicts)
        if self.unmeasured:
            counts["unmeasured"] = len(self.unmeasured)
        return counts

    def told_counts(self) -> str:
        """The counts in words, the largest first; of an update, what became of baselines."""
        counts = self.counts()
        if self.mode == "update":
            well = counts.pop("new", 0) + counts.pop("ok", 0)
            counts["recorded"] = sum(change.before is None for change in self.changes)
            counts["updated"] = len(self.changes) - counts["recorded"]
            counts["unchanged"] = max(0, well - len(self.changes))
        shown = [f"{count} {status}" for status, count in counts.most_common() if count]
        return ", ".join(shown) or "no measured tests"


Sides = tuple[WindowMeasurement | None, WindowMeasurement | None]


def sides_of(verdict: Verdict, window: str) -> Sides:
    """The window now and in the baseline; None where one of them does not have it."""
    then = verdict.baseline.windows.get(window) if verdict.baseline else None
    return verdict.measurement.windows.get(window), then


def gates_of(verdict: Verdict) -> Iterator[Comparison]:
    """What gates a test, window by window, as far as it was measured; in a window that was compared
    with nothing, what gates by default."""
    for name, window in verdict.measurement.windows.items():
        judged = [
            part
            for part in verdict.comparisons
            if part.gated and part.window == name and part.current is not None
        ]
        default = (
            Comparison(name, metric, "new", False, None, value)
            for metric in default_gates(window.gates)
            if (value := window.get(metric.key)) is not None
        )
        yield from judged or default


def compared(verdict: Verdict) -> dict[str, list[Comparison]]:
    """Every metric of every window, also where the judgement holds no comparison of it.

    The windows are those of the measurement, then those that only the baseline has.
    """
    found: dict[str, list[Comparison]] = {name: [] for name in verdict.measurement.windows}
    for part in verdict.comparisons:
        found.setdefault(part.window, []).append(part)
    for name, window in verdict.measurement.windows.items():
        judged = [
            replace(part, current=window.get(part.metric.key)) if part.current is None else part
            for part in found[name]
        ]
        known = {part.metric.key for part in judged}
        rest = [
            Comparison(name, lookup(key), "new", False, None, window.get(key))
            for key in window.samples
            if key not in known
        ]
        if sides_of(verdict, name)[1] is not None:
            apart = any(part.status == "incomparable" for part in judged)
            rest = [replace(part, status="incomparable" if apart else "ok") for part in rest]
        found[name] = judged + rest
    return found


def pairs(key: Breakdown, sides: Sides) -> list[tuple[str, Part | None, Part | None]]:
    """Label, then and now of the parts of a breakdown, in the order of the newer one."""
    after, before = ({p.label: p for p in w.breakdown.get(key, ())} if w else {} for w in sides)
    return [(label, before.get(label), after.get(label)) for label in {**after, **before}]


def write_report(path: Path, pieces: Iterable[str]) -> None:
    """Replace a file's content in one step, making the folders above it.

    Args:
        path: the file.
        pieces: of its text, made while it is written.

    Raises:
        ReportError: the file cannot be written.
    """
    with writing(
        f"the report {path}", ReportError, "make its folder writable, or name another file"
    ):
        replace_pieces(path, pieces)
