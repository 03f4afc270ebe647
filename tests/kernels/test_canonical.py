from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings

from pytest_nsys.kernels import canonical, category
from pytest_nsys.kernels.canonical import _simplify_once
from pytest_nsys.trace import load_trace
from tests.support.known_names import KNOWN, RAW
from tests.support.strange_names import hostile, names


def test_known_names() -> None:
    assert {raw: canonical(raw) for raw in RAW} == {known.raw: known.canonical for known in KNOWN}


def test_kernels_of_different_purpose_have_different_names() -> None:
    purposes = defaultdict(set)
    for known in KNOWN:
        purposes[canonical(known.raw)].add(known.purpose)
    assert [several for several in purposes.values() if len(several) > 1] == []


def test_kernels_of_one_purpose_and_family_have_one_name() -> None:
    found = defaultdict(set)
    for known in KNOWN:
        found[known.family, known.purpose].add(canonical(known.raw))
    assert [several for several in found.values() if len(several) > 1] == []


def test_the_families_that_matter_are_known() -> None:
    assert {known.family for known in KNOWN} >= {
        *("capture", "aten", "nvjet", "cublas", "cudnn", "cutlass2", "cutlass3", "xmma", "flash2"),
        *("flash3", "flashinfer", "triton", "nccl", "cub", "cupy", "xla", "tensorrt"),
        *("tensorrt-llm", "vllm", "numba"),
    }


def test_one_pass_settles_a_known_name() -> None:
    assert [raw for raw in RAW if _simplify_once(raw) != canonical(raw)] == []


@settings(max_examples=500)
@given(names)
def test_it_is_total_and_idempotent(name: str) -> None:
    once = canonical(name)
    assert isinstance(once, str)
    assert canonical(once) == once
    assert once or not name


@given(names)
def test_it_does_not_depend_on_what_was_asked_before(name: str) -> None:
    assert canonical.__wrapped__(name) == canonical(name)


ELEMENTWISE = (
    "void at::native::vectorized_elementwise_kernel<(int)4, {}, std::array<char *, (unsigned "
    "long)2>>(int, T2, T3)"
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # GELU, and its approximation by tanh.
        (
            "at::native::GeluCUDAKernelImpl(at::TensorIteratorBase &, at::native::GeluType)"
            "::[lambda() (instance 1)]"
            "::operator ()() const::[lambda() (instance 2)]::operator ()() const::[lambda(float) "
            "(instance 1)]",
            "at::native::GeluCUDAKernelImpl(at::TensorIteratorBase &, at::native::GeluType)"
            "::[lambda() (instance 2)]"
            "::operator ()() const::[lambda() (instance 2)]::operator ()() const::[lambda(float) "
            "(instance 1)]",
        ),
        # x squared, and x cubed.
        (
            "void at::native::pow_tensor_scalar_kernel_impl<float, float>(at::TensorIteratorBase "
            "&, T2)"
            "::[lambda(float) (instance 1)]",
            "void at::native::pow_tensor_scalar_kernel_impl<float, float>(at::TensorIteratorBase "
            "&, T2)"
            "::[lambda(float) (instance 2)]",
        ),
        # A range of floats and one of doubles: the lambda takes an index.
        (
            "at::native::f(at::Tensor &)::[lambda() (instance 1)]::operator ()() const::[lambda() "
            "(instance 6)]"
            "::operator ()() const::[lambda(long) (instance 1)]",
            "at::native::f(at::Tensor &)::[lambda() (instance 1)]::operator ()() const::[lambda() "
            "(instance 7)]"
            "::operator ()() const::[lambda(long) (instance 1)]",
        ),
        ("at::native::FillFunctor<float>", "at::native::AbsFunctor<float>"),
        ("at::native::FillFunctor<float>", "at::native::FillFunctor<c10::Half>"),
    ],
)
def test_what_only_a_lambda_number_or_a_functor_tells_apart_stays_apart(
    one: str, other: str
) -> None:
    assert canonical(ELEMENTWISE.format(one)) != canonical(ELEMENTWISE.format(other))


