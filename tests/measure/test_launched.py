"""How kernels were launched: from a trace to the parts of a round, and over processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.kernels.occupancy import Occupancy
from pytest_nsys.measure.launched import KEPT, of_processes
from pytest_nsys.measure.measurement import Launched, Part
from pytest_nsys.measure.windows import measure
from tests.support.exports.traces import TraceBuilder

NAMING = Naming(canonical=lambda raw: raw.split("_")[0], category=lambda _: "gemm")
SMALL, LARGE = Configuration((64,), (128,), 32), Configuration((8, 8), (32, 4), 96, 4096, 16)


def kernels(
    builder: TraceBuilder,
    capability: tuple[int, int] | None = (9, 0),
    naming: Naming = NAMING,
) -> dict[str, Part]:
    trace = builder.build()
    trace = replace(trace, gpus=(replace(trace.gpus[0], capability=capability),))
    found = measure(trace, builder.windows, naming=naming)["t"].windows["test"].kernels
    return {part.label: part for part in found}


def test_a_kernel_has_its_configurations_the_longest_first() -> None:
    builder = TraceBuilder()
    for number in range(2):
        at = 10_000 * number
        builder.window(at, at + 5000, round=number)
        for step in range(3):
            builder.kernel("gemm_a", at + 10 + step, 100, configuration=SMALL)
        builder.kernel("gemm_a", at + 20, 500 + 100 * number, configuration=LARGE)
        builder.kernel("norm", at + 30, 7)
    builder.kernel("gemm_a", 8000, 9999, configuration=Configuration((1,), (32,), 16))
    found = kernels(builder)
    assert found["gemm"].launched == (
        Launched(LARGE, 1, 550, Occupancy(31.25, "registers")),
        Launched(SMALL, 3, 300, Occupancy(100, "")),
    )
    assert found["norm"].launched == ()


def test_variants_of_one_kernel_are_told_apart_by_their_names() -> None:
    builder = TraceBuilder()
    builder.window(0, 5000)
    tiles = [f"nvjet_hsh_{tile}_TNN" for tile in ("256x128", "64x64", "64x64_" * 20)]
    for number, name in enumerate(tiles):
        builder.kernel(name, 10 * (number + 1), 100 - 30 * number, configuration=SMALL)
    builder.kernel("triton_poi_fused_add_3", 80, 10, configuration=SMALL)
    found = kernels(builder, capability=None, naming=Naming())
    launched = found["nvjet_hsh_TNN"].launched
    assert [(one.variant, one.ns) for one in launched] == [
        (tiles[0], 100),
        (tiles[1], 70),
        ("", 40),  # too long to be kept
    ]
    assert {one.occupancy for one in launched} == {None}
    (generated,) = found["triton_poi_fused_add"].launched
    assert generated.variant == ""  # its number says nothing


def test_of_a_project_that_names_its_kernels_no_other_name_is_kept() -> None:
    builder = TraceBuilder()
    builder.window(0, 5000)
    builder.kernel("nvjet_hsh_64x64_TNN", 10, 100, configuration=SMALL)
    hidden = Naming(canonical=lambda _: "ours", category=lambda _: "gemm")
    (one,) = kernels(builder, naming=hidden)["ours"].launched
    assert one.variant == ""


def test_only_the_longest_are_kept() -> None:
    builder = TraceBuilder()
    builder.window(0, 5000)
    for grid in range(1, KEPT + 5):
        how = replace(SMALL, grid=(grid,))
        builder.kernel("gemm", 100 * grid, 10 * grid, configuration=how)
    found = kernels(builder)["gemm"].launched
    assert [one.configuration.grid for one in found] == [(8,), (7,), (6,), (5,)]


def test_of_several_processes_it_is_the_mean() -> None:
    one, other = Launched(SMALL, 4, 100), Launched(LARGE, 2, 400)
    assert of_processes([[one], [replace(one, count=2, ns=60), other]], 2) == (
        replace(other, count=1, ns=200),
        replace(one, count=3, ns=80),
    )
    assert of_processes([[], []], 2) == ()


@pytest.mark.parametrize("axis", ["gridX", "blockZ", "registersPerThread", "localMemoryPerThread"])
def test_where_an_export_does_not_say_it_is_not_known(axis: str) -> None:
    builder = TraceBuilder()
    builder.window(0, 5000)
    builder.kernel("gemm", 10, 100, configuration=SMALL)
    builder.kernel("gemm", 200, 50, configuration=LARGE)
    rows = builder.rows["CUPTI_ACTIVITY_KIND_KERNEL"]
    rows[0][axis] = None
    assert [one.configuration for one in kernels(builder)["gemm"].launched] == [LARGE]
    for row in rows:
        del row[axis]
    assert kernels(builder)["gemm"].launched == ()
