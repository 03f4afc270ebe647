"""Unified memory: page faults of both sides, migrations, prefetching."""

from __future__ import annotations

import ctypes

import cupy
import nvtx

COUNT = 4 << 20  # floats, 16 MiB
BYTES = COUNT * 4


class Location(ctypes.Structure):
    """CUmemLocation of CUDA 13."""

    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


ON_DEVICE, ON_HOST = Location(1, 0), Location(2, 0)


def prefetch(address: int, place: Location) -> None:
    call = ctypes.CDLL("libcuda.so.1").cuMemPrefetchAsync_v2
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    call.argtypes = (pointer, size, Location, ctypes.c_uint, pointer)
    error = call(address, BYTES, place, 0, None)
    if error:
        raise RuntimeError(f"cuMemPrefetchAsync: error {error}")
    cupy.cuda.Device().synchronize()


def main() -> None:
    memory = cupy.cuda.malloc_managed(BYTES)
    array = cupy.ndarray((COUNT,), cupy.float32, memptr=memory)

    def double(name: str) -> None:
        with nvtx.annotate(name):
            array[...] = array * 2 + 1
            cupy.cuda.Device().synchronize()

    cupy.cuda.Device().synchronize()
    with nvtx.annotate("host writes"):
        ctypes.memset(memory.ptr, 0, BYTES)
    double("kernel faults")
    double("kernel again")
    with nvtx.annotate("host reads"):
        ctypes.string_at(memory.ptr, BYTES)
    with nvtx.annotate("prefetch to device"):
        prefetch(memory.ptr, ON_DEVICE)
    double("kernel after prefetch")
    with nvtx.annotate("prefetch to host"):
        prefetch(memory.ptr, ON_HOST)
    with nvtx.annotate("host reads after prefetch"):
        ctypes.string_at(memory.ptr, BYTES)
    static = cupy.RawModule(
        code='extern "C" { __managed__ float table[65536];'
        " __global__ void fill() { table[blockIdx.x * 256 + threadIdx.x] = 1; } }"
    )
    with nvtx.annotate("static managed"):
        static.get_function("fill")((256,), (256,), ())
        cupy.cuda.Device().synchronize()


if __name__ == "__main__":
    main()
