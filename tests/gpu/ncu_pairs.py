"""Kernels that are slowed down on purpose, and whether ncu's counters say how.

    python -m tests.gpu.ncu_pairs OUT

For each pair a baseline is recorded of the fast one with its counters, then the slow one is judged
and counted. What came of it is printed in a line each; OUT has ncu's own tables of both runs
(``before/``, ``after/``), the HTML page and the JSON. The exit code says how many sentences are not
those that were expected. It needs a GPU whose counters may be read, nsys, ncu, CuPy; Triton and
PyTorch for pairs that are left out without them.
"""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

EXPECTED = {
    "test_coalesced": "loads are uncoalesced: sectors per request 4 -> *",
    "test_conflicts": "bank conflicts in shared memory *",
    "test_spills": "register spills: local loads and stores 0 -> *",
    "test_fp64": "double precision: fp64 pipe 0.0 % -> *",
    "test_occupancy": "*achieved occupancy *shared memory per block *",
    "test_block": "*block of 256 -> 32 threads*",
    "test_divergence": "*threads diverge*",
    "test_triton": "loads are uncoalesced*",
    "test_graph": "more is computed*",
    "test_replaced": "*nothing was counted before*",
}
"""What the sentence on the kernel that got slower is like."""

PROJECT = r'''
import importlib.util
import os

import pytest

pytestmark = pytest.mark.nsys(rounds=3, warmup=2)
SLOW = os.environ["SLOW"] == "1"
cupy = pytest.importorskip("cupy")
N = 1 << 22


def kernel(source, name="k", **options):
    return cupy.RawKernel(source, name, **options)


@pytest.fixture(scope="module")
def numbers():
    return cupy.arange(N, dtype=cupy.float32)


COPY = """
extern "C" __global__ void k(const float* x, float* y, int n, int stride) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[(int)(((long long)i * stride) % n)];
}"""


def test_coalesced(numbers):
    out = cupy.empty_like(numbers)
    kernel(COPY)((N // 256,), (256,), (numbers, out, N, 33 if SLOW else 1))


TRANSPOSE = """
extern "C" __global__ void k(const float* x, float* y, int width) {
    __shared__ float tile[32][PITCH];
    int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 32 + threadIdx.y;
    for (int repeat = 0; repeat < 16; repeat++) {
        tile[threadIdx.y][threadIdx.x] = x[r * width + c];
        __syncthreads();
        c = blockIdx.x * 32 + threadIdx.x;
        y[r * width + c] = tile[threadIdx.x][threadIdx.y];
        __syncthreads();
    }
}"""


def test_conflicts(numbers):
    out = cupy.empty_like(numbers)
    source = TRANSPOSE.replace("PITCH", "32" if SLOW else "33")
    kernel(source)((64, 64), (32, 32), (numbers, out, 2048))


SPILLS = """
extern "C" __global__ void k(const float* x, float* y, int by) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float a[64];
    for (int j = 0; j < 64; j++) a[j] = x[i] + j;
    float sum = 0;
    for (int j = 0; j < 256; j++) sum += a[INDEX];
    y[i] = sum;
}"""


def test_spills(numbers):
    out = cupy.empty_like(numbers)
    # An index that is not known beforehand: the array cannot be in registers.
    source = SPILLS.replace("INDEX", "(j * by + i) & 63" if SLOW else "5")
    kernel(source)((N // 256,), (256,), (numbers, out, 7))


MATHS = """
extern "C" __global__ void k(const float* x, float* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    REAL a = x[i];
    for (int j = 0; j < 200; j++) a = a * (REAL)1.0001 + (REAL)0.5;
    y[i] = (float)a;
}"""


def test_fp64(numbers):
    out = cupy.empty_like(numbers)
    source = MATHS.replace("REAL", "double" if SLOW else "float")
    kernel(source)((N // 256,), (256,), (numbers, out))


SHARED = """
extern "C" __global__ void k(const float* x, float* y) {
    extern __shared__ float kept[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    kept[threadIdx.x] = x[i];
    __syncthreads();
    y[i] = kept[255 - threadIdx.x] * 2;
}"""


def test_occupancy(numbers):
    out = cupy.empty_like(numbers)
    k = kernel(SHARED)
    size = 96 * 1024 if SLOW else 1024
    if SLOW:
        k.max_dynamic_shared_size_bytes = size
    k((N // 256,), (256,), (numbers, out), shared_mem=size)


def test_block(numbers):
    out = cupy.empty_like(numbers)
    block = 32 if SLOW else 256
    kernel(COPY)((N // block,), (block,), (numbers, out, N, 1))


DIVERGENT = """
extern "C" __global__ void k(const float* x, float* y, int mask) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float a = x[i];
    int turns = 50 + 10 * ((i & mask) % 32);
    for (int j = 0; j < turns; j++) a = sinf(a) + 0.25f;
    y[i] = a;
}"""


def test_divergence(numbers):
    out = cupy.empty_like(numbers)
    # All threads of a warp turn as often, or each as it likes.
    kernel(DIVERGENT)((N // 256,), (256,), (numbers, out, 31 if SLOW else 0))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")
def test_triton(large):
    from kernels import strided

    strided[(N // 1024,)](*large, 32 if SLOW else 1, BLOCK=1024)


@pytest.fixture(scope="module")
def large():
    import torch

    return torch.ones(N * 32, device="cuda"), torch.empty(N, device="cuda")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no PyTorch")
def test_graph(captured):
    captured.replay()


@pytest.fixture(scope="module")
def captured():
    import torch

    x = torch.ones(1 << (24 if SLOW else 20), device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x.mul_(1.5)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x.mul_(1.5)
    graph.works_on = x  # or its memory goes back to the driver, and a replay breaks the context
    return graph


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no PyTorch")
def test_replaced():
    import torch

    x = torch.ones(4096, 4096, device="cuda")
    (x.t() if SLOW else x) + x
'''

