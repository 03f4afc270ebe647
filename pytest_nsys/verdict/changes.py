"""What a verdict alone does not say: what got better, and what changed and is within its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pytest_nsys.support.units import format_amount, format_change
from pytest_nsys.verdict.culprit import contributions
from pytest_nsys.verdict.verdict import Comparison, Contribution, Verdict
from pytest_nsys.verdict.wording import describe, place, short_names, shorten

_TIMES = ("gpu.kernel_time", "gpu.kernel_time.per_token")
_CALM = ("ok", "improved", "inconclusive")
_OWN = 0.05
_SHARE = 0.003
_LEAST_NS = 500.0
_NAMED = 3
_NAME = 40


def improvements(verdict: Verdict) -> tuple[Comparison, ...]:
    """The gated metrics that got better, whatever else the test is; culprits first what helped."""
    found = []
    for part in verdict.comparisons:
        if part.gated and part.status == "improved":
            # Contributions begin with what made it worse.
            helped = tuple(reversed(_contributions(verdict, part)))
            found.append(replace(part, culprits=helped))
    return tuple(found)


def below_limit(verdict: Verdict) -> tuple[Comparison, ...]:
    """Kernel times that did not get worse, and whose kernels changed all the same; as culprits
    those that did, the largest change first.

    A change counts that is a twentieth of what the kernel took, and more than the noise and three
    thousandths of what all kernels take.
    """
    found = []
    for part in verdict.comparisons:
        calm = part.status in _CALM and not part.beyond  # beyond it, the verdict tells
        if part.gated and part.metric.key in _TIMES and calm:
            changed = [one for one in _contributions(verdict, part) if _tells(one, part)]
            if changed:
                largest = sorted(changed, key=lambda one: -abs(one.change))
                found.append(replace(part, culprits=tuple(largest)))
    return tuple(found)


def improvement_lines(verdict: Verdict) -> tuple[str, ...]:
    """A line for each metric that got better."""
    return tuple(map(describe, improvements(verdict)))


def below_limit_lines(verdict: Verdict) -> tuple[str, ...]:
    """A line for each window in which kernels changed within the limit of all: the largest three.

    ``largest changes below the limit: silu +67%, 10 us of 1.74 ms``
    """
    return tuple(
        f"{place(part.window)}largest changes below the limit: {'; '.join(_small(part))}"
        for part in below_limit(verdict)
    )


def _contributions(verdict: Verdict, part: Comparison) -> tuple[Contribution, ...]:
    then = verdict.baseline.windows.get(part.window) if verdict.baseline else None
    now = verdict.measurement.windows.get(part.window)
    return () if then is None or now is None else contributions(part.metric, then, now)


def _tells(one: Contribution, part: Comparison) -> bool:
    total = part.current or 0.0
    if part.status == "improved" and one.change < 0:
        return False  # that is what `improvements` tells
    own = one.factors[0] * one.baseline.ns if one.baseline else 0.0
    least = max(_LEAST_NS, _SHARE * total, _OWN * own, part.noise or 0.0)
    return abs(one.change) >= least


def _small(part: Comparison) -> Iterator[str]:
    named = part.culprits[:_NAMED]
    names = short_names((one.label for one in named), _NAME)
    for number, one in enumerate(named):
        amount = format_amount(abs(one.change), "ns")
        total = f" of {format_amount(part.current or 0.0, 'ns')}" if number == 0 else ""
        yield f"{names[one.label]} {_how(one)}, {amount}{total}"
    if len(part.culprits) > len(named):
        yield f"and {len(part.culprits) - len(named)} more"


def _how(one: Contribution) -> str:
    if one.baseline is None or one.current is None:
        return "new" if one.baseline is None else "gone"
    then, now = one.factors
    was = f"was {shorten(one.before)}, " if one.before else ""
    return was + format_change(then * one.baseline.ns, now * one.current.ns, "ns")