def test_a_data_type_added_to_a_dispatch_changes_nothing() -> None:
    functor = (
        "at::native::neg_kernel_cuda(at::TensorIteratorBase &)::[lambda() (instance 2)]::operator "
        "()() const"
        "::[lambda() (instance {})]::operator ()() const::[lambda(c10::Half) (instance 1)]"
    )
    before, after = (ELEMENTWISE.format(functor.format(number)) for number in (8, 9))
    assert canonical(before) == canonical(after)


def test_both_demanglers_lead_to_one_name() -> None:
    cu = (
        "void at::native::<unnamed>::distribution_elementwise_grid_stride_kernel<float, (int)4, "
        "at::native::f("
        "at::TensorIteratorBase &, double)::[lambda() (instance 1)]::operator ()() const"
        "::[lambda(int) (instance 2)],"
        " std::array<char *, (unsigned long)2>, (bool)1>(long, at::PhiloxCudaState, T3, T4)"
    )
    gnu = (
        "void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel<"
        "float, 4, at::native::f("
        "at::TensorIteratorBase&, double)::{lambda()#1}::operator()() const::{lambda(int)#2}, "
        "std::array<char*, 2ul>, "
        "true>(long, at::PhiloxCudaState, float, float)"
    )
    assert canonical(cu) == canonical(gnu)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", ""),
        ("kernel", "kernel"),
        ("void kernel(float *, int)", "kernel"),
        ("kernel<(int)-1>(int)", "kernel<-1>"),
        ("kernel<(Enum)2>(int)", "kernel<(Enum)2>"),
        ("kernel<float (*)(float)>(T1)", "kernel<float(*)(float)>"),
        ("kernel<std::vector<int> >()", "kernel<std::vector<int>>"),
        ("Fill::operator ()(int)", "Fill::operator()"),
        ("kernel<&Add::operator +>(T1)", "kernel<&Add::operator+>"),
        ("kernel<Box<int>::operator bool>(T1)", "kernel<Box<int>::operator bool>"),
        ("void reduce<(T1)3>(int) [clone .1]", "reduce<(T1)3>(int)[clone.1]"),
        ("f<g(int)::~Local>(int)", "f<g::~Local>"),
        (
            "flash::CollectiveMainloopFwd<2, A, Tile, 64>()",
            "flash::CollectiveMainloopFwd<*, *, Tile, 64>",
        ),
        # A user's kernels: what their numbers say is unknown.
        ("void reduce_kernel<(int)0>(float *)", "reduce_kernel<0>"),
        ("transpose_32x32(float *)", "transpose_32x32"),
        ("conv_3x3_sm80", "conv_3x3"),
        ("step_12", "step_12"),
        ("ada_layer_norm_kernel", "ada_layer_norm_kernel"),
        ("cutlass_conv_3x3", "cutlass_conv_3x3"),
        ("f16f16f16f16f16f16_f16f16f16f16f16f16", "f16f16f16f16f16f16_f16f16f16f16f16f16"),
        ("sm90", "sm90"),
        # Names that end too early, or are none.
        ("void at::native::vectorized_elementwise_kernel<(int)4, at::nat", None),
        ("a<b)>", None),
        ("f<" * 200 + ">" * 200, None),
        ("f" + "((1))" * 9 + "::<", "f((1))((1))((1))((1))((1))((1))((1))((1))((1))::<"),
    ],
)
def test_made_up_name(raw: str, expected: str | None) -> None:
    assert canonical(raw) == (raw if expected is None else expected)


def test_a_name_that_does_not_settle_is_left_alone() -> None:
    casts = f"f<{'(int)' * 50}4>"
    assert canonical(casts) == casts


HOSTILE = hostile(100_000)
"""More steps than in proportion to the length would take long, or for ever."""


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_time_is_in_proportion_to_the_name(name: str) -> None:
    found = canonical(name)
    assert canonical(found) == found


def test_in_no_capture_kernels_of_different_classes_share_a_canonical_name(
    captures: Mapping[str, Path],
) -> None:
    classes: dict[str, set[str]] = {}
    for path in captures.values():
        trace = load_trace(path)
        for key in trace.kernels["name"].unique().tolist():
            raw = trace.strings[key]
            classes.setdefault(canonical(raw), set()).add(category(raw))
    assert len(classes) > 300
    assert [name for name, found in classes.items() if len(found) > 1] == []
