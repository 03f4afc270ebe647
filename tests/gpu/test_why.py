"""Kernels that are made slower on purpose: the culprit's line says what nsys alone can tell of it.

``pytest tests/gpu/test_why.py -s`` prints a line for each, as it is told.
"""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import dataclass

import pytest

from tests.gpu.harness import Project, metric

TRITON = """
    import torch, triton, triton.language as tl
    N = 1 << 26

    @pytest.fixture(scope="module")
    def x():
        return torch.ones(N, device="cuda")
"""
SCALE = (
    TRITON
    + """
    @triton.jit
    def scale(x, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + at, tl.load(x + at, mask=at < n) * 2, mask=at < n)
"""
)
CUPY = """
    import cupy
    N = 4096

    @pytest.fixture(scope="module")
    def arrays():
        return cupy.ones((N, N), cupy.float32), cupy.zeros((N, N), cupy.float32)
"""


@dataclass(frozen=True)
class Pair:
    """A test twice.

    Attributes:
        body: the module; ``CHOICE`` stands for what differs.
        fast: that in the baseline.
        slow: that now.
        says: what the output is to say, as a regular expression.
        not_says: what it is not to say, for nsys does not know.
    """

    body: str
    fast: str
    slow: str
    says: str
    not_says: str = r"\bnothing like this\b"


PAIRS = {
    "fewer warps": Pair(
        SCALE
        + """
    def test_it(x):
        block, warps = CHOICE
        scale[(triton.cdiv(N, block),)](x, torch.empty_like(x), N, BLOCK=block, num_warps=warps)
    """,
        "1024, 4",
        "32, 1",
        r"scale \+.*another configuration was chosen: grid 65536 -> 2097152, block 128 -> 32",
    ),
    "register pressure": Pair(
        TRITON
        + """
    @triton.jit
    def rows(x, out, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        row = tl.load(x + at)
        row = tl.exp(row - tl.max(row, axis=0))
        tl.store(out + at, row / tl.sum(row, axis=0))

    def test_it(x):
        rows[(N // 8192,)](x, torch.empty_like(x), BLOCK=8192, num_warps=4, CHOICE)
    """,
        "maxnreg=None",
        "maxnreg=32",
        r"rows \+.*registers \d+ -> 32: theoretical occupancy .*they may be spilled",
    ),
    "changed autotuning": Pair(
        TRITON
        + """
    @triton.autotune([triton.Config({"BLOCK": CHOICE}, num_warps=CHOICE // 32)], key=[])
    @triton.jit
    def tuned(x, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + at, tl.load(x + at, mask=at < n) * 2, mask=at < n)

    def test_it(x):
        tuned[lambda meta: (triton.cdiv(N, meta["BLOCK"]),)](x, torch.empty_like(x), N)
    """,
        "256",
        "32",
        r"tuned \+.*another configuration was chosen: grid \d+ -> \d+, block 256 -> 32",
    ),
    "fp64": Pair(
        TRITON
        + """
    def test_it(x):
        CHOICE.mul(2.0)
    """,
        "x",
        "x.double()",
        r"double.*new",
    ),
    "lost fusion": Pair(
        TRITON
        + """
    def steps(x):
        return torch.nn.functional.gelu(x * 2 + 1) * 0.5 + x

    fused = torch.compile(steps)

    @pytest.mark.nsys(warmup=3)
    def test_it(x):
        CHOICE(x)
    """,
        "fused",
        "steps",
        r"elementwise.*new.*triton_.*gone",
    ),
    "uncoalesced": Pair(
        CUPY
        + """
    walk = cupy.RawKernel('''
    extern "C" __global__ void walk(const float* x, float* out, int n, int across) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        int at = across ? (i % n) * n + i / n : i;
        out[at] = x[at] * 2;
    }''', "walk")

    def test_it(arrays):
        walk((N * N // 256,), (256,), (*arrays, N, CHOICE))
    """,
        "0",
        "1",
        r"walk \+.*\(1x\)",
        r"occupancy|configuration",
    ),
    "bank conflicts": Pair(
        CUPY
        + """
    turn = cupy.RawKernel('''
    extern "C" __global__ void turn(const float* x, float* out, int n) {
        __shared__ float tile[32][CHOICE];
        int a = blockIdx.x * 32, b = blockIdx.y * 32;
        for (int row = threadIdx.y; row < 32; row += 8)
            tile[row][threadIdx.x] = x[(b + row) * n + a + threadIdx.x];
        __syncthreads();
        for (int row = threadIdx.y; row < 32; row += 8)
            out[(a + row) * n + b + threadIdx.x] = tile[threadIdx.x][row];
    }''', "turn")

    def test_it(arrays):
        turn((N // 32, N // 32), (32, 8), (*arrays, N))
    """,
        "33",
        "32",
        r"turn \+.*shared memory \S+ KiB -> 4 KiB",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_culprits_line_says_why(project: Project, name: str) -> None:
    pair = PAIRS[name]
    project.write(pair.body.replace("CHOICE", pair.fast))
    recorded = project.run("--nsys-update")
    assert recorded.returncode == 0, recorded.stdout
    project.write(pair.body.replace("CHOICE", pair.slow))
    done = project.run("--nsys-baseline")
    text = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout
    told = re.search(r"changed by: (.{0,400})", text)
    print(f"\n{name:20} {told[1] if told else text[:400]}")
    assert re.search(pair.says, text), done.stdout
    assert told is not None
    assert not re.search(pair.not_says, told[1]), done.stdout


def test_a_kernel_that_is_built_in_the_first_round_is_told(project: Project) -> None:
    project.write(
        SCALE
        + """
    @pytest.mark.nsys(warmup=0)
    def test_it(x):
        scale[(triton.cdiv(N, 1024),)](x, torch.empty_like(x), N, BLOCK=1024)
    """
    )
    done = project.run("--nsys", "--nsys-json=out.json")
    assert done.returncode == 0, done.stdout
    (test,) = json.loads((project.folder / "out.json").read_text())["tests"]
    (note,) = (note for note in test["notes"] if "compiled or loaded" in note)
    print(f"\n{note}")
    assert re.search(r"in round 1 \(cu\w+ \d+x.*raise the warm-up \(warmup=1\)", note)


def test_a_copy_that_fits_into_the_l2_cache_is_slower_cold_than_warm(project: Project) -> None:
    project.write(
        """
    import torch

    @pytest.fixture(scope="module")
    def block():
        return torch.ones(20 << 20, dtype=torch.uint8, device="cuda")

    @pytest.fixture(scope="module")
    def other(block):
        return torch.empty_like(block)

    @pytest.mark.nsys(rounds=20)
    def test_warm(block, other):
        other.copy_(block)

    @pytest.mark.nsys(rounds=20, cold_l2=True)
    def test_cold(block, other):
        other.copy_(block)
    """
    )
    run = project.measure()
    assert run["code"] == 0, run["text"]
    warm, cold = (run["tests"][f"test_{name}"] for name in ("warm", "cold"))
    times = [
        statistics.median(
            a + b
            for a, b in zip(
                metric(test, "gpu.kernel_time"), metric(test, "memcpy.d2d.time"), strict=True
            )
        )
        for test in (warm, cold)
    ]
    print(f"\n20 MiB copied: {times[0] / 1e3:.1f} us warm, {times[1] / 1e3:.1f} us cold")
    assert times[1] > 1.2 * times[0]
    for test in (warm, cold):
        assert metric(test, "mem.peak") == [0]
        assert metric(test, "memset.count") == [0] * 20
        assert not any("cold" in note for note in test["notes"])
