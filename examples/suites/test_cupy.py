"""CuPy: a CUDA kernel of one's own, compiled at run time."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys

SIZE, TILE, ROWS = 8192, 32, 8

SOURCE = """
extern "C" __global__ void transpose(const float* from, float* to, int size) {
    __shared__ float tile[32][33];
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
    for (int i = 0; i < 32; i += 8)
        tile[threadIdx.y + i][threadIdx.x] = from[(row + i) * size + column];
    __syncthreads();
    column = blockIdx.y * 32 + threadIdx.x;
    row = blockIdx.x * 32 + threadIdx.y;
    for (int i = 0; i < 32; i += 8)
        to[(row + i) * size + column] = tile[threadIdx.x][threadIdx.y + i];
}
"""
WITHOUT_TILE = """
extern "C" __global__ void transpose(const float* from, float* to, int size) {
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
    for (int i = 0; i < 32; i += 8)
        to[column * size + row + i] = from[(row + i) * size + column];
}
"""


@pytest.fixture(scope="module")
def cupy() -> Any:
    module = pytest.importorskip("cupy")
    if not module.cuda.is_available():
        pytest.skip("needs a GPU")
    return module


@pytest.mark.nsys(require=["transpose"], budget={"gpu.pct_peak_bw": 30})
def test_transpose(cupy: Any, nsys: Nsys, slip: bool) -> None:
    """By tiles in shared memory, so that reads and writes are both coalesced.

    The slip: without them. Each thread writes to a row of its own.
    """
    transpose = cupy.RawKernel(WITHOUT_TILE if slip else SOURCE, "transpose")
    matrix = cupy.arange(SIZE * SIZE, dtype=cupy.float32).reshape(SIZE, SIZE)
    out = cupy.empty_like(matrix)
    blocks = (SIZE // TILE, SIZE // TILE)

    def turn() -> None:
        transpose(blocks, (TILE, ROWS), (matrix, out, cupy.int32(SIZE)))
        nsys.units(bytes=2 * matrix.nbytes)

    nsys(turn)
    assert bool((out[:TILE] == matrix[:, :TILE].T).all())
