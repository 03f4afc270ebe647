"""Names that nsys gives, found among those that ncu gives."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.ncu.filter import name_filter

FILL = "vectorized_elementwise_kernel<{}, at::native::FillFunctor<float>, std::array<char *, {}>>"
TRITON = "triton_poi_fused_add_0"


def found(filter_: str, name: str) -> bool:
    """Whether ncu's filter lets a name through."""
    assert filter_.startswith("regex:")
    return re.search(filter_.removeprefix("regex:"), name) is not None


@pytest.mark.parametrize(
    ("nsys", "ncu"),
    [
        (TRITON, TRITON),
        ("gemm(float*, int)", "gemm(float *, int)"),
        (
            f"void at::native::{FILL.format('(int)4', '(unsigned long)1')}(int, T2, T3)",
            f"void at::native::{FILL.format('4', '1')}(int, T2, T3)",
        ),
        (
            "void (anonymous namespace)::softmax_warp_forward<float, (int)8, (bool)0>(float*)",
            "void <unnamed>::softmax_warp_forward<float, 8, 0>(float *)",
        ),
        (
            "void at::native::(anonymous namespace)::kernel<at::X<(anonymous namespace)::F>>(int)",
            "void at::native::<unnamed>::kernel<at::X<<unnamed>::F>>(int)",
        ),
        (
            "void thrust::for_each<main::{lambda(int)#1}>(int)",
            "void thrust::for_each<main::[lambda(int) (instance 1)]>(int)",
        ),
        ("ampere_sgemm_128x64_tn", "ampere_sgemm_128x64_tn"),
        (
            "cutlass::Kernel2<cutlass_80_tensorop_*>",
            "void cutlass::Kernel2<cutlass_80_tensorop_s>()",
        ),
    ],
)
def test_both_names_of_a_kernel_are_one(nsys: str, ncu: str) -> None:
    assert found(name_filter([nsys]), ncu)


@pytest.mark.parametrize(
    ("nsys", "other"),
    [
        (TRITON, f"{TRITON}1"),
        (TRITON, f"x{TRITON}"),
        ("gemm(float*)", "gemm2(float *)"),
        (f"void {FILL.format('(int)4', '1')}(int)", f"void {FILL.format('2', '1')}(int)"),
    ],
)
def test_others_are_not_let_through(nsys: str, other: str) -> None:
    assert not found(name_filter([nsys]), other)


def test_several_names_are_alternatives_and_one_without_words_is_any() -> None:
    several = name_filter(["relu", "gemm", "relu"])
    assert found(several, "relu(int)")
    assert found(several, "gemm")
    assert not found(several, "add")
    assert name_filter(["***", ""]) == "regex:."


@given(st.text(max_size=80))
def test_any_name_makes_an_expression(name: str) -> None:
    re.compile(name_filter([name]).removeprefix("regex:"))
