"""Which tests are compared with each other: pure functions of ids and parameters."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import SettingsError
from pytest_nsys.offline.pairing import Case, groups_of, read_case, with_parts

NAMES = ("engine", "batch", "dtype")
VALUES = st.sampled_from(["a", "b", "c", "1", "x-y"])


def case(capture: int, function: str, **parameters: str) -> Case:
    nodeid = f"t.py::{function}"
    if parameters:
        nodeid += f"[{'-'.join(parameters.values())}]"
    return read_case(capture, nodeid, parameters)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[int, list[Case]]:
    """Measured tests of one to three recordings; ids are unique within each."""
    captures = draw(st.integers(1, 3))
    cases: dict[tuple[int, str], Case] = {}
    for capture in range(captures):
        for _ in range(draw(st.integers(0, 5))):
            function = draw(st.sampled_from(["f", "g"]))
            names = NAMES[: draw(st.integers(0, 3))]
            one = case(capture, function, **{name: draw(VALUES) for name in names})
            if draw(st.booleans()):
                one = read_case(capture, one.nodeid, {})
            cases[capture, one.nodeid] = one
    return captures, with_parts([*cases.values()])


@given(recordings(), st.sampled_from([(), ("engine",), ("engine", "batch")]))
def test_every_test_is_in_exactly_one_group_and_keeps_its_place(
    given: tuple[int, list[Case]], by: tuple[str, ...]
) -> None:
    captures, cases = given
    known = {name for one in cases for name in one.parameters}
    groups = groups_of(cases, captures, [name for name in by if name in known])
    placed = [(one.capture, one.nodeid) for group in groups for one in group.cases]
    assert Counter(placed) == Counter((one.capture, one.nodeid) for one in cases)
    for group in groups:
        order = [cases.index(one) for one in group.cases]
        assert order == sorted(order)
        (function,) = {one.function for one in group.cases}
        assert group.name.startswith(function)
        several = len({one.nodeid for one in group.cases}) > 1
        for one in group.cases:
            assert not several or {*one.parameters} <= {*group.parameters, *group.varied}
            own = [name for name in one.parameters if name in group.varied]
            assert own == [name for name in group.varied if name in one.parameters] or several
    if captures > 1 and not by:
        for group in groups:
            assert max(Counter(one.capture for one in group.cases).values()) == 1


@given(recordings())
def test_equal_ids_of_all_recordings_are_compared_by_their_ids(
    given: tuple[int, list[Case]],
) -> None:
    captures, cases = given
    often = Counter(one.nodeid for one in cases)
    if captures == 1:
        return
    names = {group.name: group for group in groups_of(cases, captures)}
    for nodeid, times in often.items():
        if times == captures:
            assert len(names[nodeid].cases) == captures


def ids(captures: int, *cases: Case, by: tuple[str, ...] = ()) -> list[list[str]]:
    found = groups_of(with_parts(cases), captures, by)
    return [[f"{one.capture}{one.nodeid[7:]}" for one in group.cases] for group in found]


def test_one_recording_has_the_parameters_of_a_function_side_by_side() -> None:
    cases = [case(0, "f", engine=engine) for engine in ("vllm", "sglang")] + [case(0, "g")]
    assert ids(1, *cases) == [["0[vllm]", "0[sglang]"], ["0"]]
    (first, other) = groups_of(cases, 1)
    assert (first.name, first.varied, dict(first.parameters)) == ("t.py::f", ("engine",), {})
    assert (other.name, other.varied) == ("t.py::g", ())


def test_what_differs_between_recordings_alone_is_the_knob() -> None:
    before = [case(0, "f", engine="vllm", batch=batch) for batch in "12"]
    after = [case(1, "f", engine="sglang", batch=batch) for batch in "23"]
    assert ids(2, *before, *after) == [
        ["0[vllm-1]"],
        ["0[vllm-2]", "1[sglang-2]"],
        ["1[sglang-3]"],
    ]
    pair = groups_of([*before, *after], 2)[1]
    assert (dict(pair.parameters), pair.varied) == ({"batch": "2"}, ("engine",))


def test_a_test_that_all_have_is_compared_with_itself_alone() -> None:
    cases = [case(0, "f", engine="a"), case(1, "f", engine="a"), case(1, "f", engine="b")]
    assert ids(2, *cases) == [["0[a]", "1[a]"], ["1[b]"]]


def test_tests_are_compared_by_a_parameter() -> None:
    cases = [case(0, "f", batch=batch, engine=engine) for batch in "12" for engine in ("a", "b")]
    cases.append(case(0, "g"))
    assert ids(1, *cases, by=("engine",)) == [["0[1-a]", "0[1-b]"], ["0[2-a]", "0[2-b]"], ["0"]]
    assert ids(1, *cases, by=("batch",)) == [["0[1-a]", "0[2-a]"], ["0[1-b]", "0[2-b]"], ["0"]]
    with pytest.raises(SettingsError, match="no test has a parameter of that name") as raised:
        groups_of(cases, 1, ["engin"])
    assert "did you mean 'engine'?" in str(raised.value)
    with pytest.raises(SettingsError) as raised:
        groups_of([case(0, "g")], 1, ["engin"])
    assert "leave out --by" in str(raised.value)


def test_parts_of_ids_stand_for_parameters_that_are_not_kept() -> None:
    old = [read_case(0, f"t.py::f[{one}-1]", {}) for one in ("a", "b")]
    assert [dict(one.parameters) for one in with_parts(old)] == [
        {"part1": "a", "part2": "1"},
        {"part1": "b", "part2": "1"},
    ]
    new = case(1, "f", engine="c", batch="1")
    assert [[*one.parameters] for one in with_parts([*old, new])] == [["engine", "batch"]] * 3
    odd = [*old, read_case(0, "t.py::f[sglang-0.5-1]", {})]
    assert [dict(one.parameters) for one in with_parts(odd)][-1] == {"id": "sglang-0.5-1"}


def test_names_of_files_and_values_are_not_taken_for_parameters() -> None:
    odd = read_case(0, "a[b]/t.py::f[c::d[e]]", {})
    assert (odd.function, dict(odd.parameters)) == ("a[b]/t.py::f", {"id": "c::d[e]"})
    assert dict(read_case(0, "a[b]/t.py::f", {}).parameters) == {}
