"""Which tests share a capture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.plan.batches import PlannedTest, make_plan
from pytest_nsys.plan.marker import Spec

specs = st.builds(
    Spec,
    warmup=st.just(1),
    rounds=st.just(5),
    timeout_s=st.just(60.0),
    isolate=st.booleans(),
    nsys_args=st.sampled_from([(), ("-a",), ("-a", "-b")]),
)
suites = st.lists(specs, max_size=12).map(
    lambda found: [PlannedTest(f"t{number}", spec) for number, spec in enumerate(found)]
)


def _plan(*tests: tuple[str, dict[str, object]]) -> list[list[str]]:
    planned = [
        PlannedTest(name, Spec(1, 5, 60.0, **arguments))  # type: ignore[arg-type]
        for name, arguments in tests
    ]
    return [[test.nodeid for test in batch.tests] for batch in make_plan(planned)]


def test_no_tests_need_no_capture() -> None:
    assert make_plan([]) == ()


def test_tests_share_one_capture() -> None:
    assert _plan(("a", {}), ("b", {}), ("c", {})) == [["a", "b", "c"]]


def test_an_isolated_test_is_alone() -> None:
    assert _plan(("a", {}), ("b", {"isolate": True}), ("c", {}), ("d", {"isolate": True})) == [
        ["a", "c"],
        ["b"],
        ["d"],
    ]


def test_tests_with_other_arguments_of_nsys_have_a_capture_of_their_own() -> None:
    other: dict[str, object] = {"nsys_args": ("-x",)}
    assert _plan(("a", other), ("b", {}), ("c", other)) == [["a", "c"], ["b"]]


@given(suites)
def test_every_test_is_in_one_batch_and_in_order(tests: list[PlannedTest]) -> None:
    plan = make_plan(tests)
    order = {test.nodeid: number for number, test in enumerate(tests)}
    placed = [test.nodeid for batch in plan for test in batch.tests]
    assert sorted(placed) == sorted(order)
    for batch in plan:
        numbers = [order[test.nodeid] for test in batch.tests]
        assert numbers == sorted(numbers)
        assert {test.spec.nsys_args for test in batch.tests} == {batch.nsys_args}
        assert len(batch.tests) == 1 or not any(test.spec.isolate for test in batch.tests)
    firsts = [order[batch.tests[0].nodeid] for batch in plan]
    assert firsts == sorted(firsts)


@given(suites)
def test_there_are_no_more_captures_than_needed(tests: list[PlannedTest]) -> None:
    isolated = sum(test.spec.isolate for test in tests)
    kinds = {test.spec.nsys_args for test in tests if not test.spec.isolate}
    assert len(make_plan(tests)) == isolated + len(kinds)
