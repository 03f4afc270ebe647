"""Which tests of one or more recordings are compared with each other.

Tests of one function whose parameters differ are: in one recording its parameters stand side by
side, in several recordings those tests that are not in all of them under the same id. Every test is
in exactly one group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_nsys.errors import SettingsError
from pytest_nsys.support.text import suggest

Key = tuple[object, ...]


@dataclass(frozen=True)
class Case:
    """A measured test of a recording.

    Attributes:
        capture: number of the recording.
        nodeid: the test.
        function: its id without its parameters.
        parameters: by name, in the order of its id.
        from_id: whether these are parts of its id, because the recording keeps no parameters.
    """

    capture: int
    nodeid: str
    function: str
    parameters: Mapping[str, str]
    from_id: bool = False


@dataclass(frozen=True)
class Group:
    """Tests that are compared with each other.

    Attributes:
        name: their id, or that of their function where they have several.
        parameters: those that they have in common, where they have several ids.
        varied: the names of the others.
        cases: the tests, in their order.
    """

    name: str
    parameters: Mapping[str, str]
    varied: tuple[str, ...]
    cases: tuple[Case, ...]


def read_case(capture: int, nodeid: str, parameters: Mapping[str, str]) -> Case:
    """A test of a recording.

    Args:
        capture: number of the recording.
        nodeid: the test.
        parameters: what the recording keeps of them; empty if it keeps none.
    """
    path, colons, name = nodeid.partition("::")
    function, bracket, rest = name.partition("[")
    if not bracket or not rest.endswith("]"):
        return Case(capture, nodeid, nodeid, {})
    from_id = not parameters
    return Case(capture, nodeid, path + colons + function, parameters or {"id": rest[:-1]}, from_id)


def with_parts(cases: Sequence[Case]) -> list[Case]:
    """The cases; ids of one function that have as many parts each are parameters in their order.

    They are called as those of another recording that keeps as many, else ``part1``, ``part2``, ...
    """
    by_function = _grouped(cases, lambda case: (case.function,))
    named: dict[str, list[str]] = {}
    for mine in by_function.values():
        unnamed = [case.parameters["id"].split("-") for case in mine if case.from_id]
        known = [[*case.parameters] for case in mine if not case.from_id and case.parameters]
        if unnamed and len({*map(len, unnamed)}) == 1:
            count = len(unnamed[0])
            parts = [f"part{number}" for number in range(1, count + 1)]
            named[mine[0].function] = next((k for k in known if len(k) == count), parts)
    return [
        replace(case, parameters=dict(zip(names, case.parameters["id"].split("-"), strict=True)))
        if case.from_id and (names := named.get(case.function))
        else case
        for case in cases
    ]


def groups_of(cases: Sequence[Case], captures: int, by: Sequence[str] = ()) -> list[Group]:
    """The groups, in the order of their first tests.

    Args:
        cases: the tests of all recordings.
        captures: how many recordings there are.
        by: names of parameters; tests that are equal in all others are compared.

    Raises:
        SettingsError: no test has such a parameter.
    """
    known = dict.fromkeys(name for case in cases for name in case.parameters)
    for name in by:
        if name not in known:
            raise SettingsError(
                f"--by is {name!r:.80}, and no test has a parameter of that name",
                remedy=suggest(name, known) if known else "leave out --by",
            )
    if by:
        found = _grouped(cases, lambda case: _by(case, by))
    elif captures == 1:
        found = _grouped(cases, lambda case: (case.function,))
    else:
        found = _across(cases, captures)
    return [_group(mine) for mine in found.values()]


def _by(case: Case, by: Sequence[str]) -> Key:
    if not any(name in case.parameters for name in by):
        return (case.nodeid,)
    return (case.function, _without(case, by))


def _without(case: Case, names: Iterable[str]) -> Key:
    left_out = {*names}
    return tuple((k, v) for k, v in sorted(case.parameters.items()) if k not in left_out)


def _across(cases: Sequence[Case], captures: int) -> dict[Key, list[Case]]:
    """Tests by their id; those that are not in all recordings by the parameters that do not tell
    these recordings apart."""
    often = Counter(case.nodeid for case in cases)
    lonely = _grouped(
        [case for case in cases if often[case.nodeid] < captures], lambda case: (case.function,)
    )
    knobs = {key: _knobs(mine) for key, mine in lonely.items()}
    seen: Counter[Key] = Counter()

    def key(case: Case) -> Key:
        names = knobs.get((case.function,), ())
        if often[case.nodeid] == captures or not names:
            return (case.nodeid,)
        found = (case.function, _without(case, names))
        # Two of one recording whose parameters are called the same are two all the same.
        own = (case.capture, *found)
        seen[own] += 1
        return (*found, seen[own])

    return _grouped(cases, key)


def _knobs(cases: Sequence[Case]) -> tuple[str, ...]:
    """The parameters of which each recording has one value, and not all the same."""
    names = dict.fromkeys(name for case in cases for name in case.parameters)
    found = []
    for name in names:
        values = defaultdict(set)
        for case in cases:
            values[case.capture].add(case.parameters.get(name))
        single = all(len(each) == 1 for each in values.values())
        if single and len(set().union(*values.values())) > 1:
            found.append(name)
    return tuple(found)


def _grouped(cases: Iterable[Case], key: Callable[[Case], Key]) -> dict[Key, list[Case]]:
    found: dict[Key, list[Case]] = {}
    for case in cases:
        found.setdefault(key(case), []).append(case)
    return found


def _group(cases: Sequence[Case]) -> Group:
    first = cases[0]
    if all(case.nodeid == first.nodeid for case in cases):
        return Group(first.nodeid, {}, (), tuple(cases))
    names = dict.fromkeys(name for case in cases for name in case.parameters)
    varied = [name for name in names if len({case.parameters.get(name) for case in cases}) > 1]
    common = {name: first.parameters[name] for name in names if name not in varied}
    return Group(first.function, common, tuple(varied), tuple(cases))


def words(case: Case, names: Iterable[str]) -> str:
    """A test's values of these parameters: ``fp16, 1024``."""
    return ", ".join(case.parameters.get(name, "-") for name in names)
