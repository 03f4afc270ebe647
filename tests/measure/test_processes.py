"""Processes of one test put together."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.measure.measurement import Measurement, Part, WindowMeasurement
from pytest_nsys.measure.processes import join_processes
from pytest_nsys.plan.marker import Spec
from pytest_nsys.verdict.requirements import unmet_requirements
from tests.support import made

GEMM, RELU = Part("gemm", 2, ns=900, category="gemm"), Part("relu", 1, ns=100)


def _process(*parts: Part, name: str = "test", **units: float) -> Measurement:
    return made.measurement(made.kernels(*parts, name=name, rounds=2, **units))


def test_samples_of_sessions_stand_side_by_side_in_their_order() -> None:
    joined = join_processes([_process(replace(GEMM, ns=ns)) for ns in (900, 700, 800)])
    body = joined.windows["test"]
    assert body.by_process("gpu.kernel_time") == ((900, 900), (700, 700), (800, 800))
    assert body["gpu.kernel_time"] == 800
    assert joined.processes == 3


def test_the_plan_and_the_environment_are_those_of_the_first() -> None:
    first = _process(GEMM)
    other = replace(
        _process(GEMM),
        device="another",
        environment=replace(first.environment, date="2030-01-01"),
    )
    joined = join_processes([first, other])
    assert replace(joined, windows=first.windows) == first


def test_a_line_of_a_breakdown_has_the_median_of_the_processes() -> None:
    joined = join_processes(
        [
            _process(replace(GEMM, ns=900, raw=("gemm<1>",)), RELU),
            _process(replace(GEMM, ns=990, count=3, raw=("gemm<2>",))),
            _process(replace(GEMM, ns=920, bytes=8, raw=("gemm<1>",)), RELU),
        ]
    )
    gemm, relu = joined.windows["test"].kernels
    assert gemm == Part("gemm", 2, ns=920, category="gemm", raw=("gemm<1>", "gemm<2>"))
    assert relu == RELU


def test_a_line_that_few_sessions_have_counts_as_none_and_is_still_found() -> None:
    joined = join_processes([_process(GEMM), _process(GEMM, RELU), _process(GEMM)])
    body = joined.windows["test"]
    assert body.kernels.count("relu") == 0
    spec = Spec(warmup=1, rounds=2, timeout_s=1, forbid=("relu",))
    (requirement,) = unmet_requirements(spec, made.measurement(body))
    assert requirement.text == "'relu' is forbidden: relu (in some rounds)"


def test_windows_units_metrics_and_kinds_are_those_of_any_process() -> None:
    one = made.measurement(made.kernels(GEMM, token=4), made.kernels(RELU, name="fwd"))
    other = made.measurement(
        made.kernels(GEMM, token=8, head=2),
        made.window({"wall.time": [5]}, Part("h2d 4 B", 1), kind="copies", name="bwd"),
    )
    joined = join_processes([one, other])
    assert list(joined.windows) == ["test", "fwd", "bwd"]
    assert joined.windows["test"].units == {"token": 6, "head": 2}
    assert joined.windows["fwd"] == one.windows["fwd"]
    assert joined.windows["bwd"] == other.windows["bwd"]


def test_a_metric_that_one_session_lacks_has_the_others_samples() -> None:
    with_clock = made.measurement(made.window({"gpu.busy": [1], "gpu.sm_clock": [2e9]}))
    without = made.measurement(made.window({"gpu.busy": [3]}))
    body = join_processes([without, with_clock]).windows["test"]
    assert body.by_process("gpu.busy") == ((3,), (1,))
    assert body.by_process("gpu.sm_clock") == ((2e9,),)


def test_remarks_are_kept_and_the_same_one_is_kept_once() -> None:
    texts = [("a",), ("b", "a"), ("c",)]
    joined = join_processes([replace(_process(GEMM), remarks=remarks) for remarks in texts])
    assert joined.remarks == ("a", "b", "c")


@given(made.measurements)
def test_joining_one_session_changes_nothing(one: Measurement) -> None:
    assert join_processes([one]) == one


@given(made.measurements, st.integers(2, 4))
def test_equal_sessions_are_that_session_several_times(one: Measurement, count: int) -> None:
    joined = join_processes([one] * count)
    assert joined.windows.keys() == one.windows.keys()
    for name, window in one.windows.items():
        found = joined.windows[name]
        assert found.units == window.units
        assert found.breakdown.keys() == window.breakdown.keys()
        for kind, parts in window.breakdown.items():
            assert sorted(map(repr, found.breakdown[kind])) == sorted(map(repr, parts))
        for key, processes in window.samples.items():
            assert found.samples[key] == processes * count


parts = st.lists(
    st.builds(
        Part,
        label=st.sampled_from("abcd"),
        count=st.integers(0, 5).map(float),
        ns=st.integers(0, 9).map(float),
    ),
    unique_by=lambda part: part.label,
    max_size=4,
)


@given(st.lists(parts, min_size=2, max_size=4))
def test_the_order_of_the_sessions_does_not_matter_to_what_a_round_is_made_of(
    found: list[list[Part]],
) -> None:
    processes = [_process(*of) for of in found]
    joined: list[WindowMeasurement] = [
        join_processes(order).windows["test"] for order in permutations(processes)
    ]
    assert all(window.kernels == joined[0].kernels for window in joined)
