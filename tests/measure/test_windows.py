"""From a trace and the worker's records to the samples of every test."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_nsys.errors import UnknownMetric, WindowsMissing
from pytest_nsys.gpu.state import GpuState, RoundState
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.windows import TestWindows, measure, measure_cut
from pytest_nsys.windows.cut import whole
from pytest_nsys.windows.record import WindowRecord
from tests.support.exports.traces import PID, TraceBuilder

NAMING = Naming(canonical=lambda raw: raw.split("<")[0], category=lambda raw: raw[:4])


def _measure(builder: TraceBuilder, *extra: str) -> dict[str, TestWindows]:
    return measure(builder.build(), builder.windows, extra=extra, naming=NAMING)


def test_each_round_is_one_sample() -> None:
    builder = TraceBuilder()
    for number, ns in enumerate([100, 300, 200]):
        builder.window(number * 1000, number * 1000 + 500, round=number)
        builder.kernel("gemm", number * 1000 + 10, ns)
    window = _measure(builder)["t"].windows["test"]
    assert window.by_process("gpu.kernel_time") == ((100, 300, 200),)
    assert window.values("gpu.kernel_count") == (1, 1, 1)
    assert window["gpu.kernel_time"] == 200


def test_tests_are_kept_apart_and_what_is_outside_all_windows_is_nobodys() -> None:
    builder = TraceBuilder()
    builder.kernel("before", 1, 7)
    builder.window(10, 20, nodeid="a")
    builder.kernel("gemm", 11, 7)
    builder.kernel("between", 25, 7)
    builder.window(30, 40, nodeid="b")
    builder.kernel("norm", 31, 9)
    found = _measure(builder)
    labels = {
        nodeid: [p.label for p in part.windows["test"].kernels] for nodeid, part in found.items()
    }
    assert labels == {"a": ["gemm"], "b": ["norm"]}


def test_a_range_entered_several_times_in_a_round_is_summed() -> None:
    builder = TraceBuilder()
    for number in range(2):
        at = number * 1000
        builder.window(at, at + 500, round=number)
        for step in (10, 100, 200):
            builder.window(at + step, at + step + 50, name="step", kind="range", round=number)
            builder.kernel("gemm", at + step + 5, 10 + number)
    windows = _measure(builder)["t"].windows
    assert list(windows) == ["test", "step"]
    assert windows["step"].values("gpu.kernel_time") == (30, 33)
    assert windows["step"].values("wall.time") == (150, 150)
    assert windows["step"].kernels.count() == 3
    assert windows["test"].values("gpu.kernel_count") == (3, 3)


def test_a_range_that_some_rounds_lack_has_samples_of_those_that_have_it() -> None:
    builder = TraceBuilder()
    for number in range(3):
        at = number * 1000
        builder.window(at, at + 500, round=number)
        if number != 1:
            builder.window(at + 10, at + 60, name="part", kind="range", round=number)
            builder.kernel("gemm", at + 15, 10)
    windows = _measure(builder)["t"].windows
    assert windows["part"].values("gpu.kernel_time") == (10, 10)
    assert windows["part"].kernels.count() == 1
    assert windows["test"].values("gpu.kernel_time") == (10, 0, 10)


def test_the_body_comes_before_its_ranges_whatever_ended_first() -> None:
    builder = TraceBuilder()
    builder.window(20, 30, name="b", kind="range")
    builder.window(40, 50, name="a", kind="range")
    builder.window(10, 90)
    assert list(_measure(builder)["t"].windows) == ["test", "b", "a"]


def test_a_breakdown_is_of_medians_and_a_round_without_a_kernel_counts_as_none() -> None:
    builder = TraceBuilder()
    for number in range(3):
        at = number * 1000
        builder.window(at, at + 500, round=number)
        builder.kernel("gemm<1>", at + 10, 100 * (number + 1))
        builder.kernel("gemm<2>", at + 20, 1)
        if number == 0:
            builder.kernel("rare", at + 30, 50)
        if number > 0:
            builder.kernel("often", at + 40, 10 * number)
    kernels = _measure(builder)["t"].windows["test"].kernels
    found = {part.label: (part.count, part.ns, part.category, part.raw) for part in kernels}
    assert found == {
        "gemm": (2, 201, "gemm", ("gemm<1>", "gemm<2>")),
        "often": (1, 10, "ofte", ()),
        "rare": (0, 0, "rare", ()),
    }
    assert [part.label for part in kernels] == ["gemm", "often", "rare"]


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1, max_size=5))
def test_breakdowns_are_medians_over_all_rounds(rounds: list[list[str]]) -> None:
    builder = TraceBuilder()
    for number, names in enumerate(rounds):
        builder.window(number * 100, number * 100 + 50, round=number)
        for place, name in enumerate(names):
            builder.kernel(name, number * 100 + place, 3)
    kernels = _measure(builder)["t"].windows["test"].kernels
    for name in "abc":
        counts = [names.count(name) for names in rounds]
        assert kernels.count(name) == statistics.median(counts)
        assert kernels.time(name) == statistics.median(3 * count for count in counts)


def test_units_are_medians_and_singular() -> None:
    builder = TraceBuilder()
    for number, tokens in enumerate([10, 30, 20]):
        builder.window(number * 100, number * 100 + 50, round=number, tokens=tokens, step=1)
        builder.kernel("gemm", number * 100 + 10, 60)
    window = _measure(builder)["t"].windows["test"]
    assert window.units == {"token": 20, "step": 1}
    assert window.values("gpu.kernel_time.per_token") == (3, 3, 3)
    assert window["gpu.kernel_time.per_token.per_step"] == 3
    assert window.values("gpu.kernel_time.per_head") == ()
    with pytest.raises(UnknownMetric):
        window.values("nothing.per_token")


def test_a_metric_that_was_not_measured_has_no_value() -> None:
    builder = TraceBuilder()
    builder.window(0, 9)
    window = _measure(builder)["t"].windows["test"]
    with pytest.raises(UnknownMetric, match=r"gpu\.magic"):
        window["gpu.magic"]


def test_parametrised_metrics_are_measured_where_they_are_asked_for() -> None:
    builder = TraceBuilder()
    for number in range(2):
        builder.window(number * 100, number * 100 + 50, round=number, tokens=2)
        builder.kernel("gemm<1>", number * 100 + 10, 60)
        builder.kernel("norm", number * 100 + 20, 6)
    extra = ("kernel[gemm].time", "category[norm].time.per_token", "api[cuda*].count", "wall.time")
    window = _measure(builder, *extra)["t"].windows["test"]
    assert window.values("kernel[gemm].time") == (60, 60)
    assert window.values("category[norm].time.per_token") == (3, 3)
    assert window.values("api[cuda*].count") == (2, 2)
    assert window.values("kernel[norm].time") == ()


def test_memory_is_one_sample_over_the_span_of_all_rounds() -> None:
    builder = TraceBuilder()
    builder.memory(1, 1000, address=1)
    builder.window(10, 500, kind="span", round=-1)
    for number in range(2):
        at = 100 + number * 100
        builder.window(at, at + 50, round=number)
        builder.window(at + 1, at + 40, name="part", kind="range", round=number)
        builder.memory(at + 10, 64, address=2)
        builder.memory(at + 20, 64, address=2, free=True)
    builder.memory(300, 16, address=3)
    windows = _measure(builder)["t"].windows
    assert windows["test"].by_process("mem.peak") == ((64,),)
    assert windows["test"].by_process("mem.peak_total") == ((1064,),)
    assert windows["test"].by_process("mem.live_end") == ((16,),)
    assert windows["test"].by_process("mem.alloc_count") == ((3,),)
    assert windows["part"].values("mem.peak") == ()
    assert [part.label for part in windows["test"].breakdown["allocations"]] == ["64 B"]


def test_a_test_without_a_span_has_no_memory_and_all_else() -> None:
    builder = TraceBuilder()
    builder.window(10, 20)
    window = _measure(builder)["t"].windows["test"]
    assert window.values("mem.peak") == ()
    assert window.values("gpu.kernel_time") == (0,)


def test_the_sentinel_is_no_window_and_no_windows_are_no_tests() -> None:
    builder = TraceBuilder()
    builder.window(10, 10, nodeid="", kind="sentinel", round=-1)
    assert _measure(builder) == {}
    assert _measure(TraceBuilder()) == {}


def test_a_window_that_the_capture_lacks_is_an_error() -> None:
    builder = TraceBuilder()
    builder.windows.append(WindowRecord(0, "round", "t", "test", 0))
    with pytest.raises(WindowsMissing):
        _measure(builder)


def test_the_gpus_of_a_test_are_those_its_operations_ran_on() -> None:
    builder = TraceBuilder()
    builder.window(10, 20, nodeid="kernels")
    builder.kernel("gemm", 11, 5, device=1)
    builder.kernel("gemm", 12, 5, device=3)
    builder.window(30, 40, nodeid="copies")
    builder.copy(31, 5, 64, device=2)
    builder.window(50, 60, nodeid="sets")
    builder.memset(51, 5, 64, device=0)
    builder.window(70, 80, nodeid="nothing")
    assert {nodeid: found.gpus for nodeid, found in _measure(builder).items()} == {
        "kernels": {1, 3},
        "copies": {2},
        "sets": {0},
        "nothing": frozenset(),
    }


def test_a_test_in_which_nothing_happened_is_empty() -> None:
    builder = TraceBuilder()
    builder.window(10, 20, nodeid="idle")
    builder.window(30, 40, nodeid="busy")
    builder.call("cudaMalloc_v3020", 35)
    found = _measure(builder)
    assert found["idle"].windows["test"].is_empty
    assert not found["busy"].windows["test"].is_empty


def test_the_state_of_the_gpus_is_of_the_body() -> None:
    builder = TraceBuilder()
    for number, hz in enumerate([2e9, 1e9]):
        builder.window(number * 100, number * 100 + 50, round=number)
        builder.window(
            number * 100 + 10, number * 100 + 20, name="part", kind="range", round=number
        )
        gpu = GpuState(0, sm_clock_hz=hz)
        builder.windows[-2] = replace(builder.windows[-2], state=RoundState((gpu,), (gpu,)))
    builder.window(300, 310, nodeid="without")
    found = _measure(builder)
    windows = found["t"].windows
    assert windows["test"].by_process("gpu.sm_clock") == ((2e9, 1e9),)
    assert "gpu.power" not in windows["test"].samples
    assert "gpu.sm_clock" not in windows["part"].samples
    assert "gpu.sm_clock" not in found["without"].windows["test"].samples
    assert windows["test"].is_empty


def test_all_windows_of_a_cut_together_are_one_sample() -> None:
    builder = TraceBuilder()
    for number in range(3):
        builder.range("step", number * 100, number * 100 + 50)
        builder.kernel("gemm", number * 100 + 10, 10 + number)
        builder.memory(number * 100 + 11, 64 << number, address=1)
        builder.memory(number * 100 + 12, 0, address=1, free=True)
    window = measure_cut(whole(builder.build()), "all", NAMING)
    assert window.by_process("gpu.kernel_time") == ((33,),)
    assert window.kernels.count("gemm") == 3
    assert window["mem.peak"] == 256


def test_memory_of_several_windows_of_a_cut_is_the_highest_of_them() -> None:
    from pytest_nsys.windows.ranges import cut_ranges

    builder = TraceBuilder()
    for number in range(3):
        builder.range("step", number * 100, number * 100 + 50)
        builder.memory(number * 100 + 11, 64 << number, address=number)
    trace = builder.build()
    window = measure_cut(cut_ranges(trace, trace.ranges), "step")
    assert window["mem.peak"] == 256
    assert window["mem.live_end"] == 448
    assert window["mem.alloc_count"] == 3
    empty = measure_cut(cut_ranges(trace, trace.ranges[:0]), "none")
    assert empty["mem.peak"] == empty["gpu.kernel_time"] == 0


def test_a_metric_in_ranges_is_of_their_process_and_by_the_name_that_nsys_prints() -> None:
    builder = TraceBuilder()
    other = PID + (1 << 24) + 1
    builder.range("step", 0, 100, domain="lib")
    builder.kernel("gemm", 10, 5)
    builder.kernel("gemm", 20, 7, tid=other)
    builder.made.range(40, 50, "step", globalTid=other)
    builder.kernel("gemm", 45, 11, tid=other)
    keys = {f"range[{name}].gpu.kernel_time" for name in ("step", "lib:step", ":step", "*")}
    window = measure_cut(whole(builder.build()), "all", extra=keys)
    found = {key.partition(".")[0]: window[key] for key in keys}
    assert found == {"range[step]": 16, "range[lib:step]": 5, "range[:step]": 11, "range[*]": 16}
