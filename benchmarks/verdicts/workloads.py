"""GPU work of many kinds for the study of verdicts: small workloads, with PyTorch only.

A workload is a function that takes PyTorch, prepares its data (milliseconds), and returns the
step to be measured: 0.2 to 5 ms of GPU time on an H200, the same operations in every call and
every process. Nothing is autotuned, and all data comes from seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Step = Callable[[], object]
Workload = Callable[[Any], Step]

WORKLOADS: dict[str, Workload] = {}
"""By name; a name has no hyphen, which separates the parts of a test's id."""


def workload(build: Workload) -> Workload:
    """Register a workload under its function's name."""
    WORKLOADS[build.__name__] = build
    return build


def _normal(torch: Any, *shape: int, dtype: str = "float16", grad: bool = False) -> Any:
    generator = torch.Generator("cuda").manual_seed(sum(shape))
    made = torch.randn(*shape, device="cuda", generator=generator, dtype=torch.float32)
    return made.to(getattr(torch, dtype)).requires_grad_(grad)


def _whole(torch: Any, most: int, *shape: int) -> Any:
    generator = torch.Generator("cuda").manual_seed(most)
    return torch.randint(0, most, shape, device="cuda", generator=generator)


def _times(count: int, call: Step) -> Step:
    def step() -> None:
        for _ in range(count):
            call()

    return step


# Matrix products


@workload
def gemm(torch: Any) -> Step:
    """Half precision, compute-bound."""
    a, b = _normal(torch, 4096, 4096), _normal(torch, 4096, 4096)
    return _times(6, lambda: a @ b)


@workload
def gemm_bf16(torch: Any) -> Step:
    """Another type and shape."""
    a = _normal(torch, 2048, 8192, dtype="bfloat16")
    b = _normal(torch, 8192, 2048, dtype="bfloat16")
    return _times(8, lambda: a @ b)


@workload
def gemm_f32(torch: Any) -> Step:
    """Full single precision, without the matrix units' short forms."""
    a, b = (_normal(torch, 2048, 2048, dtype="float32") for _ in range(2))
    return _times(3, lambda: a @ b)


@workload
def gemm_f64(torch: Any) -> Step:
    """Double precision."""
    a, b = (_normal(torch, 2048, 2048, dtype="float64") for _ in range(2))
    return _times(3, lambda: a @ b)


@workload
def gemm_skinny(torch: Any) -> Step:
    """Sixteen rows against a large matrix: bound by memory."""
    a, b = _normal(torch, 16, 8192), _normal(torch, 8192, 8192)
    return _times(20, lambda: a @ b)


@workload
def bmm(torch: Any) -> Step:
    """Batched."""
    a, b = _normal(torch, 256, 512, 512), _normal(torch, 256, 512, 512)
    return _times(8, lambda: torch.bmm(a, b))


@workload
def einsum(torch: Any) -> Step:
    """Scores of attention, as einsum writes them."""
    q, k = _normal(torch, 16, 512, 16, 64), _normal(torch, 16, 512, 16, 64)
    return _times(4, lambda: torch.einsum("bihd,bjhd->bhij", q, k))


# Attention


def _attention(torch: Any, heads: tuple[int, ...], keys: int, count: int, causal: bool) -> Step:
    batch, number, queries, width = heads
    q = _normal(torch, batch, number, queries, width)
    k, v = (_normal(torch, batch, number, keys, width) for _ in range(2))
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def step() -> None:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            for _ in range(count):
                torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return step


@workload
def attention(torch: Any) -> Step:
    """Prefill of short sequences."""
    return _attention(torch, (8, 16, 1024, 64), 1024, 10, causal=False)


@workload
def attention_causal(torch: Any) -> Step:
    """Prefill of long ones."""
    return _attention(torch, (2, 16, 4096, 128), 4096, 3, causal=True)


@workload
def attention_decode(torch: Any) -> Step:
    """One query against many keys."""
    return _attention(torch, (16, 32, 1, 128), 1024, 10, causal=False)


# Passes over memory


@workload
def softmax(torch: Any) -> Step:
    """Rows of 8192."""
    x = _normal(torch, 8192, 8192)
    return _times(10, lambda: torch.softmax(x, dim=-1))


