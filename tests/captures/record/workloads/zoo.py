"""Kernels of many kinds and libraries, each in a range of its own, for their names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.cuda import nvtx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import (
    cross_entropy,
    embedding,
    gelu,
    group_norm,
    interpolate,
    layer_norm,
    max_pool2d,
    rms_norm,
    scaled_dot_product_attention,
)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", dtype=dtype)


def attention(backend: SDPBackend) -> Callable[[], object]:
    query = draw(2, 8, 512, 64, dtype=torch.bfloat16).requires_grad_()

    def call() -> None:
        with sdpa_kernel(backend):
            scaled_dot_product_attention(query, query, query, is_causal=True).sum().backward()

    return call


def recurrent(kind: type[nn.RNNBase]) -> Callable[[], object]:
    layer, inputs = kind(128, 128).cuda(), draw(16, 8, 128)
    return lambda: layer(inputs)[0].sum().backward()


def convolution(dtype: torch.dtype) -> Callable[[], object]:
    layer = nn.Conv2d(32, 64, 3, padding=1).cuda().to(dtype)
    images = draw(8, 32, 56, 56, dtype=dtype)
    return lambda: layer(images).sum().backward()


def eight_bits() -> Callable[[], object]:
    left = draw(512, 512).to(torch.float8_e4m3fn)
    scale = torch.ones((), device="cuda")
    return lambda: torch._scaled_mm(
        left, left.t(), scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16
    )


def compiled() -> Callable[[], object]:
    matrix = draw(512, 512)
    call = torch.compile(lambda x: gelu(layer_norm(x @ x, (512,))).softmax(dim=-1).sum(dim=0))
    return lambda: call(matrix)


def operations() -> Iterator[tuple[str, Callable[[], Callable[[], object]]]]:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        square = draw(1024, 1024, dtype=dtype)
        yield f"matmul {dtype}", lambda square=square: lambda: square @ square
        yield (
            f"batched matmul {dtype}",
            lambda square=square: (
                lambda: torch.bmm(square.view(16, 256, 256), square.view(16, 256, 256))
            ),
        )
        if dtype != torch.float64:
            yield f"convolution {dtype}", lambda dtype=dtype: convolution(dtype)
    yield (
        "int8 matmul",
        lambda: lambda: torch._int_mm(*[torch.ones(256, 256, dtype=torch.int8, device="cuda")] * 2),
    )
    yield "fp8 matmul", eight_bits
    for backend in (
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.MATH,
    ):
        yield f"attention {backend.name}", lambda backend=backend: attention(backend)
    yield "lstm", lambda: recurrent(nn.LSTM)
    yield "gru", lambda: recurrent(nn.GRU)
    vector, square = draw(2**16), draw(512, 512)
    images = draw(4, 32, 32, 32)
    places = torch.arange(512, device="cuda").flip(0)
    simple: dict[str, Callable[[], object]] = {
        "layer_norm": lambda: layer_norm(square, (512,)),
        "rms_norm": lambda: rms_norm(square, (512,)),
        "group_norm": lambda: group_norm(images, 8),
        "batch_norm": lambda: torch.batch_norm(
            images, None, None, None, None, True, 0.1, 1e-5, True
        ),
        "softmax": lambda: square.softmax(dim=-1),
        "log_softmax": lambda: square.log_softmax(dim=0),
        "cross_entropy": lambda: cross_entropy(square, places),
        "embedding": lambda: embedding(places, square),
        "dropout": lambda: torch.dropout(square, 0.5, True),
        "gelu": lambda: gelu(square),
        "sort": lambda: vector.sort(),
        "topk": lambda: square.topk(8),
        "cumsum": lambda: vector.cumsum(0),
        "unique": lambda: torch.unique(places % 7),
        "nonzero": lambda: square.gt(0).nonzero(),
        "sum": lambda: square.sum(),
        "mean of rows": lambda: square.mean(dim=1),
        "max": lambda: square.max(dim=0),
        "argmax": lambda: square.argmax(dim=1),
        "norm": lambda: square.norm(),
        "cat": lambda: torch.cat([square, square]),
        "transpose": lambda: square.t().contiguous(),
        "gather": lambda: square.gather(0, places.expand(512, 512)),
        "scatter_add": lambda: torch.zeros_like(square).scatter_add_(
            0, places.expand(512, 512), square
        ),
        "index_add": lambda: torch.zeros_like(square).index_add_(0, places, square),
        "where": lambda: torch.where(square > 0, square, -square),
        "to bfloat16": lambda: square.bfloat16(),
        "normal": lambda: torch.randn(2**16, device="cuda"),
        "permutation": lambda: torch.randperm(2**12, device="cuda"),
        "max_pool": lambda: max_pool2d(images, 2),
        "interpolate": lambda: interpolate(images, scale_factor=2, mode="bilinear"),
        "fft": lambda: torch.fft.fft(vector),
        "rfft2": lambda: torch.fft.rfft2(square),
        "solve": lambda: torch.linalg.solve(square, square),
        "qr": lambda: torch.linalg.qr(square[:128, :128]),
        "cholesky": lambda: torch.linalg.cholesky(square @ square.t() + torch.eye(512).cuda()),
        "eigenvalues": lambda: torch.linalg.eigvalsh(square[:64, :64] + square[:64, :64].t()),
        "sparse": lambda: square.gt(1).float().to_sparse_csr() @ square,
        "foreach": lambda: torch._foreach_add([square, vector], 1.0),
        "einsum": lambda: torch.einsum("ij,kj->ik", square, square),
    }
    for name, call in simple.items():
        yield name, lambda call=call: call
    yield "compiled", compiled


def main() -> None:
    torch.manual_seed(0)
    for name, make in operations():
        try:
            call = make()
            with nvtx.range(name):
                call()
                torch.cuda.synchronize()
        except Exception as error:  # what this PyTorch or GPU cannot do is left out
            print(f"{name}: {type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)


if __name__ == "__main__":
    main()
