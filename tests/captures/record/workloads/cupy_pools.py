"""CuPy: elementwise, reductions, sort, RawKernel, matmul; its pool, the driver's pool, no pool."""

from __future__ import annotations

import cupy
import numpy
import nvtx

SAXPY = cupy.RawKernel(
    """
extern "C" __global__ void saxpy(float a, const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
""",
    "saxpy",
)
SIZE = 1 << 20


def step() -> None:
    x = cupy.arange(SIZE, dtype=cupy.float32)
    y = cupy.zeros_like(x)
    with nvtx.annotate("elementwise"):
        y += cupy.sin(x) * 2
    with nvtx.annotate("raw"):
        SAXPY((SIZE // 256,), (256,), (numpy.float32(2), x, y, numpy.int32(SIZE)))
    with nvtx.annotate("matmul"):
        matrix = y.reshape(1024, 1024)
        matrix = matrix @ matrix
    with nvtx.annotate("reduce and sort"):
        cupy.sort(matrix.ravel())
        float(matrix.sum())


def main() -> None:
    pools = {
        "pool of cupy": cupy.cuda.MemoryPool().malloc,
        "pool of the driver": cupy.cuda.MemoryAsyncPool().malloc,
        "no pool": None,
    }
    for name, allocator in pools.items():
        cupy.cuda.set_allocator(allocator)
        with nvtx.annotate(name):
            for _ in range(4):
                with nvtx.annotate("step"):
                    step()
            cupy.cuda.Device().synchronize()


if __name__ == "__main__":
    main()
