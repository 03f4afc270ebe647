"""Requirements that need no baseline: ``budget``, ``require``, ``forbid`` and ``check``."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_nsys.catalogue import SAID_BY_TESTS, Breakdown, inner_family, lookup
from pytest_nsys.measure.measurement import Measurement, Part, Parts, WindowMeasurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.plan.patterns import is_function
from pytest_nsys.support.units import format_amount
from pytest_nsys.verdict.check import failure_of
from pytest_nsys.verdict.unmatched import matches_nothing, nearest_to, none_of
from pytest_nsys.verdict.verdict import Requirement

_SHOWN = 3


def unmet_requirements(spec: Spec, measurement: Measurement) -> tuple[Requirement, ...]:
    """The requirements of a test that what was measured of it does not meet.

    Budgets and ``forbid`` hold for every window; ``require`` and ``check`` for the whole body, or
    for every window of a server test, which has none.
    """
    found = [*_unmeasured(spec, measurement)]
    for name, window in measurement.windows.items():
        found += [*_budgets(spec, window), *_forbidden(spec, window)]
        if name in measurement.bodies:
            found += [*_check(spec, window), *_required(spec, window)]
    return tuple(found)


def _unmeasured(spec: Spec, measurement: Measurement) -> Iterator[Requirement]:
    """Metrics that the marker names and the test lacks: ``X.per_unit`` without units, or kernels
    of which there are none.

    Where a test has no body, it is enough that one of its windows has them.
    """
    bodies = [measurement.windows[name] for name in measurement.bodies]
    for what, keys in (("tolerance", sorted(spec.named)), ("budget", spec.budget)):
        for key in keys:
            if not bodies or any(_has(window, key, what, spec) for window in bodies):
                continue
            text = f"{key} has a {what} and was not measured" + none_of(key, what, bodies)
            if key in SAID_BY_TESTS:
                told = (remark for remark in measurement.remarks if key in remark)
                known = [remark.removeprefix(f"no {key}: ") for remark in told]
                text += f"; {known[0] if known else f'it takes {SAID_BY_TESTS[key]}'}"
            yield Requirement(bodies[0].name, "violated", text)


def _has(window: WindowMeasurement, key: str, what: str, spec: Spec) -> bool:
    """Whether the metric was measured.

    A budget of nothing is kept by there being nothing, and so is one of calls of a function that
    there is: at most two are also none.
    """
    family = inner_family(key)
    is_call = family is not None and family.family == "api" and is_function(family.pattern)
    allows_none = what == "budget" and (spec.budget[key] == 0 or is_call)
    return bool(window.values(key)) and (allows_none or not matches_nothing(window, key))


def _budgets(spec: Spec, window: WindowMeasurement) -> Iterator[Requirement]:
    for key, limit in spec.budget.items():
        metric = lookup(key)
        if not window.values(key):
            continue
        value = window[key]
        beyond = value > limit if metric.worse == "up" else value < limit
        if beyond:
            where = "over" if metric.worse == "up" else "under"
            yield Requirement(
                window.name,
                "over budget",
                f"{key} is {format_amount(value, metric.unit)}, "
                f"{where} its budget of {format_amount(limit, metric.unit)}",
            )


def _candidates(window: WindowMeasurement) -> Iterator[Part]:
    kinds: tuple[Breakdown, ...] = ("kernels", "copies", "memsets", "calls")
    for kind in kinds:
        yield from window.breakdown.get(kind, Parts())


def _forbidden(spec: Spec, window: WindowMeasurement) -> Iterator[Requirement]:
    for pattern in spec.forbid:
        # A part is listed when any round has it; its count, a median, may still be zero.
        matching = [part for part in _candidates(window) if part.matches(pattern)]
        if matching:
            named = ", ".join(f"{part.label} ({_often(part)})" for part in matching[:_SHOWN])
            more = f" and {len(matching) - _SHOWN} more" if len(matching) > _SHOWN else ""
            yield Requirement(window.name, "violated", f"{pattern!r} is forbidden: {named}{more}")


def _often(part: Part) -> str:
    return f"{part.count:g}x" if part.count else "in some rounds"


def _required(spec: Spec, window: WindowMeasurement) -> Iterator[Requirement]:
    for pattern in spec.require:
        if not any(part.matches(pattern) and part.count for part in _candidates(window)):
            names = (part.label for part in _candidates(window) if part.count)
            near = nearest_to("kernel, copy or call", pattern, names)
            yield Requirement(
                window.name, "violated", f"{pattern!r} is required and missing; {near}"
            )


def _check(spec: Spec, window: WindowMeasurement) -> Iterator[Requirement]:
    failure = failure_of(spec.check, window) if spec.check is not None else None
    if failure is not None:
        yield Requirement(window.name, "violated", failure.text, failure.said)
