from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.kernels import KernelMatch, canonical, category, match
from pytest_nsys.kernels.likeness import contradict, gist, likeness
from tests.support.strange_names import names


def matched(
    baseline: Iterable[str], current: Iterable[str]
) -> list[tuple[str | None, str | None, str]]:
    found = match(dict.fromkeys(baseline), dict.fromkeys(current))
    return [(one.baseline, one.current, one.how) for one in found]


GEMM = "nvjet_sm90_hsh_{}x128_64x4_1x2_h_bz_coopA_NNT"
FILL = (
    "void at::native::vectorized_elementwise_kernel<(int)4, at::native::FillFunctor<{}>, std"
    "::array<char *, (unsigned long)1>>(int, T2, T3)"
)
ADD = (
    "void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<{}>, std"
    "::array<char *, (unsigned long)3>>(int, T2, T3)"
)


def test_nothing_in_either() -> None:
    assert match({}, {}) == ()


def test_the_same_kernels() -> None:
    assert matched(["b", "a"], ["a", "b"]) == [("a", "a", "same"), ("b", "b", "same")]


def test_another_tile_is_a_retuned_kernel() -> None:
    assert matched([GEMM.format(256)], [GEMM.format(128)]) == [
        (GEMM.format(256), GEMM.format(128), "retuned")
    ]


def test_the_raw_name_goes_before_the_canonical_one() -> None:
    assert matched([GEMM.format(256)], [GEMM.format(128), GEMM.format(256)]) == [
        (GEMM.format(256), GEMM.format(256), "same"),
        (None, GEMM.format(128), "new"),
    ]


def test_variants_of_one_kernel_are_paired_once_each_the_most_alike_first() -> None:
    old = ["triton_poi_fused_add_1", "triton_poi_fused_add_2", "triton_poi_fused_add_3"]
    assert matched(old, ["triton_poi_fused_add_4", "triton_poi_fused_add_5"]) == [
        ("triton_poi_fused_add_1", "triton_poi_fused_add_4", "retuned"),
        ("triton_poi_fused_add_2", "triton_poi_fused_add_5", "retuned"),
        ("triton_poi_fused_add_3", None, "gone"),
    ]
    split = "nvjet_sm90_hsh_64x8_64x16_4x1_v_bz_{}TNT"
    big, small = (
        "nvjet_sm90_hsh_256x128_64x4_2x1_v_bz_coopA_TNT",
        "nvjet_sm90_hsh_192x128_64x4_2x1_v_bz_coopA_TNT",
    )
    assert matched([split.format("splitK_"), big], [small, split.format("")]) == [
        (big, small, "retuned"),
        (split.format("splitK_"), split.format(""), "retuned"),
    ]


def test_a_variant_that_is_left_over_is_not_renamed() -> None:
    # The third GEMM of the baseline is gone: what it did is done by the other two.
    assert matched([GEMM.format(256), GEMM.format(128)], [GEMM.format(256), "sgemm_nn"]) == [
        (GEMM.format(256), GEMM.format(256), "same"),
        (None, "sgemm_nn", "new"),
        (GEMM.format(128), None, "gone"),
    ]


def test_a_library_that_picks_another_kernel_renames_it() -> None:
    old = [
        "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize64x64x64_stage6_warpsize2x2x1_tensor16x8x16"
        "_execute_kernel__5x_cublas",
        "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize32x32x64_stage6_warpsize2x2x1_tensor16x8x16"
        "_execute_kernel__5x_cublas",
    ]
    new = [GEMM.format(size).replace("NNT", "TNT") for size in (256, 128, 64)]
    assert [how for *_, how in matched(old, new)] == ["renamed", "renamed", "new"]


def test_a_library_that_picks_other_kernels_for_every_layout_renames_each() -> None:
    xmma = (
        "sm80_xmma_gemm_f16f16_f16f32_f32_{}_n_tilesize64x64x64_stage6_warpsize2x2x1_kernel__5x_cu"
        "blas"
    )
    old = {layout: xmma.format(layout) for layout in ("nn", "nt", "tn")}
    new = {layout: GEMM.format(256)[:-3] + f"{layout.upper()}T" for layout in old}
    assert matched(old.values(), new.values()) == [
        (old[layout], new[layout], "renamed") for layout in old
    ]


def test_what_may_be_any_of_several_gemms_is_none() -> None:
    found = matched(["my_gemm"], ["ampere_sgemm_128x64_tn", "ampere_sgemm_128x64_nn"])
    assert [how for *_, how in found] == ["new", "new", "gone"]


def test_another_precision_is_another_kernel() -> None:
    assert [how for *_, how in matched(["ampere_sgemm_128x64_tn"], [GEMM.format(256)])] == [
        "new",
        "gone",
    ]
    assert [how for *_, how in matched([FILL.format("float")], [FILL.format("double")])] == [
        "new",
        "gone",
    ]


def test_the_same_operation_in_another_kernel_is_renamed() -> None:
    strided = (
        "void at::native::elementwise_kernel<(int)128, (int)4, void at::native"
        "::gpu_kernel_impl_nocast<"
        "at::native::CUDAFunctor_add<c10::Half>>(at::TensorIteratorBase &, const T1 &)"
        "::[lambda(int) (instance 1)]>(int, T3)"
    )
    half = ADD.format("c10::Half")
    assert matched([half, ADD.format("float")], [strided, FILL.format("c10::Half")]) == [
        (half, strided, "renamed"),
        (None, FILL.format("c10::Half"), "new"),
        (ADD.format("float"), None, "gone"),
    ]


def test_another_operation_is_not_the_kernel_renamed() -> None:
    found = matched([FILL.format("float")], [ADD.format("float")])
    assert [how for *_, how in found] == ["new", "gone"]


