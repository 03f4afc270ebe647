"""Triton: a kernel of one's own that has to use the memory's bandwidth."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys

SIZE = 8192


@pytest.fixture(scope="module")
def kernels() -> Any:
    pytest.importorskip("triton")
    import triton_kernels

    return triton_kernels


@pytest.mark.nsys(require=["rms_norm_kernel"], budget={"gpu.pct_peak_bw": 50})
def test_rms_norm(torch: Any, kernels: Any, nsys: Nsys, slip: bool) -> None:
    """Each element is read once and written once, at half of the bandwidth or more.

    The slip: a transposed view comes in. The kernel is right, and its loads are uncoalesced.
    """
    x = torch.randn(SIZE, SIZE, device="cuda")
    out = torch.empty_like(x)
    x = x.t() if slip else x

    def normalise() -> None:
        kernels.rms_norm(x, out)
        nsys.units(bytes=2 * 4 * SIZE * SIZE)

    nsys(normalise)
