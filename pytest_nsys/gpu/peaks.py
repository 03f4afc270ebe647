"""How many floating-point operations per second the models of GPUs are made for.

The numbers are NVIDIA's own, of the data sheet of each model: multiprocessors x boost clock x
operations of a multiprocessor per clock, a multiply-add being two; dense, for with structured
sparsity data sheets count what is not computed. They are what kernels are compared with in the
field. At the clock of a capture the product would be another number for each capture, and its
factors do not tell models of one compute capability apart that differ by twice (A40 and RTX 3090,
L40 and L40S). What is not in the table has no peak here: a guess would be a wrong number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Precision = Literal["fp64", "fp64_tensor", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8"]
"""What is multiplied: fp64 and fp32 by CUDA cores, all others by tensor cores (fp16 and bf16
accumulated in fp32)."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Model:
    """A model of GPU.

    Attributes:
        title: what people call it.
        names: a regular expression of what the driver calls it, without "NVIDIA".
        multiprocessors: how many it has.
        teraflops: its peak by precision, 10^12 operations per second, dense.
        source: where NVIDIA says so.
    """

    title: str
    names: str
    multiprocessors: int
    teraflops: Mapping[Precision, float]
    source: str


def _peaks(
    fp32: float,
    half: float,
    *,
    fp64: float = 0.0,
    fp64_tensor: float = 0.0,
    tf32: float = 0.0,
    bf16: bool = True,
    fp8: float = 0.0,
    fp4: float = 0.0,
    int8: float = 0.0,
) -> Mapping[Precision, float]:
    found: dict[Precision, float] = {
        "fp64": fp64,
        "fp64_tensor": fp64_tensor,
        "fp32": fp32,
        "tf32": tf32,
        "bf16": half if bf16 else 0.0,
        "fp16": half,
        "fp8": fp8,
        "fp4": fp4,
        "int8": int8,
    }
    return {precision: peak for precision, peak in found.items() if peak}


MODELS: tuple[Model, ...] = (
    Model(
        "B200",
        r"B200",
        148,
        _peaks(75, 2250, fp64=37, fp64_tensor=37, tf32=1125, fp8=4500, fp4=9000, int8=4500),
        "HGX B200 data sheet (an eighth of 8 GPUs; half of what is given with sparsity)",
    ),
    Model(
        "H100 SXM, H200, GH200",
        r"H100 80GB HBM3|H200|GH200 .*",
        132,
        _peaks(66.9, 989.4, fp64=33.5, fp64_tensor=66.9, tf32=494.7, fp8=1978.9, int8=1978.9),
        "H100 Tensor Core GPU Architecture, table 2 (H100 SXM5: 1.83 GHz for tensor cores, "
        "1.98 GHz else); H200 and GH200 data sheets",
    ),
    Model(
        "H100 NVL, H200 NVL",
        r"H100 NVL|H200 NVL",
        132,
        _peaks(60, 835.5, fp64=30, fp64_tensor=60, tf32=417.5, fp8=1670.5, int8=1670.5),
        "H100 and H200 data sheets, column NVL (half of what is given with sparsity)",
    ),
    Model(
        "H100 PCIe",
        r"H100 PCIe",
        114,
        _peaks(51.2, 756.4, fp64=25.6, fp64_tensor=51.2, tf32=378.2, fp8=1512.9, int8=1512.9),
        "H100 Tensor Core GPU Architecture, table 2 (H100 PCIe)",
    ),
    Model(
        "A100",
        r"A100-(SXM4|SXM|PCIE|PG509)-\d+GB|A100 80GB PCIe",
        108,
        _peaks(19.5, 312, fp64=9.7, fp64_tensor=19.5, tf32=156, int8=624),
        "A100 Tensor Core GPU Architecture, table 1",
    ),
    Model(
        "A30",
        r"A30",
        56,
        _peaks(10.3, 165, fp64=5.2, fp64_tensor=10.3, tf32=82, int8=330),
        "A30 data sheet",
    ),
    Model("A40", r"A40", 84, _peaks(37.4, 149.7, tf32=74.8, int8=299.3), "A40 data sheet"),
    Model("A10", r"A10", 72, _peaks(31.2, 125, tf32=62.5, int8=250), "A10 data sheet"),
    Model(
        "L40S", r"L40S", 142, _peaks(91.6, 362.05, tf32=183, fp8=733, int8=733), "L40S data sheet"
    ),
    Model(
        "L4",
        r"L4",
        58,
        _peaks(30.3, 121, tf32=60, fp8=242.5, int8=242.5),
        "L4 data sheet (half of what is given with sparsity)",
    ),
    Model("T4", r"Tesla T4|T4", 40, _peaks(8.1, 65, bf16=False, int8=130), "T4 data sheet"),
    Model(
        "V100 SXM2",
        r"Tesla V100-SXM2-\d+GB",
        80,
        _peaks(15.7, 125, bf16=False, fp64=7.8),
        "V100 data sheet, column SXM2",
    ),
    Model(
        "V100 PCIe",
        r"Tesla V100-PCIE-\d+GB",
        80,
        _peaks(14, 112, bf16=False, fp64=7),
        "V100 data sheet, column PCIe",
    ),
)


def peak_flops(name: str, multiprocessors: int, precision: Precision) -> float | str:
    """The peak of a GPU, FLOP/s; in words why it is not known.

    Args:
        name: what the driver calls it.
        multiprocessors: how many it has; 0 if unknown. A model with other than its own is a part
            of one, or something else.
        precision: what is multiplied.
    """
    short = name.removeprefix("NVIDIA ")
    found = next((model for model in MODELS if re.fullmatch(model.names, short)), None)
    if found is None:
        return f"the peak of {name or 'an unknown GPU'} is not known"
    if multiprocessors not in (0, found.multiprocessors):
        return (
            f"{name} has {multiprocessors} multiprocessors here, and the peak is known for "
            f"{found.multiprocessors}"
        )
    if precision not in found.teraflops:
        return f"{name} has no peak for {precision}"
    return found.teraflops[precision] * 1e12