@workload
def norm(torch: Any) -> Step:
    """Layer normalisation."""
    x, weight = _normal(torch, 16384, 4096), _normal(torch, 4096)
    return _times(12, lambda: torch.nn.functional.layer_norm(x, (4096,), weight, weight))


@workload
def norm_rms(torch: Any) -> Step:
    """Root-mean-square normalisation, written out: several kernels."""
    x, weight = _normal(torch, 8192, 4096), _normal(torch, 4096)
    return _times(
        3, lambda: x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6) * weight
    )


@workload
def norm_batch(torch: Any) -> Step:
    """Batch normalisation in training."""
    x = _normal(torch, 64, 128, 56, 56)
    mean, variance = (torch.ones(128, device="cuda") for _ in range(2))
    return _times(
        4, lambda: torch.nn.functional.batch_norm(x, mean, variance, training=True, momentum=0.1)
    )


@workload
def elementwise(torch: Any) -> Step:
    """A chain of elementwise kernels."""
    x = _normal(torch, 32 << 20, dtype="float32")
    return _times(3, lambda: torch.sigmoid(torch.relu(x * 1.5 + 0.5)).sqrt())


@workload
def transpose(torch: Any) -> Step:
    """Copies with a stride."""
    x = _normal(torch, 8192, 8192)
    return _times(6, lambda: x.t().contiguous())


@workload
def reduce(torch: Any) -> Step:
    """Sums, means and a maximum over several dimensions."""
    x = _normal(torch, 64, 1024, 1024, dtype="float32")
    return _times(3, lambda: (x.sum(), x.mean(dim=0), x.amax(dim=-1)))


@workload
def cumsum(torch: Any) -> Step:
    """A scan along rows."""
    x = _normal(torch, 4096, 8192, dtype="float32")
    return _times(4, lambda: torch.cumsum(x, dim=-1))


# Indices, order


@workload
def sort(torch: Any) -> Step:
    """Four million keys."""
    x = _normal(torch, 4 << 20, dtype="float32")
    return _times(2, lambda: torch.sort(x))


@workload
def topk(torch: Any) -> Step:
    """The largest 64 of each row."""
    x = _normal(torch, 256, 32768, dtype="float32")
    return _times(3, lambda: torch.topk(x, 64, dim=-1))


@workload
def gather(torch: Any) -> Step:
    """Rows in a random order."""
    x, index = _normal(torch, 65536, 1024), _whole(torch, 65536, 65536)
    return _times(8, lambda: torch.index_select(x, 0, index))


@workload
def scatter_add(torch: Any) -> Step:
    """Sums into random places: atomics."""
    x, index = _normal(torch, 4 << 20, dtype="float32"), _whole(torch, 1 << 20, 4 << 20)
    total = torch.zeros(1 << 20, device="cuda")
    return _times(6, lambda: total.scatter_add_(0, index, x))


@workload
def embedding(torch: Any) -> Step:
    """Look-up of 65,536 tokens and a sum of bags."""
    table, tokens = _normal(torch, 32000, 1024), _whole(torch, 32000, 512, 128)
    return _times(4, lambda: torch.nn.functional.embedding(tokens, table).sum(dim=1))


@workload
def cross_entropy(torch: Any) -> Step:
    """Of a large vocabulary, with its gradient."""
    logits, target = _normal(torch, 4096, 32000, grad=True), _whole(torch, 32000, 4096)

    def step() -> None:
        torch.autograd.grad(torch.nn.functional.cross_entropy(logits, target), logits)

    return step


# Larger things


@workload
def conv(torch: Any) -> Step:
    """Convolutions by cuDNN's heuristics."""
    x, weight = _normal(torch, 32, 128, 56, 56), _normal(torch, 128, 128, 3, 3)
    return _times(8, lambda: torch.nn.functional.conv2d(x, weight, padding=1))


@workload
def fft(torch: Any) -> Step:
    """Real transforms there and back."""
    x = _normal(torch, 2048, 8192, dtype="float32")
    return _times(3, lambda: torch.fft.irfft(torch.fft.rfft(x)))


