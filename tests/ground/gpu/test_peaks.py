"""Peaks of GPUs: what data sheets say, held against what the architectures can do per clock."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_nsys.gpu.peaks import MODELS, PRECISIONS, Precision, peak_flops

# Operations of a multiprocessor per clock, a multiply-add being two; dense. CUDA cores: CUDA C++
# Programming Guide, "Arithmetic Instructions"; tensor cores: the architectures' white papers.
PER_CLOCK: Mapping[str, Mapping[Precision, int]] = {
    "7.0": {"fp64": 64, "fp32": 128, "fp16": 1024},
    "7.5": {"fp32": 128, "fp16": 1024, "int8": 2048},
    "8.0": {
        **{"fp64": 64, "fp64_tensor": 128, "fp32": 128, "tf32": 1024},
        **{"bf16": 2048, "fp16": 2048, "int8": 4096},
    },
    "8.6": {"fp32": 256, "tf32": 512, "bf16": 1024, "fp16": 1024, "int8": 2048},
    "8.9": {"fp32": 256, "tf32": 512, "bf16": 1024, "fp16": 1024, "fp8": 2048, "int8": 2048},
    "9.0": {
        **{"fp64": 128, "fp64_tensor": 256, "fp32": 256, "tf32": 2048},
        **{"bf16": 4096, "fp16": 4096, "fp8": 8192, "int8": 8192},
    },
    "10.0": {
        **{"fp64": 128, "fp64_tensor": 128, "fp32": 256, "tf32": 4096},
        **{"bf16": 8192, "fp16": 8192, "fp8": 16384, "fp4": 32768, "int8": 16384},
    },
}
CORES = ("fp64", "fp64_tensor", "fp32")

# What each was made by, and its boost clock in GHz: of CUDA cores, and where tensor cores have
# another, that of these.
MADE = {
    "NVIDIA B200": ("10.0", 148, 1.98, 1.86),
    "NVIDIA H100 80GB HBM3": ("9.0", 132, 1.98, 1.83),
    "NVIDIA H200": ("9.0", 132, 1.98, 1.83),
    "NVIDIA GH200 480GB": ("9.0", 132, 1.98, 1.83),
    "NVIDIA H100 NVL": ("9.0", 132, 1.785, 1.545),
    "NVIDIA H200 NVL": ("9.0", 132, 1.785, 1.545),
    "NVIDIA H100 PCIe": ("9.0", 114, 1.755, 1.62),
    "NVIDIA A100-SXM4-40GB": ("8.0", 108, 1.41, 1.41),
    "NVIDIA A100-SXM4-80GB": ("8.0", 108, 1.41, 1.41),
    "A100-SXM4-40GB": ("8.0", 108, 1.41, 1.41),
    "NVIDIA A100-PCIE-40GB": ("8.0", 108, 1.41, 1.41),
    "NVIDIA A100 80GB PCIe": ("8.0", 108, 1.41, 1.41),
    "NVIDIA A30": ("8.0", 56, 1.44, 1.44),
    "NVIDIA A40": ("8.6", 84, 1.74, 1.74),
    "NVIDIA A10": ("8.6", 72, 1.695, 1.695),
    "NVIDIA L40S": ("8.9", 142, 2.52, 2.49),
    "NVIDIA L4": ("8.9", 58, 2.04, 2.04),
    "Tesla T4": ("7.5", 40, 1.59, 1.59),
    "Tesla V100-SXM2-32GB": ("7.0", 80, 1.53, 1.53),
    "Tesla V100-PCIE-16GB": ("7.0", 80, 1.38, 1.38),
}


@pytest.mark.parametrize("name", MADE)
def test_a_peak_is_multiprocessors_times_clock_times_operations_per_clock(name: str) -> None:
    capability, multiprocessors, clock, tensor_clock = MADE[name]
    rates = PER_CLOCK[capability]
    for precision in PRECISIONS:
        peak = peak_flops(name, multiprocessors, precision)
        if precision not in rates:
            assert peak == f"{name} has no peak for {precision}"
            continue
        ghz = clock if precision in CORES else tensor_clock
        assert peak == pytest.approx(multiprocessors * ghz * 1e9 * rates[precision], rel=0.02)


def test_every_model_is_held_against_that() -> None:
    found = {model.names for model in MODELS}
    assert len(found) == len(MODELS)
    tried = {(of[1], peak_flops(name, 0, "fp32")) for name, of in MADE.items()}
    assert tried == {(m.multiprocessors, m.teraflops["fp32"] * 1e12) for m in MODELS}
    assert all(model.source for model in MODELS)


@pytest.mark.parametrize(
    ("name", "multiprocessors", "why"),
    [
        ("NVIDIA GeForce RTX 4090", 128, "the peak of NVIDIA GeForce RTX 4090 is not known"),
        ("NVIDIA H20", 78, "the peak of NVIDIA H20 is not known"),
        ("NVIDIA A10G", 80, "the peak of NVIDIA A10G is not known"),
        ("NVIDIA L40", 142, "the peak of NVIDIA L40 is not known"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 16, "* MIG 1g.10gb is not known"),
        ("", 0, "the peak of an unknown GPU is not known"),
        (
            "NVIDIA H200",
            16,
            "NVIDIA H200 has 16 multiprocessors here, and the peak is known for 132",
        ),
    ],
)
def test_what_is_not_in_the_table_has_no_peak(name: str, multiprocessors: int, why: str) -> None:
    found = peak_flops(name, multiprocessors, "bf16")
    assert isinstance(found, str)
    assert found.endswith(why.lstrip("*"))
