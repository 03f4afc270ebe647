"""PyTorch: the two kernels that a language model lives on, a large matrix product and attention."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys

TOKENS, WIDTH, VOCABULARY, PADDED = 2048, 2048, 50257, 50304


@pytest.mark.nsys(budget={"gpu.pct_peak_flops": 50})
def test_head(torch: Any, nsys: Nsys, slip: bool) -> None:
    """The logits of a vocabulary, at half of the GPU's peak or more.

    The slip: a vocabulary that is not padded to a multiple of 64. The rows of the logits are not
    aligned, and the fast kernels cannot be had.
    """
    rows = VOCABULARY if slip else PADDED
    hidden = torch.randn(TOKENS, WIDTH, device="cuda", dtype=torch.bfloat16)
    head = torch.randn(rows, WIDTH, device="cuda", dtype=torch.bfloat16)

    def logits() -> None:
        torch.nn.functional.linear(hidden, head)
        nsys.units(flops=2 * TOKENS * WIDTH * VOCABULARY, precision="bf16")

    nsys(logits)


@pytest.mark.nsys(require=["*flash*"])
def test_attention(torch: Any, nsys: Nsys, slip: bool) -> None:
    """Causal attention by a flash kernel: whichever, PyTorch's own or that of cuDNN.

    The slip: single precision. No flash kernel has it, and PyTorch takes another without a word.
    """
    dtype = torch.float32 if slip else torch.bfloat16
    shape = (4, 16, 2048, 64)
    query, key, value = (torch.randn(shape, device="cuda", dtype=dtype) for _ in range(3))
    attention = torch.nn.functional.scaled_dot_product_attention
    nsys(attention, query, key, value, is_causal=True)
