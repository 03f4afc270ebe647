"""Patterns that matched nothing in a window: a number that is 0 because of it says nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from pytest_nsys.catalogue import Breakdown, inner_family, is_known, metric_names
from pytest_nsys.measure.measurement import Measurement, WindowMeasurement
from pytest_nsys.support.patterns import nearest
from pytest_nsys.verdict.wording import shorten

_SHOWN = 3
_MISSPELT = 0.8
_FAMILIES = {"kernel": "kernel", "category": "category", "api": "call"}


def matches_nothing(window: WindowMeasurement, key: str) -> bool:
    """Whether the metric is one of kernels, categories or calls of which the window has none: its
    value is 0, and says nothing."""
    values = window.values(key)
    return inner_family(key) is not None and bool(values) and not any(values)


def none_of(key: str, what: str, windows: Sequence[WindowMeasurement]) -> str:
    """That the pattern in a metric's key matched nothing, and what is nearest to it; "" for a
    metric without a pattern.

    Args:
        key: the metric.
        what: what the marker gives it: "tolerance" or "budget".
        windows: where it was looked for.
    """
    family = inner_family(key)
    if family is None or not any(window.values(key) for window in windows):
        return ""
    kind, names = _FAMILIES[family.family], _names(family.family, windows)
    text = f": no {kind} matches {family.pattern!r}; {nearest_to(kind, family.pattern, names)}"
    if what == "tolerance":
        text += f"; where there is to be none, say budget={{{key!r}: 0}}"
    return text


def none_now(key: str, then: WindowMeasurement, now: WindowMeasurement) -> str:
    """That the pattern in a metric's key matched something in the baseline, and nothing now."""
    family = inner_family(key)
    assert family is not None
    kind, names = _FAMILIES[family.family], _names(family.family, [then])
    gone = [name for name in names if fnmatchcase(name, family.pattern)][:_SHOWN]
    was = f" ({', '.join(map(shorten, gone))})" if gone else ""
    near = nearest_to(kind, family.pattern, _names(family.family, [now]))
    return f"no {kind} matches {family.pattern!r} any more, as in the baseline{was}; {near}"


def never_matched(keys: Iterable[str], measurements: Sequence[Measurement]) -> list[str]:
    """The metrics among these, of all tests of a run, whose patterns matched nothing in any, and
    what is nearest to each, in sentences."""
    windows = [window for one in measurements for window in one.windows.values()]
    found = []
    for key in keys:
        family = inner_family(key)
        if windows and family and all(matches_nothing(one, key) for one in windows):
            kind, names = _FAMILIES[family.family], _names(family.family, windows)
            near = nearest_to(kind, family.pattern, names)
            found.append(f"{key} matched nothing in any test; {near}")
    return found


def unknown_metrics(baseline: Measurement) -> Iterator[str]:
    """The keys of a baseline that are no metrics here, and so are compared with nothing, in
    sentences."""
    windows = baseline.windows.values()
    for key in dict.fromkeys(key for window in windows for key in window.samples):
        if not is_known(key):
            near = difflib.get_close_matches(key, metric_names(), n=1, cutoff=_MISSPELT)
            meant = f"did you mean {near[0]!r}? " if near else ""
            yield (
                f"the baseline has {shorten(key)!r}, which is no metric here: {meant}restore its "
                "file from git, load the plugin that has the metric, or record it anew with "
                "--nsys-update"
            )


def _names(family: str, windows: Sequence[WindowMeasurement]) -> list[str]:
    """What a pattern of a family could have matched."""
    kind: Breakdown = "calls" if family == "api" else "kernels"
    parts = [part for window in windows for part in window.breakdown.get(kind, ()) if part.count]
    return [part.category if family == "category" else part.label for part in parts]


def nearest_to(what: str, pattern: str, names: Iterable[str]) -> str:
    """What there is that a pattern which matched nothing is most like, in words."""
    there = list(dict.fromkeys(filter(None, names)))
    if not there:
        return f"there is no {what} at all"
    near = nearest(pattern, there, _SHOWN)
    shown = ", ".join(map(shorten, near or there[:_SHOWN]))
    return f"nearest: {shown}" if near else f"there are: {shown}"
