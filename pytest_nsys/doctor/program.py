"""The test that a trial capture runs: a known amount of GPU work, where there is a GPU.

It speaks to the CUDA driver directly, so that it needs no framework, and it imports nothing of
this package: a copy of it lies in a folder of its own.
"""

import ctypes
import json
import os
from pathlib import Path

KERNELS, MEMSETS, COPIES = 20, 10, 10
BYTES = 1 << 16

# A kernel that does nothing, for every GPU there is; the driver compiles it.
PTX = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry nothing() { ret; }
"""


def test_trial() -> None:
    """Do the work, and write down what was done: counts, or why there is none."""
    done = work()
    Path(__file__).with_name("done.json").write_text(json.dumps(done), encoding="utf-8")


def work() -> dict[str, int | str]:
    """The operations that the capture must hold, by kind."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {"error": str(error)}
    context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    memory = ctypes.c_uint64()
    for name, arguments in (
        ("cuInit", (0,)),
        ("cuDevicePrimaryCtxRetain", (ctypes.byref(context), 0)),
        ("cuCtxPushCurrent_v2", (context,)),
        ("cuMemAlloc_v2", (ctypes.byref(memory), ctypes.c_size_t(BYTES))),
    ):
        status = getattr(cuda, name)(*arguments)
        if status:
            return {"error": f"{name} returned {status}"}
    # Where only the driver's compiler is missing, the rest is still worth looking at.
    compiled = not cuda.cuModuleLoadData(
        ctypes.byref(module), PTX
    ) and not cuda.cuModuleGetFunction(ctypes.byref(function), module, b"nothing")
    kernels = sum(
        not cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, None, None)
        for _ in range(KERNELS if compiled else 0)
    )
    memsets = sum(
        not cuda.cuMemsetD8_v2(memory, ctypes.c_ubyte(0), ctypes.c_size_t(BYTES))
        for _ in range(MEMSETS)
    )
    host = os.urandom(BYTES)
    copies = sum(
        not cuda.cuMemcpyHtoD_v2(memory, host, ctypes.c_size_t(BYTES)) for _ in range(COPIES)
    )
    status = cuda.cuCtxSynchronize()
    if status:
        return {"error": f"cuCtxSynchronize returned {status}"}
    return {"kernels": kernels, "memsets": memsets, "copies": copies}
