"""Steps of an inference engine, in traces made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_nsys.metrics.busy import Busyness
from pytest_nsys.metrics.steps import find_steps
from pytest_nsys.metrics.window import WINDOW_METRICS
from pytest_nsys.trace.schema import MemcpyKind
from tests.support.exports.rows import OTHER_PID, PID, Export
from tests.support.stepping import Engine


def test_a_step_ends_with_a_copy_to_the_host() -> None:
    engine = Engine()
    engine.prefill()
    engine.copy(MemcpyKind.H2D)
    engine.decode()
    engine.copy(MemcpyKind.D2D)
    engine.decode()
    engine.launch()  # what comes after the last is its, too
    steps = engine.steps()
    assert steps.kernels.tolist() == [40, 40, 41]
    assert steps.kernel_ns.tolist() == [400, 400, 410]
    assert steps.graphs.tolist() == [0, 1, 1]
    assert steps.periods.tolist() == [404, 404]


def test_a_copy_with_few_kernels_before_it_ends_no_step() -> None:
    engine = Engine()
    engine.launch(2)
    engine.copy()  # before the first step
    for _ in range(3):
        engine.graph(36)
        engine.copy()  # hidden states
        engine.launch(4)
        engine.copy()
        engine.copy()  # a flag
    assert engine.steps().kernels.tolist() == [42, 40, 40]
    assert engine.values(tokens=3)["step.count"] == 3


@pytest.mark.parametrize("whole_graphs", [False, True])
@pytest.mark.parametrize("graphs", [0, 6])
def test_steps_that_only_decode_are_one_graph_each(graphs: int, *, whole_graphs: bool) -> None:
    engine = Engine(whole=whole_graphs)
    for _ in range(2):
        engine.prefill(graphs)
        for _ in range(3):
            engine.decode(gap=6, idle=50)
    values = engine.values(tokens=8, requests=2)
    assert values == {
        **{"step.count": 8, "step.time": 458, "step.gap": 6, "step.idle": 50, "step.graphs": 1},
        **{"prefill.steps": 2, "prefill.kernel_time": 800},
        **{"decode.steps": 6, "decode.kernel_time": 2400},
    }
    assert WINDOW_METRICS["gpu.kernel_time"](engine.cut) == [3200]


@pytest.mark.parametrize("graphs", [0, 6])
def test_where_all_steps_are_launched_alike_none_is_told_from_the_others(graphs: int) -> None:
    engine = Engine()
    for _ in range(4):
        engine.prefill(graphs)
    assert engine.values(tokens=4) == {
        **{"step.count": 4, "step.time": 402, "step.gap": 0, "step.idle": 0},
        "step.graphs": graphs,
    }
    engine = Engine()
    for _ in range(4):
        engine.decode()
    assert "decode.steps" not in engine.values(tokens=4)


def test_ranks_take_each_step_together() -> None:
    first = Engine()
    second = Engine(first.export, OTHER_PID + 1)
    for engine in (first, second):
        engine.prefill()
        engine.decode()
        engine.decode()
    values = first.values(tokens=3)
    assert [values["step.count"], values["prefill.steps"], values["decode.steps"]] == [3, 1, 2]
    assert [values["prefill.kernel_time"], values["decode.kernel_time"]] == [800, 1600]
    assert values["step.time"] == 402


def test_what_copies_nothing_to_the_host_has_a_part_in_the_steps_of_what_does() -> None:
    engine = Engine()
    helper = Engine(engine.export, PID + 2)
    other = Engine(engine.export, OTHER_PID + 1)
    for _ in range(3):
        helper.now = other.now = engine.now
        helper.launch(3)
        other.launch(2)
        engine.decode()
    steps = engine.steps()
    assert steps.kernels.tolist() == [45, 45, 45]
    assert steps.count() == 3


def test_threads_of_a_server_that_answer_a_request_each_have_steps_of_their_own() -> None:
    first = Engine()
    second = Engine(first.export, PID + 2)
    for _ in range(2):
        second.now = first.now
        first.launch(20)
        second.launch(40)
        first.launch(20)
        first.copy()
        second.copy()
        first.now = second.now
    assert first.values(tokens=4)["step.count"] == 4


def test_what_can_be_no_steps_has_no_values() -> None:
    engine = Engine()
    for _ in range(9):
        engine.decode()
    assert engine.values(tokens=5)["step.count"] == 9  # 4 of them for parts of the prompt
    assert engine.values(tokens=4) == {}
    assert engine.values(tokens=float("nan")) == {}
    unlike = Engine()
    for kernels in (100, 300) * 3:
        unlike.launch(kernels)
        unlike.copy()
    assert unlike.values(tokens=6) == {}
    none = Engine()
    none.launch(40)
    assert none.values(tokens=6) == {}
    copies = Engine()
    for _ in range(4):
        copies.copy()
    assert copies.values(tokens=4) == {}


_OPERATIONS = st.tuples(
    st.sampled_from(["launch", "graph", "copy", "other", "pause"]), st.integers(1, 9)
)


@settings(max_examples=60)
@given(st.lists(st.lists(_OPERATIONS, max_size=15), min_size=1, max_size=3), st.booleans())
def test_the_parts_add_up(
    threads: list[list[tuple[str, int]]],
    whole_graphs: bool,
) -> None:
    export = Export()
    engine = Engine(export, whole=whole_graphs)
    for number, operations in enumerate(threads, 1):
        # One after the other on the device, or gaps would be those of several.
        engine.thread = PID + number
        for what, count in operations:
            if what == "launch":
                engine.launch(count)
            elif what == "graph":
                engine.graph(count)
            elif what == "pause":
                engine.now += count
            else:
                engine.copy(MemcpyKind.D2H if what == "copy" else MemcpyKind.H2D)
    cut = engine.cut
    steps = find_steps(cut, 0)
    copies = bool((cut.trace.copies["kind"] == MemcpyKind.D2H).any())
    assert (steps is not None) == copies
    if steps is not None:
        assert steps.kernel_ns.sum() == WINDOW_METRICS["gpu.kernel_time"](cut)[0]
        assert steps.kernels.sum() == len(cut.trace.kernels)
        assert steps.gap.sum() + steps.idle.sum() == Busyness(cut).idle()[0]
        # What a thread launched after its last copy may be one more.
        ended = int((cut.trace.copies["kind"] == MemcpyKind.D2H).sum())
        assert 1 <= steps.count() <= ended + len(threads)
