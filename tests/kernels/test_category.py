from __future__ import annotations

import pytest
from hypothesis import given

from pytest_nsys.kernels import CATEGORIES, canonical, category
from tests.support.known_names import KNOWN, RAW
from tests.support.strange_names import hostile, names


def test_known_names() -> None:
    assert {raw: category(raw) for raw in RAW} == {known.raw: known.category for known in KNOWN}


def test_every_category_is_known() -> None:
    assert {known.category for known in KNOWN} == set(CATEGORIES)


@given(names)
def test_it_is_total_and_tuning_does_not_change_it(name: str) -> None:
    assert category(name) in CATEGORIES
    assert category(name) == category(canonical(name))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", "other"),
        ("my_kernel(float *)", "other"),
        ("void at::native::normal_kernel<float>(T1)", "other"),
        ("void small_reduce(float *)", "reduce"),
        ("void convert_fp8(float *)", "elementwise"),
        ("conv2d_nhwc", "conv"),
        ("void my::layernorm_fwd<float>(T1)", "norm"),
        ("triton_tem_fused_flex_attention_3", "attention"),
        ("_fwd_kernel", "attention"),
        ("_fwd_grouped_kernel_stage1", "attention"),
        ("_fwd_kernel_stage2", "attention"),
        ("_bwd_kernel_dkdv", "attention"),
        ("_layer_norm_fwd_kernel", "norm"),
        ("triton_tem_fused_convolution_2", "conv"),
        ("void vllm::concat_and_cache_mla_kernel<float>(T1)", "copy"),
        (
            "void at::native::vectorized_elementwise_kernel<(int)4, my::GemmBias>(int)",
            "elementwise",
        ),
        ("std::copy_n", "copy"),
    ],
)
def test_made_up_name(raw: str, expected: str) -> None:
    assert category(raw) == expected


@pytest.mark.parametrize("name", ["underscores", "reductions", "scopes", "commas", "lambdas"])
def test_time_is_in_proportion_to_the_name(name: str) -> None:
    assert category(hostile(100_000)[name]) in CATEGORIES
