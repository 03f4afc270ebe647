"""How the kernels of a round were launched: by canonical name, their launch configurations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pytest_nsys.kernels import canonical
from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.kernels.occupancy import occupancy
from pytest_nsys.measure.measurement import Launched, Parts
from pytest_nsys.metrics.window import durations
from pytest_nsys.support.arrays.grouping import coded, sums
from pytest_nsys.windows.cut import Cut

KEPT = 4
"""Launch configurations that are kept of a kernel: those that take the most time."""

_SYMBOL = re.compile(r"\w{1,120}")
"""A name without arguments: what was tuned is in its words. Others are too long to be kept."""

_COUNTER = re.compile(r"(?:_\d+)+$")
"""What code generators number their kernels by: it says nothing of tuning."""

_Key = tuple[Configuration, str]


def with_configurations(
    cut: Cut, places: Sequence[Mapping[int, Sequence[int]]], naming: Naming, found: Iterable[Parts]
) -> list[Parts]:
    """The kernels of each place with how they were launched; as they are, where that is unknown.

    Args:
        cut: the windows.
        places: what is measured: per round, the numbers of its windows in the cut.
        naming: how kernels are named.
        found: the kernels of each place.
    """
    known = _by_place(cut, places, naming)
    return [
        Parts(
            tuple(
                replace(part, launched=largest(known.get((number, part.label), {}).values()))
                for part in parts
            )
        )
        for number, parts in enumerate(found)
    ]


def largest(launched: Iterable[Launched]) -> tuple[Launched, ...]:
    """Those that are kept: the longest."""
    ranked = sorted(launched, key=lambda one: (-one.ns, -one.count, one.variant, one.configuration))
    return tuple(ranked[:KEPT])


def _by_place(
    cut: Cut, places: Sequence[Mapping[int, Sequence[int]]], naming: Naming
) -> Mapping[tuple[int, str], Mapping[_Key, Launched]]:
    """Per place and canonical name, by configuration and variant: means over the rounds."""
    trace = cut.trace
    if not trace.configurations:
        return {}
    names, ids = coded(trace.kernels["name"].to_numpy(np.int64))
    several = len(trace.configurations) + 1
    codes = names * several + trace.kernels["configuration"].to_numpy(np.int64) + 1
    dense, values = coded(codes)
    window, code, count, ns = sums(cut.kernels, dense, len(values), durations(trace.kernels))
    place_of = np.full(len(cut), -1, dtype=np.int64)
    for number, rounds in enumerate(places):
        for windows in rounds.values():
            place_of[[*windows]] = number
    place = place_of[window]
    group, inverse = np.unique(place * len(values) + code, return_inverse=True)
    totals = zip(
        group.tolist(),
        np.bincount(inverse.reshape(-1), weights=count).tolist(),
        np.bincount(inverse.reshape(-1), weights=ns).tolist(),
        strict=True,
    )
    capability = trace.capability
    found: dict[tuple[int, str], dict[_Key, Launched]] = defaultdict(dict)
    for one, launches, time in totals:
        owner, key = divmod(one, len(values))
        name, configuration = divmod(int(values[key]), several)
        if owner < 0 or not configuration:
            continue
        raw = trace.strings.get(int(ids[name]), "")
        label, how = naming.canonical(raw), trace.configurations[configuration - 1]
        variant = _variant(raw, label)
        rounds_of = len(places[owner])
        new = Launched(
            how, launches / rounds_of, time / rounds_of, occupancy(how, capability), variant
        )
        before = found[owner, label].get((how, variant))
        found[owner, label][how, variant] = new.plus(before) if before else new
    return found


def _variant(raw: str, label: str) -> str:
    """The raw name, where it says how the kernel was tuned and is short; else "".

    A project's own rule may name a kernel so that nothing else of its name is kept.
    """
    tuned = label not in (raw, _COUNTER.sub("", raw)) and canonical(raw) == label
    return raw if tuned and _SYMBOL.fullmatch(raw) else ""


def of_processes(processes: Iterable[Iterable[Launched]], number: int) -> tuple[Launched, ...]:
    """Those of so many processes: the mean, in which one without it counts as none."""
    found: dict[_Key, Launched] = {}
    for one in (one for process in processes for one in process):
        key = one.configuration, one.variant
        found[key] = found[key].plus(one) if key in found else one
    return largest(one.divided(number) for one in found.values())
