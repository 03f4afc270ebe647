"""Rounds that load code, and kernels of the first round alone."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.windows import measure
from tests.support.exports.traces import TraceBuilder

NAMING = Naming(canonical=lambda raw: raw.split("<")[0], category=lambda _: "gemm")
AT = 10_000


def rounds(count: int, *, nodeid: str = "t") -> TraceBuilder:
    builder = TraceBuilder()
    for number in range(count):
        builder.window(AT * number, AT * number + 5000, nodeid=nodeid, round=number)
        builder.kernel("gemm", AT * number + 100, 50)
    return builder


def told(builder: TraceBuilder, warmups: Mapping[str, int] = {"t": 1}) -> tuple[str, ...]:
    found = measure(builder.build(), builder.windows, naming=NAMING, warmups=warmups)
    return found["t"].remarks


def test_a_round_that_loads_code_is_told_with_the_calls_and_what_to_do() -> None:
    builder = rounds(4)
    for at in (200, 400):
        builder.call("cuLibraryLoadData", at, at + 100)
    builder.call("cuModuleGetFunction", 700, 710)
    builder.call("cuKernelGetFunction", 720, 730)  # libraries ask for that in each call
    builder.call("cuModuleLoadData", 7000, 8000)  # between two rounds
    assert told(builder) == (
        "kernels were compiled or loaded in round 1 (cuLibraryLoadData 2x, cuModuleGetFunction 1x; "
        "210 ns): raise the warm-up (warmup=2)",
    )
    assert told(builder, {}) == ()


def test_the_first_rounds_take_as_many_more_calls() -> None:
    builder = rounds(4)
    for number in range(2):
        builder.call("cuModuleLoadDataEx", AT * number + 200)
    (said,) = told(builder, {"t": 0})
    assert "in rounds 1, 2 (cuModuleLoadDataEx 2x" in said
    assert said.endswith("raise the warm-up (warmup=2)")


def test_where_it_is_not_the_first_rounds_more_calls_do_not_help() -> None:
    later, always = rounds(3), rounds(3)
    later.call("cudaLibraryLoadData", 2 * AT + 200)
    for number in range(3):
        always.call("cuModuleLoadData", AT * number + 200)
    (one,), (other,) = told(later), told(always)
    assert "in round 3 (" in one
    assert "in every round (cuModuleLoadData 3x" in other
    for said in (one, other):
        assert said.endswith("builds kernels anew, or has new shapes; keep what it compiles")


def test_kernels_of_the_first_round_alone_look_like_an_autotuner() -> None:
    builder = rounds(3)
    for number in range(5):
        builder.kernel(f"variant{number}<int>", 300 + number, 10 * (5 - number))
    builder.kernel("gemm<other>", 400, 10)  # another variant of what runs in the others
    assert told(builder) == (
        "5 kernels ran in round 1 alone (variant0, variant1, variant2 and 2 more; 150 ns), "
        "as when an autotuner tries variants: raise the warm-up (warmup=2)",
    )


def test_of_two_rounds_and_of_rounds_without_kernels_nothing_is_said() -> None:
    few = rounds(2)
    few.kernel("once", 300, 10)
    assert told(few) == ()
    empty = TraceBuilder()
    for number in range(3):
        empty.window(AT * number, AT * number + 500, round=number)
    empty.kernel("once", 300, 10)
    assert told(empty) == ()