@workload
def adam(torch: Any) -> Step:
    """An optimizer's step over 64 tensors at once."""
    parameters = [_normal(torch, 512, 512, dtype="float32", grad=True) for _ in range(64)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam(parameters, lr=1e-3, foreach=True)
    return _times(2, optimizer.step)


@workload
def train(torch: Any) -> Step:
    """A training step: forward, backward on autograd's thread, optimizer."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(1024, 4096), torch.nn.GELU(), torch.nn.Linear(4096, 1024)
    ).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    data = _normal(torch, 1024, 1024, dtype="float32")

    def step() -> None:
        model(data).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


@workload
def transformer(torch: Any) -> Step:
    """A block of a transformer, forward and backward, in half precision."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(
        512, 8, dim_feedforward=2048, dropout=0.0, batch_first=True
    )
    layer = layer.cuda().half()
    x = _normal(torch, 16, 512, 512)

    def step() -> None:
        layer(x).float().square().mean().backward()
        layer.zero_grad(set_to_none=True)

    return step


@workload
def tiny(torch: Any) -> Step:
    """Three hundred kernels that do next to nothing: bound by launches."""
    x = torch.ones(256, device="cuda")
    return _times(300, lambda: x.mul_(1.0))


@workload
def tiny_few(torch: Any) -> Step:
    """Eighty of them: so short that the absolute tolerance rules."""
    x = torch.ones(256, device="cuda")
    return _times(80, lambda: x.add_(0.0))


@workload
def graph(torch: Any) -> Step:
    """Replays of a CUDA graph of small layers."""
    layers = [_normal(torch, 2048, 2048) * 0.04 for _ in range(8)]
    state = _normal(torch, 1, 2048)
    out = torch.empty_like(state)

    def token() -> None:
        x = state
        for weight in layers:
            x = torch.nn.functional.silu(x @ weight)
        out.copy_(x)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        token()
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        token()

    def replay(_keep: Step = token) -> None:
        """``_keep`` holds the tensors, of which the graph has only the addresses."""
        captured.replay()

    return _times(16, replay)


@workload
def streams(torch: Any) -> Step:
    """Two streams at once, joined by events."""
    a, b = _normal(torch, 2048, 2048), _normal(torch, 4096, 4096)
    out_a, out_b = torch.empty_like(a), torch.empty_like(b)
    side = torch.cuda.Stream()

    def step() -> None:
        for _ in range(4):
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                torch.mm(a, a, out=out_a)
            torch.add(b, 1.0, out=out_b)
            torch.cuda.current_stream().wait_stream(side)

    return step


@workload
def upload(torch: Any) -> Step:
    """Pinned memory to the device, each part followed by work on it."""
    host = torch.ones(4 << 20, dtype=torch.float16, pin_memory=True)
    device = torch.empty(4 << 20, dtype=torch.float16, device="cuda")

    def step() -> None:
        for _ in range(4):
            device.copy_(host, non_blocking=True)
            for _ in range(8):
                device.mul_(1.0)

    return step


@workload
def download(torch: Any) -> Step:
    """Results to pinned memory and, a little one, to pageable memory."""
    device = _normal(torch, 8 << 20)
    host = torch.empty(8 << 20, dtype=torch.float16, pin_memory=True)

    def step() -> None:
        for _ in range(3):
            device.mul_(1.0)
            host.copy_(device, non_blocking=True)
        device[:1024].cpu()

    return step


@workload
def allocate(torch: Any) -> Step:
    """Sixty-four blocks of all sizes, filled and given back."""

    def step() -> None:
        blocks = [torch.full((size << 10,), 1.0, device="cuda") for size in range(64, 4160, 64)]
        del blocks

    return step


@workload
def waits(torch: Any) -> Step:
    """A loop bound by the host: it reads a value back in each turn."""
    x = _normal(torch, 1 << 20, dtype="float32")

    def step() -> None:
        for _ in range(24):
            x.mul_(1.0).sum().item()

    return step


INJECTED: Mapping[str, Workload] = {
    name: WORKLOADS[name] for name in ("gemm", "attention", "norm", "sort", "train", "tiny")
}
"""The workloads that changes are put into: compute, memory, order, autograd, launches. On an H200
they have 0.3 to 1.3 ms of kernels, so that the default tolerance, 3 % or 5 us, is 3 % for all."""
