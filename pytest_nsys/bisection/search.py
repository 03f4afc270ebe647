"""The search: is BAD worse at all, then commit after commit, then the one that was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from pytest_nsys.bisection.bench import Bench, Broken, Ran
from pytest_nsys.bisection.engine import Engine, Mark
from pytest_nsys.bisection.record import Change, Step, Store
from pytest_nsys.bisection.results import (
    Document,
    Worse,
    compared,
    culprit_of,
    reading_of,
)
from pytest_nsys.bisection.sides import (
    Reading,
    Shift,
    Target,
    enough_processes,
    is_worse,
    level_of,
    shift,
    side_of,
)
from pytest_nsys.errors import BisectError
from pytest_nsys.support.own import own
from pytest_nsys.support.units import format_count

_ONCE = ("-o", "nsys_confirm=0")
"""What a step finds is judged here; how often it is measured again, too."""

_BROKEN_IN_A_ROW = 3


@dataclass(frozen=True)
class Range:
    """What is searched.

    Attributes:
        good: full hash of a commit.
        bad: likewise.
        metric: the only metric that counts; None for all that gate.
        tolerance: of that metric, as the user gives it; "" for the test's.
    """

    good: str
    bad: str
    metric: str | None = None
    tolerance: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes:
        suspects: the commits one of which is the first bad one, the newest first; one where it was
            found, none where BAD is not worse.
        change: of that one against its parent; None where it was not measured.
        parent: the commit that it was measured against.
        why_not: why there was nothing to search.
    """

    suspects: tuple[str, ...] = ()
    change: Change | None = None
    parent: str = ""
    why_not: tuple[str, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether it is one commit, and worse than its parent."""
        return len(self.suspects) == 1 and self.change is not None and self.change.is_certain


class Search:
    """Finds the first commit that made a test worse."""

    def __init__(
        self,
        bench: Bench,
        store: Store,
        span: Range,
        engine: Callable[[], Engine],
        parent_of: Callable[[str], str],
        tell: Callable[[str], None],
    ) -> None:
        """Args:
        bench: measures commits.
        store: keeps what is known.
        span: what is searched.
        engine: makes a git bisect between the two commits.
        parent_of: the first parent of a commit; "" of one that has none.
        tell: told what is done.
        """
        self._bench = bench
        self._store = store
        self._span = span
        self._engine = engine
        self._parent_of = parent_of
        self._tell = tell

    def run(self) -> Outcome:
        """Search, or go on with it.

        Raises:
            BisectError: GOOD or BAD cannot be measured, or there is nothing between them.
            RevisionError: git fails.
        """
        engine = self._engine()  # before anything is measured: what cannot be searched is known
        total = self._store.record.total
        if total is None:
            found = self._measure_bad(_steps(engine))
            if isinstance(found, Outcome):
                return found
            total = found
            self._store.change(total=total)
        else:
            done = format_count(len(self._store.record.steps), "step")
            self._tell(f"going on with a search, after {done}")
        for step in self._store.record.steps:
            engine.mark(step.commit, step.verdict)
        level = level_of(_steps(engine, len(self._store.record.steps)))
        while engine.candidate is not None:
            step = self._step(engine, total, level)
            self._check_broken(total, step)
            self._store.change(steps=(*self._store.record.steps, step))
            engine.mark(step.commit, step.verdict)
        return self._look_at(engine.suspects(), total)

    # GOOD and BAD

    def _measure_bad(self, steps: int) -> Change | Outcome:
        span = self._span
        self._tell(f"measuring BAD ({span.bad[:10]}) beside GOOD ({span.good[:10]})")
        options = [f"--nsys-tolerance={span.metric}={span.tolerance}"] * bool(span.tolerance)
        ran = self._run(span.bad, span.good, self._bench.project.tests, *options)
        document = ran.document if isinstance(ran, Ran) else None
        found = [*compared(document, span.metric)] if document else []
        if isinstance(ran, Broken) or document is None or not found:
            raise _not_measured(ran, span.metric)
        worse = [one for one in found if one.status == "regressed"]
        if not worse:
            lines = [*_why_not(document, found)]
            if not lines:
                raise _not_measured(ran, span.metric)
            return Outcome(why_not=(*lines,))
        # A cause before its effects, and then what is seen most clearly.
        first = max(worse, key=lambda one: (bool(one.culprit), one.certainty))
        reading = reading_of(document, first.target)
        assert isinstance(reading, Reading)
        level = level_of(steps)
        moved = shift(first.target, reading, level)
        others = dict.fromkeys(_name(one.target) for one in worse if one is not first)
        return replace(
            _change(first.target, reading, moved, first.culprit),
            processes=enough_processes(
                first.target, reading, moved.amount / 2, level, self._bench.project.processes
            ),
            others=tuple(others),
        )

    # A step

    def _step(self, engine: Engine, total: Change, level: float) -> Step:
        commit = engine.candidate or ""
        left = len(engine.suspects())
        self._tell(
            f"step {len(self._store.record.steps) + 1}: {commit[:10]}, one of {left} suspects"
        )
        began, target = own.clock(), total.target
        good, bad = self._ends(total)
        count, reading, why = total.processes, None, "it is too noisy to tell"
        for processes in (count, 2 * count):
            found = self._reading(commit, target, processes)
            if isinstance(found, str):
                why = found
                break
            reading = found if reading is None else reading.and_again(found)
            moved = shift(target, reading, level, total.good)
            side = side_of(moved, good, bad)
            if side != "inconclusive":
                return _tested(commit, side, moved, reading, own.clock() - began)
            if target.kind == "exact":
                break
        processes = len(reading.here) if reading else 0
        seconds = own.clock() - began
        return Step(commit, "skip", why, processes=processes, seconds=seconds)

    def _ends(self, total: Change) -> tuple[float, float]:
        """The largest change of what is as GOOD, and the smallest of what is as BAD."""
        steps = self._store.record.steps
        good = [0.0, *(step.amount for step in steps if step.verdict == "good")]
        bad = [total.amount, *(step.amount for step in steps if step.verdict == "bad")]
        return max(good), min(bad)

    def _reading(self, commit: str, target: Target, processes: int) -> Reading | str:
        tests = [self._bench.place(target.nodeid)]
        ran = self._run(commit, self._span.good, tests, *_ONCE, f"--nsys-processes={processes}")
        if isinstance(ran, Broken):
            return ran.reason
        found = reading_of(ran.document, target) if ran.document else ""
        if isinstance(found, str):
            return ": ".join(filter(None, (found, ran.reason)))
        return found

    def _check_broken(self, total: Change, step: Step) -> None:
        """Where several commits in a row cannot be measured, see that BAD still can be: else it is
        this machine that is broken."""
        kept = self._store.record.steps
        row = [*takewhile(_is_broken, reversed((*kept, step)))]
        if len(row) != _BROKEN_IN_A_ROW:
            return
        self._tell(f"{len(row)} commits in a row cannot be measured: is it the machine?")
        found = self._reading(self._span.bad, total.target, 1)
        if isinstance(found, str):
            self._store.change(steps=kept[: len(kept) + 1 - len(row)])
            raise BisectError(
                "nothing can be measured any more, not even BAD",
                evidence=f"{step.commit[:10]}: {step.why}\nBAD: {found}",
                remedy="mend that; the same command goes on with the steps before it",
            )

    # The commit that was found

    def _look_at(self, suspects: tuple[str, ...], total: Change) -> Outcome:
        if len(suspects) != 1:
            return Outcome(suspects)
        commit = suspects[0]
        parent = self._parent_of(commit)
        if not parent:
            return Outcome(suspects)
        if parent == self._span.good and commit == self._span.bad:
            return Outcome(suspects, total, parent)
        self._tell(f"measuring {commit[:10]} beside its parent {parent[:10]}")
        target = total.target
        steps = {step.commit: step.amount for step in self._store.record.steps}
        reached = steps.get(commit, total.amount) - max(0.0, steps.get(parent, 0.0))
        ran = self._run(
            commit,
            parent,
            [self._bench.place(target.nodeid)],
            *_ONCE,
            f"--nsys-processes={total.processes}",
            f"--nsys-tolerance={target.key}={_exactly(abs(reached) / 2, target)}",
        )
        document = ran.document if isinstance(ran, Ran) else None
        reading = reading_of(document, target) if document else ""
        if document is None or isinstance(reading, str):
            return Outcome(suspects, None, parent)
        moved = shift(target, reading, level_of(1))
        culprit = culprit_of(document, target)
        return Outcome(suspects, _change(target, reading, moved, culprit), parent)

    def _run(self, commit: str, beside: str, tests: Sequence[str], *options: str) -> Ran | Broken:
        began = own.clock()
        found = self._bench.measure(commit, beside, tests, *options)
        record = self._store.record
        took = own.clock() - began
        self._store.change(runs=record.runs + 1, seconds=record.seconds + took)
        return found


def _is_broken(step: Step) -> bool:
    return step.verdict == "skip" and not step.processes


def _steps(engine: Engine, done: int = 0) -> int:
    """About how many steps there are."""
    return done + math.ceil(math.log2(max(1, len(engine.suspects()))))


def _change(target: Target, reading: Reading, moved: Shift, culprit: str) -> Change:
    return Change(
        target,
        moved.good,
        moved.here,
        moved.amount,
        moved.low,
        moved.high,
        culprit,
        is_certain=is_worse(target, reading),
    )


def _tested(commit: str, side: Mark, moved: Shift, reading: Reading, seconds: float) -> Step:
    return Step(
        commit,
        side,
        amount=moved.amount,
        ratio=moved.here / moved.good if moved.good else 0.0,
        processes=len(reading.here),
        seconds=seconds,
    )


def _exactly(amount: float, target: Target) -> str:
    """An amount as an option of pytest takes it."""
    units = {"1": "", "%": " pp", "1/s": "/s"}
    return f"{amount:.6g}{units.get(target.unit, f' {target.unit}')}"


def _name(target: Target) -> str:
    place = "" if target.window == "test" else f" ({target.window})"
    return f"{target.nodeid}{place}: {target.key}"


def _why_not(document: Document, found: Sequence[Worse]) -> list[str]:
    """Of each test what the gate says, where none is worse; none where nothing was compared."""
    if all(one.status in ("new", "incomparable") for one in found):
        return []
    lines = [f"{test['nodeid']}: {test['status']}" for test in document["tests"]]
    notes = [one.note for one in found if one.status == "inconclusive" and one.note]
    return [*lines, *dict.fromkeys(notes)]


def _not_measured(ran: Ran | Broken, metric: str | None) -> BisectError:
    if isinstance(ran, Broken):
        return BisectError(
            f"GOOD and BAD cannot be measured: {ran.reason}",
            evidence=ran.evidence,
            remedy="try the test, and the command of --setup, in a fresh checkout of each",
        )
    document = ran.document or {"tests": [], "unmeasured": []}
    notes = [f"{test['nodeid']}: {note}" for test in document["tests"] for note in test["notes"]]
    named = f" of {metric}" if metric else ""
    return BisectError(
        f"nothing{named} was measured that GOOD and BAD can be compared by",
        evidence="\n".join(notes) or ran.printed,
        remedy=f"gate it: --metric {metric}=5%"
        if metric and document["tests"] and not notes
        else "name tests that are marked with nsys and pass at both; a file that GOOD lacks, or "
        "has another version of, is brought along with --with FILE",
    )
