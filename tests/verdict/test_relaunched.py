"""How a kernel is launched otherwise than it was."""

from __future__ import annotations

import pytest

from pytest_nsys.kernels import canonical
from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.kernels.occupancy import occupancy
from pytest_nsys.measure.measurement import Launched, Part
from pytest_nsys.verdict.relaunched import relaunched

USUAL = Configuration((1024,), (256,), 64)
H200 = (9, 0)


def launched(
    how: Configuration,
    ns: float = 100,
    variant: str = "",
    capability: tuple[int, int] | None = H200,
) -> Launched:
    return Launched(how, 1, ns, occupancy(how, capability), variant)


def part(*ways: Launched, label: str = "void norm<float>") -> Part:
    return Part(label, len(ways), ns=sum(one.ns for one in ways), launched=ways)


def told(before: Configuration, after: Configuration, label: str = "void norm<float>") -> str:
    return relaunched(part(launched(before), label=label), part(launched(after), label=label))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (USUAL, ""),
        (
            Configuration((1024,), (256,), 96),
            "registers 64 -> 96: theoretical occupancy 50% -> 25% (limited by registers)",
        ),
        (Configuration((4096,), (256,), 64), "grid 1024 -> 4096"),
        (
            Configuration((4096,), (64,), 64),
            "grid 1024 -> 4096, block 256 -> 64; theoretical occupancy 50% as before",
        ),
        (
            Configuration((1024,), (256,), 64, 64 * 1024),
            "shared memory 0 B -> 64 KiB: theoretical occupancy 50% -> 38% "
            "(limited by shared memory)",
        ),
        (Configuration((1024,), (256,), 64, 0, 128), "local memory a thread 0 B -> 128 B"),
        (
            Configuration((32, 32), (16, 16), 32),
            "grid 1024 -> 32x32, block 256 -> 16x16, registers 64 -> 32: "
            "theoretical occupancy 50% -> 100%",
        ),
    ],
)
def test_what_changed_is_said_and_what_it_does_to_occupancy(
    after: Configuration, said: str
) -> None:
    assert told(USUAL, after) == said


@pytest.mark.parametrize(("ns", "hinted"), [(500, True), (104, False), (20, False)])
def test_a_kernel_that_is_slower_with_fewer_registers_may_spill_them(
    ns: float, hinted: bool
) -> None:
    fewer = Configuration((1024,), (256,), 32)
    before, after = part(launched(USUAL, 100)), part(launched(fewer, ns))
    said = "registers 64 -> 32: theoretical occupancy 50% -> 100%"
    hint = "; slower with fewer registers: they may be spilled, which --nsys-ncu counts"
    assert relaunched(before, after) == said + hint * hinted
    more = part(launched(Configuration((4096,), (256,), 32), 500))
    assert "spilled" not in relaunched(before, more)
    assert "spilled" not in relaunched(part(launched(fewer, 100)), part(launched(USUAL, 500)))


def test_where_the_gpu_is_not_known_that_is_said() -> None:
    after = Configuration((1024,), (256,), 96)
    before, now = (part(launched(one, capability=None)) for one in (USUAL, after))
    said = "registers 64 -> 96; theoretical occupancy not known for this GPU"
    assert relaunched(before, now) == said


def test_a_library_that_picked_another_kernel_is_said_to_have_chosen() -> None:
    before, after = (
        part(launched(how, variant=f"nvjet_sm90_hsh_{tile}_bz_TNN"), label="nvjet_sm90_hsh_*_TNN")
        for how, tile in (
            (Configuration((2, 64), (384,), 168, 213_188), "256x128_64x4_1x2_h"),
            (Configuration((8, 8), (384,), 168, 164_308), "64x8_64x16_2x4_h"),
        )
    )
    assert relaunched(before, after) == (
        "the library chose another variant: 256x128_64x4_1x2 -> 64x8_64x16_2x4, grid 2x64 -> 8x8, "
        "shared memory 208.2 KiB -> 160.5 KiB; theoretical occupancy 19% as before"
    )


@pytest.mark.parametrize(
    ("label", "begins"),
    [
        ("triton_poi_fused_add_*", "block"),
        ("triton_poi_fused_add", "autotune chose another configuration: block"),
        ("softmax_kernel", "another configuration was chosen: block"),
        ("void at::native::softmax<float>", "block"),
    ],
)
def test_a_kernel_that_is_built_anew_for_other_warps(label: str, begins: str) -> None:
    said = told(USUAL, Configuration((1024,), (128,), 64), label)
    assert said.startswith(f"{begins} 256 -> 128")


def test_parameters_in_the_name_of_a_triton_kernel_are_an_autotuners() -> None:
    names = [f"matmul_BLOCK_M_{m}_BLOCK_N_64_num_warps_{w}" for m, w in ((128, 8), (32, 4))]
    assert {canonical(name) for name in names} == {"matmul"}
    before, after = (
        part(launched(Configuration((64,), (threads,), 64), variant=name), label="matmul")
        for name, threads in zip(names, (256, 128), strict=True)
    )
    assert relaunched(before, after) == (
        "autotune chose another configuration: 128_BLOCK_N_64_num_warps_8 -> "
        "32_BLOCK_N_64_num_warps_4, block 256 -> 128; theoretical occupancy 50% as before"
    )


def test_of_many_shapes_the_one_that_takes_most_of_the_time_counts() -> None:
    small, large = Configuration((1,), (128,), 32), Configuration((9,), (128,), 32)
    before = part(launched(USUAL, 70), launched(small, 30))
    after = part(launched(large, 60), launched(small, 40))
    assert relaunched(before, after).startswith("mostly grid 1024 -> 9, block 256 -> 128")
    scattered = part(launched(small, 40), launched(large, 35), launched(USUAL, 25))
    assert relaunched(before, scattered) == relaunched(scattered, before) == ""


def test_what_is_new_gone_or_unknown_was_not_changed() -> None:
    known = part(launched(USUAL))
    assert relaunched(None, known) == relaunched(known, None) == ""
    assert relaunched(Part("norm", 1, ns=5), known) == ""