def test_what_may_be_either_of_two_is_neither() -> None:
    found = matched(["my_scale_rows_kernel"], ["my_scale_rows_kernel_a", "my_scale_rows_kernel_b"])
    assert [how for *_, how in found] == ["new", "new", "gone"]


def test_pairs_that_are_certain_make_others_certain() -> None:
    old = ["load_rows_of_table", "load_rows_of_table_b"]
    new = ["load_rows_of_table_q", "load_rows_of_table_b_q_r_s_t"]
    assert ("load_rows_of_table", "load_rows_of_table_q", "renamed") in matched(old, new)


def test_a_site_can_name_and_class_kernels_itself() -> None:
    found = match(
        {"a1": 0, "x": 0},
        {"a2": 0, "y": 0},
        canonical=lambda raw: raw[0],
        category=lambda _: "gemm",
    )
    assert found == (KernelMatch("a1", "a2", "retuned"), KernelMatch("x", "y", "renamed"))


def test_very_many_kernels_are_matched_by_their_canonical_names_only() -> None:
    old = [f"triton_poi_fused_add_{i}" for i in range(200)] + [
        f"load_rows_{chr(97 + i % 26)}{i}" for i in range(150)
    ]
    new = [f"triton_poi_fused_add_{i}" for i in range(200, 350)] + [
        f"load_rows_{i}" for i in range(150)
    ]
    found = matched(old, new)
    assert sum(how == "retuned" for *_, how in found) == 150
    assert sum(how == "renamed" for *_, how in found) == 0
    assert found == matched(reversed(old), reversed(new))


some = st.lists(names, max_size=12, unique=True)


@given(some, some, st.randoms(use_true_random=False))
def test_every_kernel_is_in_one_match_whatever_the_order(
    old: list[str], new: list[str], random: Random
) -> None:
    found = match(dict.fromkeys(old), dict.fromkeys(new))
    assert sorted(one.baseline for one in found if one.baseline is not None) == sorted(old)
    assert sorted(one.current for one in found if one.current is not None) == sorted(new)
    for one in found:
        if one.how in ("new", "gone"):
            assert (one.baseline is None, one.current is None) == (
                one.how == "new",
                one.how == "gone",
            )
            continue
        assert one.baseline is not None
        assert one.current is not None
        assert (one.baseline == one.current) == (one.how == "same")
        if one.how == "retuned":
            assert canonical(one.baseline) == canonical(one.current)
        if one.how == "renamed":
            assert category(one.baseline) == category(one.current)
    random.shuffle(old)
    random.shuffle(new)
    assert match(dict.fromkeys(old), dict.fromkeys(new)) == found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvjet_hsh_bz_NNT", "f16"),
        ("nvjet_tst_bz_NNT", "bf16"),
        ("sgemm_tn", "f32"),
        ("dgemm_tn", "f64"),
        ("xmma_gemm_bf16bf16_bf16f32_f32_tn_n", "bf16"),
        ("at::native::FillFunctor<c10::BFloat16>", "bf16"),
        ("cupy_add__float16_float16", "f16"),
        ("nvjet_qqtst_bz_TNT", "f8"),
        ("cutlass_tensorop_s_mma_fprop_tf32_nhwc", "tf32"),
        ("fused_moe_kernel", None),
    ],
)
def test_precision(name: str, expected: str | None) -> None:
    assert gist(name).precision == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvjet_hsh_bz_TNT", "tn"),
        ("xmma_gemm_f16f16_f16f32_f32_tn_n", "tn"),
        ("cutlass::Kernel2<cutlass_simt_sgemm_nt>", "nt"),
        ("sgemm_nn", "nn"),
        ("cutlass3x_simt_sgemm_f32_f32_f32_f32_f32_tnn_bias_f32_relu", None),
        ("fused_moe_kernel", None),
    ],
)
def test_layout(name: str, expected: str | None) -> None:
    assert gist(name).layout == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sgemm_nn", "sgemm_nt"),
        ("nvjet_hsh_bz_NNT", "nvjet_tst_bz_NNT"),
        ("ncclDevKernel_AllGather", "ncclDevKernel_AllReduce_Sum_f16"),
        ("flash_fwd_kernel<128>", "flash_bwd_kernel<128>"),
        ("flash_fwd_kernel<128>", "flash_fwd_kernel<64>"),
        ("xmma_dgrad_implicit_gemm_f16f16", "xmma_wgrad_implicit_gemm_f16f16"),
        ("nvjet_hsh_bz_NNT", "cublasLt::splitKreduce_kernel<*, *, __half>"),
        ("layer_norm_kernel<float>", "layer_norm_grad_kernel<float>"),
    ],
)
def test_kernels_that_are_not_one_renamed(one: str, other: str) -> None:
    assert contradict(gist(one), gist(other))
    assert contradict(gist(other), gist(one))
    assert "renamed" not in [how for *_, how in matched([one], [other])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nvjet_tst_bz_TNT", "xmma_gemm_bf16bf16_bf16f32_f32_tn_n"),
        ("void vllm::cross_device_reduce_1stage<__half, 2>()", "ncclDevKernel_AllReduce_Sum_f16"),
        ("void my::rms_norm_kernel<float>(T1)", "void my::rms_norm_vectorized_kernel<float>(T1)"),
        ("flash::flash_fwd_kernel<cutlass::half_t, 128>", "fmha_cutlassF_f16"),
    ],
)
def test_kernels_that_are_one_renamed(one: str, other: str) -> None:
    assert [how for *_, how in matched([one], [other])] == ["renamed"]


def test_names_without_a_word_are_alike() -> None:
    assert likeness(gist(""), gist("")) == 1
