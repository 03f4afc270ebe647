"""The tests of the study of verdicts: what stays the same, and what is made slower on purpose.

    test_steady[W]          a workload as it is, at the default tolerances
    test_unchanged[W-T]     a workload and a spin of 15 % of its kernels' time, at tolerance T
    test_slower[W-T-P]      the same kernels; the spin is longer, so that all take P more
    test_changed[W-K]       test_unchanged[W-3%] with one change that is no matter of time
    test_pilot[W], test_spin[C]   how long kernels and a spin of C cycles take

``study.py`` runs them, and gives the tests of changes the baseline of the unchanged one. A round
ends with a synchronisation, as in any benchmark by the clock on the wall, so that ``wall.time`` is
that of the work and not of its launches.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workloads import INJECTED, WORKLOADS

pytestmark = pytest.mark.nsys

TOLERANCES = ("3%", "1%")
PERCENTS = (1, 2, 3, 4, 5, 10)
KINDS = ("copy", "synchronize", "launch", "memory")
SPIN = 0.15
"""The spin of the unchanged version, as a fraction of its other kernels' time."""


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch as module

    if not module.cuda.is_available():
        pytest.fail("needs a GPU")
    module.cuda.synchronize()
    return module


@pytest.fixture(scope="module")
def nominal() -> dict[str, Any]:
    """What the pilot found: kernel times, ns, by workload, and the clock, cycles per ns."""
    path = Path(os.environ["VERDICTS_NOMINAL"])
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def block(torch: Any) -> Callable[[], object]:
    """Allocates and frees 32 MiB of device memory.

    Not a tensor: PyTorch may serve one from memory that it holds already, and then a round needs no
    more of the device's memory than before.
    """
    cudart = ctypes.CDLL(f"libcudart.so.{torch.version.cuda.partition('.')[0]}")
    address = ctypes.c_void_p()

    def allocate() -> None:
        assert cudart.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(32 << 20)) == 0
        assert cudart.cudaFree(address) == 0

    return allocate


@pytest.fixture
def measure(torch: Any, nsys: Any) -> Callable[[Callable[[], object]], None]:
    """Measures a step, and waits for the GPU at its end."""

    def run(step: Callable[[], object]) -> None:
        def round_() -> None:
            step()
            torch.cuda.synchronize()

        nsys(round_)

    return run


def spun(torch: Any, nominal: dict[str, Any], name: str, percent: float) -> Callable[[], object]:
    """The workload and its spin; ``percent`` longer in all than the unchanged version."""
    step = INJECTED[name](torch)
    kernels_ns = nominal["kernel_ns"][name]
    spin_ns = kernels_ns * (SPIN + percent / 100 * (1 + SPIN))
    cycles = round(spin_ns * nominal["cycles_per_ns"])

    def both() -> None:
        step()
        torch.cuda._sleep(cycles)

    return both


def _at(tolerance: str, name: str, *values: object) -> Any:
    """A parameter set at a tolerance of kernel time, which is in its id and not an argument."""
    mark = pytest.mark.nsys(tolerance={"gpu.kernel_time": tolerance})
    return pytest.param(
        name, *values, marks=mark, id="-".join([name, tolerance, *map(str, values)])
    )


@pytest.mark.parametrize("name", WORKLOADS)
def test_steady(torch: Any, measure: Any, name: str) -> None:
    measure(WORKLOADS[name](torch))


@pytest.mark.parametrize("name", [_at(t, name) for name in INJECTED for t in TOLERANCES])
def test_unchanged(torch: Any, nominal: Any, measure: Any, name: str) -> None:
    measure(spun(torch, nominal, name, 0.0))


@pytest.mark.parametrize(
    ("name", "percent"),
    [_at(t, name, f"{p}%") for name in INJECTED for t in TOLERANCES for p in PERCENTS],
)
def test_slower(torch: Any, nominal: Any, measure: Any, name: str, percent: str) -> None:
    measure(spun(torch, nominal, name, float(percent.rstrip("%"))))


@pytest.mark.nsys(tolerance={"gpu.kernel_time": "3%"})
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", INJECTED)
def test_changed(torch: Any, nominal: Any, measure: Any, block: Any, name: str, kind: str) -> None:
    step = spun(torch, nominal, name, 0.0)
    host = torch.ones(4096, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(4096, dtype=torch.uint8, device="cuda")

    def changed() -> None:
        if kind == "memory":
            block()
        elif kind == "copy":
            device.copy_(host, non_blocking=True)
        elif kind == "synchronize":
            torch.cuda.synchronize()
        elif kind == "launch":
            device.add_(1)
        step()

    measure(changed)


@pytest.mark.parametrize("name", INJECTED)
def test_pilot(torch: Any, measure: Any, name: str) -> None:
    measure(INJECTED[name](torch))


@pytest.mark.parametrize("cycles", [1_000_000, 3_000_000])
def test_spin(torch: Any, measure: Any, cycles: int) -> None:
    measure(lambda: torch.cuda._sleep(cycles))
