"""Names that ncu prints mangled."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys.kernels import mangled
from pytest_nsys.kernels.canonical import canonical
from pytest_nsys.kernels.mangled import demangled
from pytest_nsys.support.own import own

PAIRS = {
    "_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_13AUnaryFunctorIfffNS0_15binary_internal"
    "10MulFunctorIfEEEESt5arrayIPcLm2EEEEviT0_T1_": "void at::native::vectorized_elementwise_kernel"
    "<4, at::native::AUnaryFunctor<float, float, float, at::native::binary_internal::MulFunctor<"
    "float> >, std::array<char*, 2ul> >(int, at::native::AUnaryFunctor<float, float, float, "
    "at::native::binary_internal::MulFunctor<float> >, std::array<char*, 2ul>)",
    "_Z1kPKfPfi": "k(float const*, float*, int)",
    # Of Triton, of C, and of nobody.
    "strided": "strided",
    "_Zgarbage": "_Zgarbage",
    "": "",
}


@pytest.mark.parametrize(("name", "text"), PAIRS.items())
def test_names_of_cpp_are_demangled_and_others_stay(name: str, text: str) -> None:
    assert demangled(name) == text


def test_a_lambda_has_the_name_that_nsys_gives_it() -> None:
    name = (
        "_ZN2at6native18elementwise_kernelILi128ELi2EZNS0_22gpu_kernel_impl_nocastINS0_15CUDAFunctor"
        "_addIfEEEEvRNS_18TensorIteratorBaseERKT_EUliE_EEviT1_"
    )
    of_nsys = (
        "void at::native::elementwise_kernel<(int)128, (int)2, void at::native::gpu_kernel_impl_"
        "nocast<at::native::CUDAFunctor_add<float>>(at::TensorIteratorBase &, const T1 &)::"
        "[lambda(int) (instance 1)]>(int, T3)"
    )
    assert canonical(demangled(name)) == canonical(of_nsys)


def test_without_the_cpp_library_names_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(own, "Library", missing)
    mangled._demangler.cache_clear()
    assert demangled("_Z1kPKfPfi") == "_Z1kPKfPfi"
    mangled._demangler.cache_clear()
