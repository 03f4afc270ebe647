"""Rates of work that tests say they do, and their shares of peaks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.measure.windows import measure
from pytest_nsys.metrics.work import shares_of_peak, work_values
from pytest_nsys.trace.tables import TraceGpu
from pytest_nsys.windows.record import MAIN, WindowKind, WindowRecord, Work
from tests.support.exports.traces import TraceBuilder

H200 = TraceGpu(0, "NVIDIA H200", 132, 4_814_304_000_000)
PEAK = 989.4e12


def record(index: int, work: Work | None, round: int = 0, **more: object) -> WindowRecord:
    """A round of a test, 1000 ns long, or a part of one."""
    kind: WindowKind = "range" if "name" in more else "round"
    fields = {"name": MAIN, "times": (1000 * index, 1000 * index + 999), **more}
    return WindowRecord(index, kind, "t", round=round, work=work, **fields)  # type: ignore[arg-type]


def test_a_window_without_work_has_none() -> None:
    assert work_values([record(0, None)]) == {}
    found = work_values([record(0, Work(bytes=8)), record(1, None, 1)])
    assert found.keys() == {"work.bytes"}
    np.testing.assert_array_equal(found["work.bytes"], [8, math.nan])


def test_a_part_has_work_in_a_round_if_it_is_said_each_time() -> None:
    said = [(0, Work(flops=2)), (0, Work(flops=3)), (1, Work(flops=5)), (1, None)]
    records = [record(n, work, at, name="part") for n, (at, work) in enumerate(said)]
    np.testing.assert_array_equal(work_values(records)["work.flops"], [2, 3, math.nan, math.nan])


def shares(
    work: Work | None = None,
    *gpus: TraceGpu,
    samples: Mapping[str, tuple[float, ...]] | None = None,
) -> tuple[Mapping[str, tuple[float, ...]], tuple[str, ...], tuple[str, ...]]:
    """What is known of a window, by default one at half of all peaks."""
    rates = {"gpu.flops_per_s": (PEAK / 2,), "gpu.bytes_per_s": (H200.bandwidth / 2,)}
    work = work or Work(1, 1, "bf16")
    found = shares_of_peak([record(0, work)], rates if samples is None else samples, gpus or [H200])
    return found.samples, found.notes, found.warnings


def test_a_share_is_the_rate_over_the_peak_of_the_gpu() -> None:
    assert shares() == ({"gpu.pct_peak_flops": (50,), "gpu.pct_peak_bw": (50,)}, (), ())
    assert shares(None, H200, H200)[0] == shares()[0]  # busy times are summed over GPUs


def test_operations_of_no_precision_have_no_peak_and_need_none() -> None:
    found, notes, _ = shares(Work(1, 1))
    assert (found.keys(), notes) == ({"gpu.pct_peak_bw"}, ())


@pytest.mark.parametrize(
    ("work", "gpus", "notes"),
    [
        (
            Work(1, 1, "bf16"),
            [TraceGpu(0, "Strange", 8, 0)],
            [
                "no gpu.pct_peak_flops: the peak of Strange is not known",
                "no gpu.pct_peak_bw: the capture does not say the bandwidth of Strange",
            ],
        ),
        (
            Work(1, 1, "bf16"),
            [H200, TraceGpu(1, "NVIDIA L4", 58, 3e11)],  # type: ignore[arg-type]
            [
                "no gpu.pct_peak_flops: it used GPUs with different peaks",
                "no gpu.pct_peak_bw: it used GPUs with different peaks",
            ],
        ),
        (
            Work(1, 0, "int1"),
            [H200],
            ["no gpu.pct_peak_flops: the precision 'int1' is not known"],
        ),
        (Work(1, 0, "fp4"), [H200], ["no gpu.pct_peak_flops: NVIDIA H200 has no peak for fp4"]),
    ],
)
def test_where_no_peak_is_known_there_is_no_share_and_a_note(
    work: Work, gpus: list[TraceGpu], notes: list[str]
) -> None:
    samples = {"gpu.flops_per_s": (1.0,)} | ({"gpu.bytes_per_s": (1.0,)} if work.bytes else {})
    found, told, _ = shares(work, *gpus, samples=samples)
    assert (found, told) == ({}, tuple(notes))


def test_without_any_gpu_there_is_none_either() -> None:
    found = shares_of_peak([record(0, Work(bytes=1))], {"gpu.bytes_per_s": (1.0,)}, [])
    assert found.notes == ("no gpu.pct_peak_bw: its GPU is not known",)


def test_rounds_of_several_precisions_have_no_peak() -> None:
    rounds = [record(0, Work(1, 0, "bf16")), record(1, Work(1), 1)]
    found = shares_of_peak(rounds, {"gpu.flops_per_s": (1.0, 1.0)}, [H200])
    assert (found.samples, found.precision) == ({}, "")
    assert found.notes == (
        "no gpu.pct_peak_flops: its operations are said to be of several precisions (bf16, none)",
    )


def test_work_without_a_rate_is_told() -> None:
    told = shares_of_peak([record(0, Work(1, 1))], {}, [H200]).notes
    assert told[0] == "no gpu.flops_per_s of 'test': the GPU did nothing"
    parts = [record(0, Work(1), name="part"), record(1, None, name="part")]
    (note,) = shares_of_peak(parts, {}, [H200]).notes
    assert note == "no gpu.flops_per_s of 'part': it is not said each time"


def test_more_than_a_gpu_can_do_is_a_warning() -> None:
    # At a higher clock than that of the data sheet more than its peak can be reached.
    rates = {"gpu.bytes_per_s": (2.0 * H200.bandwidth,), "gpu.flops_per_s": (1.08 * PEAK,)}
    found, _, told = shares(samples=rates)
    assert found["gpu.pct_peak_bw"] == (200,)
    assert told == (
        "gpu.pct_peak_bw is 200%, more than the memory can do: less is moved than nsys.units says, "
        "or it is in a cache",
    )
    assert shares(samples={"gpu.flops_per_s": (2 * PEAK,)})[2] == (
        "gpu.pct_peak_flops is 200%, more than the GPU can do: it computes less than nsys.units "
        "says, or in another precision",
    )


amounts = st.floats(1, 1e18)


@given(st.lists(st.tuples(st.integers(1, 400), amounts, amounts), min_size=1, max_size=4))
def test_rates_are_work_over_the_time_that_the_gpu_was_busy(
    rounds: list[tuple[int, float, float]],
) -> None:
    builder = TraceBuilder()
    records = []
    for number, (ns, flops, size) in enumerate(rounds):
        at = 1000 * number
        builder.kernel("gemm", at + 1, ns, start=at + 10)
        # Beside the first, and as long: the GPU is busy for as long as with one.
        builder.kernel("gemm", at + 3, ns, start=at + 10, stream=9)
        records.append(record(number, Work(flops, size, "bf16"), number))
    measured = measure(replace(builder.build(), gpus=(H200,)), records)["t"]
    window = measured.windows[MAIN]
    flops_per_s = [flops * 1e9 / ns for ns, flops, _ in rounds]
    bytes_per_s = [size * 1e9 / ns for ns, _, size in rounds]
    shares = [100 * rate / H200.bandwidth for rate in bytes_per_s]
    assert window.values("work.flops") == tuple(flops for _, flops, _ in rounds)
    assert window.values("gpu.flops_per_s") == pytest.approx(flops_per_s)
    assert window.values("gpu.bytes_per_s") == pytest.approx(bytes_per_s)
    assert window.values("gpu.pct_peak_bw") == pytest.approx(shares)
    assert window.values("gpu.pct_peak_flops") == pytest.approx(
        [100 * rate / PEAK for rate in flops_per_s]
    )
    assert window.precision == "bf16"
    assert (measured.remarks, bool(measured.warnings)) == (
        (),
        statistics.median(shares) > 100.5 or statistics.median(flops_per_s) > 1.16 * PEAK,
    )