KERNELS = """
import triton
import triton.language as tl


@triton.jit
def strided(x, out, stride, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at * stride))
"""


def main(out: Path) -> int:
    """Run both, and say what came of each pair; returns how many are not as expected."""
    project = out / "project"
    project.mkdir(parents=True, exist_ok=True)
    (project / "test_pairs.py").write_text(PROJECT, encoding="utf-8")
    (project / "kernels.py").write_text(KERNELS, encoding="utf-8")
    lines = ["[pytest]", "pythonpath = .", "nsys_processes = 1", "nsys_confirm = 0"]
    (project / "pytest.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _pytest(project, "0", "--nsys-update", f"--nsys-keep={out / 'before'}")
    results = out / "results.json"
    reports = [f"--nsys-json={results}", f"--nsys-html={out / 'page.html'}"]
    _pytest(project, "1", "--nsys-baseline", f"--nsys-keep={out / 'after'}", *reports)
    tests = json.loads(results.read_text(encoding="utf-8"))["tests"]
    found = {test["nodeid"].partition("::")[2]: test for test in tests}
    return sum(not _shown(name, found.get(name)) for name in EXPECTED)


def _pytest(project: Path, slow: str, *options: str) -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--nsys-ncu=always", *options]
    environment = {**os.environ, "SLOW": slow}
    subprocess.run([sys.executable, *words], cwd=project, env=environment, check=False)


def _shown(name: str, test: dict[str, Any] | None) -> bool:
    """Print a line on a test, None if it was not measured; returns whether its sentence is as
    expected."""
    if test is None:
        print(f"NOT {name:16} not measured")
        return False
    said = [one["sentence"] for one in test["counters"]]
    why = [note for note in test["notes"] if note.startswith("no counters")]
    good = any(fnmatch.fnmatch(one, EXPECTED[name]) for one in said)
    print(f"{'ok ' if good else 'NOT'} {name:16} {test['status']:12} {(said or why or ['-'])[0]}")
    return good


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]).resolve()))
