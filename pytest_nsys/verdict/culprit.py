"""Which kernels, copies or calls make up the change of a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_nsys.catalogue import Metric, parse_family, split_per_unit, undivided
from pytest_nsys.kernels.category import COMMUNICATION
from pytest_nsys.kernels.match import match
from pytest_nsys.measure.measurement import Part, Parts, WindowMeasurement
from pytest_nsys.verdict.verdict import Contribution


def contributions(
    metric: Metric, baseline: WindowMeasurement, current: WindowMeasurement
) -> tuple[Contribution, ...]:
    """The parts of the window that changed, in the metric's unit, the largest first.

    Those that pull the metric in its worse direction come before those that pull it back. A kernel
    that goes by another name now is one part.
    """
    if metric.breakdown is None:
        return ()
    chosen = chooser(metric)
    then_parts = baseline.breakdown.get(metric.breakdown, Parts())
    now_parts = current.breakdown.get(metric.breakdown, Parts())
    # By label on both sides: a pattern may match raw names, which a baseline does not keep.
    labels = {part.label for part in (*then_parts, *now_parts) if chosen(part)}
    before, after = _by_label(then_parts, labels), _by_label(now_parts, labels)
    then, now = units_factor(metric, baseline), units_factor(metric, current)
    renamed = renamed_kernels(before, after) if metric.breakdown == "kernels" else {}
    old_of = {new: old for old, new in renamed.items()}
    found = []
    for label in sorted(labels - renamed.keys()):
        was, is_now = before.get(old_of.get(label, label)), after.get(label)
        change = now * _amount(is_now, metric) - then * _amount(was, metric)
        if change:
            old = old_of.get(label, "")
            found.append(Contribution(label, was, is_now, change, (then, now), old))
    sign = 1 if metric.worse == "up" else -1
    return tuple(sorted(found, key=lambda part: -sign * part.change))


def renamed_kernels(before: Mapping[str, Part], after: Mapping[str, Part]) -> dict[str, str]:
    """By the name in the baseline, the name now, of kernels that go by another name.

    Args:
        before: the kernels of a window in the baseline, by name.
        after: those now.
    """
    category = {label: part.category for label, part in (*before.items(), *after.items())}
    found = match(before, after, canonical=str, category=category.__getitem__)
    return {
        one.baseline: one.current
        for one in found
        if one.how == "renamed" and one.baseline is not None and one.current is not None
    }


def _by_label(parts: Parts, labels: set[str]) -> dict[str, Part]:
    return {part.label: part for part in parts if part.label in labels}


def _amount(part: Part | None, metric: Metric) -> float:
    return part.amount(metric.unit) if part else 0.0


def units_factor(metric: Metric, window: WindowMeasurement) -> float:
    """What a round's amount is multiplied by: one over the units, for ``X.per_unit``."""
    factor, key = 1.0, metric.key
    while per_unit := split_per_unit(key):
        key, unit = per_unit
        factor /= window.units[unit]
    return factor


def chooser(metric: Metric) -> Callable[[Part], bool]:
    """Which lines of its breakdown a metric is made of."""
    key = undivided(metric.key)
    words = key.split(".")
    if words[0] == "memcpy":
        if words[1] == "pageable":
            return lambda part: part.label.endswith(" pageable")
        return lambda part: part.label.startswith(words[1] + " ")
    if words[0] == "nccl":
        return lambda part: part.category == COMMUNICATION
    family = parse_family(key)
    if family is not None and family.family == "category":
        return lambda part: part.category == family.pattern
    if family is not None:
        return lambda part: part.matches(family.pattern)
    return lambda _: True
