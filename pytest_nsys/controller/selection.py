"""What was collected and selected: for a run in which no test was measured, to say why."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from pytest_nsys.controller.checks import is_measured
from pytest_nsys.support.units import format_count

_NAME = "nsys"
_SHOWN = 5


@dataclass
class Selection:
    """The tests of a run, as far as measuring goes.

    Attributes:
        collected: how many there were before any was deselected.
        measured: node ids of those among them that were to be measured.
        deselected: node ids of those that were left out on purpose.
        markers: names of the markers that they have.
        asking: how many ask for the fixture of that name and are not to be measured.
        skipped: reasons of those that were to be measured and were skipped.
    """

    collected: int = 0
    measured: set[str] = field(default_factory=set)
    deselected: set[str] = field(default_factory=set)
    markers: set[str] = field(default_factory=set)
    asking: int = 0
    skipped: list[str] = field(default_factory=list)

    def begin(self, items: Iterable[pytest.Item]) -> None:
        """Look at all tests, before any is deselected."""
        for item in items:
            self.collected += 1
            self.markers.update(mark.name for mark in item.iter_markers())
            if is_measured(item):
                self.measured.add(item.nodeid)
            else:
                self.asking += _NAME in getattr(item, "fixturenames", ())

    def skip(self, reports: Iterable[pytest.TestReport]) -> None:
        """A test that was to be measured was skipped, or failed as was expected."""
        for report in reports:
            if report.skipped:
                shown = report.longrepr
                reason = shown[2] if isinstance(shown, tuple) else getattr(report, "wasxfail", "")
                self.skipped.append(str(reason).removeprefix("Skipped: "))

    def unmeasured(self) -> Iterator[str]:
        """Why no test was measured, in lines."""
        total = format_count(self.collected, "test")
        if not self.measured:
            yield f"no test was measured: {total}, none marked {_NAME}"
            names = {name.lower(): name for name in sorted(self.markers - {_NAME})}
            for close in difflib.get_close_matches(_NAME, names, n=1, cutoff=0.6):
                yield f"  is @pytest.mark.{names[close]} meant to be @pytest.mark.{_NAME}?"
            if self.asking:
                asking = format_count(self.asking, "test")
                yield f"  with the fixture {_NAME} and no mark: {asking}"
            return
        yield f"no test was measured: {total}, {len(self.measured)} marked {_NAME}"
        left_out = self.measured & self.deselected
        if left_out:
            yield f"  {len(left_out)} marked and deselected by -k, -m or a plugin"
        for reason, count in Counter(self.skipped).most_common(_SHOWN):
            yield f"  {count} skipped: {reason}"
