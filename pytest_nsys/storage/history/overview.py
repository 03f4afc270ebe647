"""What a whole history says first: which tests drifted, and which runs changed which of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pytest_nsys.storage.history.changes import Shift
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.trend import STATES, Difference, State, TestTrends, Trend

_SOON = 5
"""Runs that a test may miss before it counts as gone."""

_Key = tuple[str, str, tuple[Difference, ...]]
"""A run as tests share it: day, commit, and the versions that changed with it."""


@dataclass(frozen=True)
class Drifted:
    """A metric that drifted for the worse."""

    test: TestTrends
    trend: Trend


@dataclass(frozen=True)
class Changed:
    """A change of level of one metric."""

    test: TestTrends
    trend: Trend
    shift: Shift

    @property
    def is_worse(self) -> bool:
        """Whether it is one for the worse."""
        return self.trend.is_worse(self.shift.before, self.shift.after)

    @property
    def is_over(self) -> bool:
        """Whether it is larger than the tolerance."""
        return self.trend.is_over(self.shift.before, self.shift.after)


@dataclass(frozen=True)
class Event:
    """Changes of level that one run explains.

    Attributes:
        then: the run before it; of several tests the newest.
        now: the first run that has the new levels, of several on a day the first.
        differences: the versions that changed with it.
        changes: what changed; those for the worse and over the tolerance first.
    """

    then: Entry
    now: Entry
    differences: tuple[Difference, ...]
    changes: tuple[Changed, ...]

    @property
    def is_small(self) -> bool:
        """Whether none of the changes is over its tolerance."""
        return not any(one.is_over or one.trend.tolerance is None for one in self.changes)


@dataclass(frozen=True)
class Overview:
    """A history as a whole.

    Attributes:
        tests: all of them, the gravest first.
        drifts: of all tests, the largest part of a tolerance first.
        events: the newest first.
        counts: how many tests are in each state, on several devices in the gravest.
        gone: by node id and device of the tests that are not measured any more, how many runs of
            the device there were since.
    """

    tests: tuple[TestTrends, ...]
    drifts: tuple[Drifted, ...]
    events: tuple[Event, ...]
    counts: Mapping[State, int]
    gone: Mapping[tuple[str, str], int]


def overview(tests: Iterable[TestTrends]) -> Overview:
    """What is to be said first of the trends of a history."""
    order = sorted(tests, key=lambda test: STATES.index(test.state))
    drifts = [
        Drifted(test, trend) for test in order for trend in test.trends if trend.state == "drifted"
    ]
    changes = [
        Changed(test, trend, shift)
        for test in order
        for trend in test.trends
        for shift in trend.shifts
    ]
    return Overview(
        tuple(order),
        tuple(sorted(drifts, key=lambda one: -_share(one.trend))),
        _events(changes),
        Counter({test.nodeid: test.state for test in reversed(order)}.values()),
        dict(_gone(order)),
    )


def run_key(entry: Entry) -> tuple[datetime, str]:
    """What the tests of one run have in common."""
    return entry.date, entry.commit


def _gone(tests: Sequence[TestTrends]) -> Iterator[tuple[tuple[str, str], int]]:
    """The tests that miss many more runs at the end than they ever did between two of theirs."""
    devices: dict[str, set[tuple[datetime, str]]] = {}
    for test in tests:
        devices.setdefault(test.device, set()).update(map(run_key, test.entries))
    numbers = {
        device: {key: number for number, key in enumerate(sorted(keys))}
        for device, keys in devices.items()
    }
    for test in tests:
        of_device = numbers[test.device]
        places = sorted(of_device[run_key(entry)] for entry in test.entries)
        usual = max((now - then for then, now in itertools.pairwise(places)), default=1)
        since = len(of_device) - 1 - places[-1]
        if since > max(_SOON, 2 * usual):
            yield (test.nodeid, test.device), since


def _share(trend: Trend) -> float:
    """How much of its tolerance a drift is."""
    slow, tolerance = trend.drift, trend.tolerance
    if slow is None or tolerance is None or not tolerance.limit(slow.before):
        return 0.0
    return abs(slow.after - slow.before) / tolerance.limit(slow.before)


def _events(changes: Sequence[Changed]) -> tuple[Event, ...]:
    """The fewest runs that explain all changes, found greedily.

    Where noise leaves a change several runs to begin with, it is put to the one that the most
    others have; of several such, to its likeliest.
    """
    candidates = [_candidates(change) for change in changes]
    having: dict[_Key, set[int]] = {}
    likeliest: Counter[_Key] = Counter()
    for number, keys in enumerate(candidates):
        for key in keys:
            having.setdefault(key, set()).add(number)
        likeliest[next(iter(keys))] += 1
    events = []
    while having:
        key = max(having, key=lambda one: (len(having[one]), likeliest[one], one[0]))
        taken = sorted(having[key])
        for number in taken:
            likeliest[next(iter(candidates[number]))] -= 1
            for other in candidates[number]:
                having[other].discard(number)
                if not having[other]:
                    del having[other]
        found = [(changes[number], candidates[number][key]) for number in taken]
        events.append(_event(key, found))
    return tuple(sorted(events, key=lambda event: event.now.date, reverse=True))


def _candidates(change: Changed) -> dict[_Key, int]:
    """By run the index of a change that begins with it, the likeliest first; of runs of which one
    brought versions that one alone."""
    entries, shift = change.trend.entries, change.shift
    known = change.trend.changed_with(shift)
    if known:
        return {_key(entries[shift.index], known): shift.index}
    places = sorted(range(shift.earliest, shift.latest + 1), key=lambda at: abs(at - shift.index))
    found: dict[_Key, int] = {}
    for at in places:
        found.setdefault(_key(entries[at], ()), at)
    return found


def _key(entry: Entry, known: tuple[Difference, ...]) -> _Key:
    return entry.day, entry.commit, known


def _event(key: _Key, found: Sequence[tuple[Changed, int]]) -> Event:
    pairs = [(change.trend.entries[at - 1], change.trend.entries[at]) for change, at in found]
    now = min((now for _, now in pairs), key=lambda entry: entry.date)
    return Event(
        then=max(
            (then for then, after in pairs if after.date == now.date), key=lambda entry: entry.date
        ),
        now=now,
        differences=key[2],
        changes=tuple(
            sorted(
                (change for change, _ in found),
                key=lambda one: (not one.is_worse, not one.is_over),
            )
        ),
    )
