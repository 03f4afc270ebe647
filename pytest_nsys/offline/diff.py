"""Two stored captures compared, or two recordings test by test: what ``pytest-nsys diff`` says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_nsys.errors import NotACapture
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.offline.measured import measured_capture, measured_tests, named_windows
from pytest_nsys.plan.marker import Spec
from pytest_nsys.storage.recordings.stored import check_captures, has_tests
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.windows.ranges import EVERYTHING, Selection


@dataclass(frozen=True)
class Diff:
    """What the comparison of two stored captures says.

    Attributes:
        verdicts: on the tests of both, or on the captures as a whole.
        only_before: tests that only the older recording measured.
        only_after: tests that only the newer recording measured.
    """

    verdicts: tuple[Verdict, ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()


def diff(
    before: Path,
    after: Path,
    *,
    selection: Selection = EVERYTHING,
    tolerance: Mapping[str, Tolerance] | None = None,
    executable: str | None = None,
    in_full: bool = False,
) -> Diff:
    """``after`` judged with ``before`` as its baseline.

    Two recordings of tests are compared test by test, in all windows or those of a name; anything
    else as whole captures, and NVTX ranges by what one instance takes, so that it does not matter
    how many there are. Timelines and bottlenecks are made only where the comparison is wanted in
    full.

    Raises:
        NsysError: one of them cannot be read, has nothing to compare, or lacks what is selected.
    """
    check_captures((before, after), executable)
    extra = tolerance or {}
    windows = named_windows(before, selection) | named_windows(after, selection)
    if has_tests(before) and has_tests(after) and (selection.is_everything or windows):
        then, now = (
            _only(windows, measured_tests(path, extra, in_full=in_full)) for path in (before, after)
        )
        common = [nodeid for nodeid in now if nodeid in then]
        if not common:
            raise NotACapture(
                "the two recordings have no measured test in common",
                evidence=f"{before}: {len(then)} tests; {after}: {len(now)} tests",
                remedy="record the same tests twice",
            )
    else:
        name = str(after)
        captures = [
            measured_capture(path, selection, extra, executable, in_full=in_full)
            for path in (before, after)
        ]
        remarks = (
            *_instances(selection, *(one.rounds for one in captures)),
            *dict.fromkeys(remark for one in captures for remark in one.remarks),
        )
        then, now = ({name: replace(one, nodeid=name, remarks=remarks)} for one in captures)
        common = [name]
    spec = Spec(warmup=0, rounds=1, timeout_s=1, tolerance=extra, allow_empty=True)
    return Diff(
        verdicts=tuple(judge(spec, now[nodeid], then[nodeid], Policy()) for nodeid in common),
        only_before=tuple(sorted(then.keys() - now.keys())),
        only_after=tuple(sorted(now.keys() - then.keys())),
    )


def _only(windows: Collection[str], tests: dict[str, Measurement]) -> dict[str, Measurement]:
    """These windows of the tests that have any; all where none is named."""
    if not windows:
        return tests
    chosen = {
        nodeid: replace(
            test,
            windows={name: test.windows[name] for name in test.windows if name in windows},
            timeline=None,
            bottlenecks=(),
        )
        for nodeid, test in tests.items()
    }
    return {nodeid: test for nodeid, test in chosen.items() if test.windows}


def _instances(selection: Selection, before: int, after: int) -> tuple[str, ...]:
    """Of how many instances of a range the medians are; nothing where none is named."""
    if selection.range is None:
        return ()
    return (f"one instance of {selection.range!r}: the median of {before}, and now of {after}",)
