"""From measurements to verdicts: find each test's baseline, judge, and record."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pytest_nsys.errors import NsysError
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.storage.baselines import BaselineStore, Change
from pytest_nsys.storage.baselines.orphans import Orphan, renamed
from pytest_nsys.support.text import without_folders
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import SEVERITY, Status, Verdict
from pytest_nsys.verdict.wording import rename_command

Timelines = Literal["none", "failed", "all"]
"""Tests whose baseline's timeline is wanted: none, those that fail, or all."""


@dataclass(frozen=True)
class Judged:
    """A test's verdict, or why there is none.

    Attributes:
        verdict: the verdict.
        problem: why there is none.
        device: that of which it is said, where recordings have the test of several.
        elsewhere: what is to be said of it on the others.
    """

    verdict: Verdict | None = None
    problem: NsysError | None = None
    device: str = ""
    elsewhere: tuple[Judged, ...] = ()


@dataclass(frozen=True)
class Missing:
    """Why there is no measurement of a test to compare with.

    Attributes:
        why: in a sentence.
        is_new: whether the test is one that the change brings along, which refuses no change.
    """

    why: str
    is_new: bool


class BaselineJudge:
    """Judges measurements against the baselines in a folder, and records where the run is to."""

    def __init__(
        self,
        policy: Policy,
        store: BaselineStore,
        *,
        timelines: Timelines = "none",
        orphans: Sequence[Orphan] = (),
    ) -> None:
        """Args:
        policy: how to judge.
        store: the baselines.
        timelines: of which tests the timeline of the baseline is read, for reports that show it.
        orphans: baselines without a test; one of them may be that of a new one.
        """
        self._policy = policy
        self._store = store
        self._timelines = timelines
        self._orphans = {orphan.head.path: orphan for orphan in orphans}

    @property
    def orphans(self) -> tuple[Orphan, ...]:
        """The baselines without a test, with what they look like among what was judged."""
        return tuple(self._orphans.values())

    def judge(
        self,
        spec: Spec,
        measurement: Measurement,
        reference: Measurement | Missing | None = None,
    ) -> Judged:
        """The verdict on one test against its baseline."""
        del reference
        try:
            baseline = self._store.read(measurement.device, measurement.nodeid)
            others = () if baseline else self._store.devices(measurement.nodeid)
        except NsysError as error:
            return Judged(problem=error)
        verdict = judge(spec, measurement, baseline, self._policy, other_devices=others)
        old = None if baseline else self._renamed(measurement)
        if old is not None:
            note = (
                f"no baseline, but that of {old.nodeid}, which is gone, has the same kernels; if "
                f"it was renamed: {rename_command(old.nodeid, measurement.nodeid)}"
            )
            verdict = replace(verdict, notes=(note, *measurement.remarks))
        shown = self._timelines == "all" or (self._timelines == "failed" and verdict.failed)
        return Judged(self._with_timeline(verdict) if shown else verdict)

    def _renamed(self, measurement: Measurement) -> Measurement | None:
        """The baseline that is probably that of this test under its old name."""
        here: dict[str, Measurement] = {}
        paths: dict[str, Path] = {}
        for path, orphan in self._orphans.items():
            if orphan.is_unmarked or orphan.head.device != measurement.device:
                continue
            with contextlib.suppress(NsysError):
                found = self._store.read_file(path)
                if found is not None:
                    here[found.nodeid], paths[found.nodeid] = found, path
        old = renamed(measurement, here.values())
        if old is not None:
            path = paths[old.nodeid]
            self._orphans[path] = replace(self._orphans[path], looks_like=measurement.nodeid)
        return old

    def _with_timeline(self, verdict: Verdict) -> Verdict:
        """The verdict with its baseline's timeline, or a note why that cannot be read."""
        if verdict.baseline is None:
            return verdict
        try:
            timeline = self._store.read_timeline(verdict.baseline)
        except NsysError as error:
            note = f"the timeline of the baseline is not shown: {without_folders(error.what)}"
            return replace(verdict, notes=(*verdict.notes, note))
        return replace(verdict, baseline=replace(verdict.baseline, timeline=timeline))

    def devices(self, nodeid: str) -> tuple[str, ...]:
        """The devices that there is a baseline of this test for."""
        return self._store.devices(nodeid)

    def record(self, verdict: Verdict) -> Change | None:
        """Make the measurement the baseline, if this run is to, the test did not fail, and what
        there is does not say the same.

        Raises:
            BaselineError: it cannot be written.
        """
        unchanged = verdict.status == "ok" and not _is_first_counted(verdict)
        if verdict.failed or unchanged or not self._policy.records(verdict.baseline):
            return None
        return self._store.write(verdict.measurement)


def _is_first_counted(verdict: Verdict) -> bool:
    """Whether there are counters for a baseline that has none."""
    return bool(verdict.measurement.counters) and not (
        verdict.baseline is not None and verdict.baseline.counters
    )


class PairJudge:
    """Judges measurements against those of another revision, made in the same run."""

    orphans: tuple[Orphan, ...] = ()
    """None: it looks at no baseline."""

    def __init__(self, policy: Policy, revision: str) -> None:
        self._policy = policy
        self._revision = revision

    def judge(
        self, spec: Spec, measurement: Measurement, reference: Measurement | Missing | None
    ) -> Judged:
        """The verdict on one test against what it measures at the other revision."""
        found = reference if isinstance(reference, Measurement) else None
        verdict = replace(judge(spec, measurement, found, self._policy), against=self._revision)
        if isinstance(reference, Missing):
            status: Status = "new" if reference.is_new else "incomparable"
            # A test that a change brings along is no reason to refuse the change.
            fails = [one.status for one in verdict.unmet] + [status] * (not reference.is_new)
            verdict = replace(
                verdict,
                status=max(status, verdict.status, key=SEVERITY.__getitem__),
                failed=not self._policy.failing.isdisjoint(fails),
                notes=(reference.why, *measurement.remarks),
            )
        return Judged(verdict)

    def devices(self, nodeid: str) -> tuple[str, ...]:
        """None: no baselines are used."""
        del nodeid
        return ()

    def record(self, verdict: Verdict) -> Change | None:
        """No baseline is written by a run that uses none."""
        del verdict
        return None
