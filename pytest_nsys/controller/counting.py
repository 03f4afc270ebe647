"""After the verdicts: counters of the kernels that got slower, by ncu, in a worker of its own.

Nothing here changes a verdict. Where there are no counters, a note says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_nsys.capture.workers import Command, worker_folder
from pytest_nsys.errors import NcuForbidden, NcuUnfit, NsysError
from pytest_nsys.measure.counting import MOST_KERNELS, wanted_parts
from pytest_nsys.measure.measurement import Part
from pytest_nsys.ncu.counters import KernelCounters
from pytest_nsys.ncu.run import Wanted, count
from pytest_nsys.ncu.tool import NcuTool, find_ncu
from pytest_nsys.plan.batches import PlannedTest
from pytest_nsys.plan.options import Counting
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.verdict.verdict import Verdict

_TESTS = 5
"""So many are looked at because they regressed: a change that slows down all has one cause."""

_BY_HAND = "'pytest-nsys ncu' looks at one"
_INTERRUPTED = f"the run was interrupted; {_BY_HAND}"


@dataclass
class Counters:
    """Has kernels counted, of one test at a time.

    Attributes:
        when: which tests.
        folder: for the workers' files.
        canonical: gives the canonical name of a kernel.
        deadline_s: how long one test may take.
        say: told what is being done, and why it cannot be.
        keep: where ncu's own tables are kept; None for nowhere.
        interrupted: whether a Ctrl-C ended it. What was judged is to be reported before the run
            ends by it.
    """

    when: Counting
    folder: RunFolder
    canonical: Callable[[str], str]
    deadline_s: float
    say: Callable[[str], None]
    keep: Path | None = None
    interrupted: bool = False
    _ncu: NcuTool | NsysError | None = None
    _regressed: int = 0

    def look(
        self, test: PlannedTest, verdict: Verdict, commands: Sequence[Command | None]
    ) -> Verdict:
        """The verdict with what was counted now, or with a note why nothing was.

        Args:
            test: the test.
            verdict: on it.
            commands: how workers are started of the revision under test, last, and of the other
                one, if there is one; None where no worker runs the test.
        """
        wanted = _wanted(test, verdict, always=self.when == "always")
        if wanted is None:
            return verdict
        if self.interrupted:
            return _noted(verdict, _INTERRUPTED)
        if verdict.failed and self.when == "on-regression":
            self._regressed += 1
            if self._regressed > _TESTS:
                return _noted(verdict, f"ncu has looked at {_TESTS} tests already; {_BY_HAND}")
        try:
            if commands[-1] is None:
                return _noted(verdict, "ncu is not run for servers and commands")
            self.say(f"counting with ncu: {test.nodeid}")
            counters = self._count(wanted, commands[-1])
            verdict = replace(verdict, measurement=replace(verdict.measurement, counters=counters))
            other = commands[0] if len(commands) > 1 else None
            if other is not None and verdict.baseline is not None:
                self.say(f"counting with ncu: {test.nodeid} at {verdict.against}")
                before = replace(verdict.baseline, counters=self._count(wanted, other))
                verdict = replace(verdict, baseline=before)
        except KeyboardInterrupt:
            self.interrupted = True
            return _noted(verdict, _INTERRUPTED)
        except NsysError as error:
            seen = error.evidence.splitlines()[-1:]
            self.say(": ".join([f"no counters of {test.nodeid}", error.what, *seen]))
            return _noted(verdict, f"{error.what}; {error.remedy}" if error.remedy else error.what)
        left = [name for name in wanted.kernels if name not in {one.kernel for one in counters}]
        if left:
            return _noted(verdict, f"under ncu, {', '.join(left)} did not come up again")
        return verdict

    def _count(self, wanted: Wanted, command: Command) -> tuple[KernelCounters, ...]:
        if self._ncu is None:
            try:
                self._ncu = find_ncu()
            except NsysError as error:
                self._ncu = error
        if isinstance(self._ncu, NsysError):
            raise self._ncu
        try:
            return count(
                self._ncu,
                wanted,
                command,
                worker_folder(self.folder),
                self.canonical,
                deadline_s=self.deadline_s,
                keep=self.keep,
            )
        except (NcuForbidden, NcuUnfit) as error:
            self._ncu = error  # it is so of every test, and a worker takes long to say it
            raise


def _noted(verdict: Verdict, why: str) -> Verdict:
    return replace(verdict, notes=(*verdict.notes, f"no counters: {why}"))


def _wanted(test: PlannedTest, verdict: Verdict, *, always: bool) -> Wanted | None:
    """The kernels that made a test slower, of the window that is worst; else, where all tests are
    to be counted, those that take longest. None for none.
    """
    for part in verdict.worse:
        if part.metric.breakdown != "kernels" or not part.culprits:
            continue
        slower = [one.current for one in part.culprits if one.change > 0 and one.current]
        if slower:
            return _of(test, part.window, slower)
    measured = verdict.measurement
    if not always or not measured.bodies:
        return None
    name = measured.bodies[0]
    return _of(test, name, measured.windows[name].kernels)  # those that take longest come first


def _of(test: PlannedTest, window: str, kernels: Iterable[Part]) -> Wanted | None:
    chosen = [*kernels][:MOST_KERNELS]
    return wanted_parts(test, window, chosen) if chosen else None
