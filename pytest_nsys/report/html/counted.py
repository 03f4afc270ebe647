"""The counters of kernels, then and now."""

from __future__ import annotations

from pytest_nsys.ncu.counters import Counter, Pair
from pytest_nsys.ncu.why import sentence
from pytest_nsys.report.html.model import CountedKernel, CounterRow
from pytest_nsys.report.html.shown import NOTHING, shown_change
from pytest_nsys.support.units import Unit
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.verdict.why import counted
from pytest_nsys.verdict.wording import place


def counted_kernels(verdict: Verdict) -> tuple[CountedKernel, ...]:
    """Those that were counted in the run, with what the baseline has of them."""
    return tuple(
        CountedKernel(
            name=place(pair.window) + pair.kernel,
            said=sentence(pair),
            launches=_launches(pair),
            rows=tuple(
                CounterRow(
                    counter.label,
                    counter.key,
                    counter.shown(then) if then is not None else NOTHING,
                    counter.shown(now) if now is not None else NOTHING,
                    _change(counter, then, now),
                )
                for counter, then, now in pair.rows()
                if then or now
            ),
        )
        for pair in counted(verdict)
    )


def _launches(pair: Pair) -> str:
    """Of how many launches the one that took longest is shown."""
    sides = [one.launches for one in (pair.before, pair.after) if one is not None]
    if {*sides} == {1}:
        return "of 1 launch"
    return f"of the longest of {' and of '.join(map(str, dict.fromkeys(sides)))} launches"


def _change(counter: Counter, then: float | None, now: float | None) -> str:
    unit: Unit = "1" if counter.kind == "x" else counter.kind
    if counter.kind == "x" and then is not None and now is not None:
        return f"{now - then:+.2f}" if now != then else "="
    return shown_change(then, now, unit)
