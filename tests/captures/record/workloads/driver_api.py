"""What frameworks seldom do: the driver API's contexts, green contexts, arrays, pools, batches."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import nvtx
from cuda.bindings import driver, runtime

PTX = b"""
.version 7.8
.target sm_75
.address_size 64
.visible .entry tick(.param .u64 counter)
{
    .reg .u64 %a<3>;
    .reg .u32 %n;
    ld.param.u64 %a1, [counter];
    cvta.to.global.u64 %a2, %a1;
    atom.global.add.u32 %n, [%a2], 1;
    ret;
}
"""
SIZE = 1 << 20
PER_THREAD = 2  # CU_STREAM_PER_THREAD


def ok(result: tuple[Any, ...]) -> Any:
    """The values of a call that succeeded."""
    error, *values = result
    if error:
        raise RuntimeError(str(error))
    return values[0] if len(values) == 1 else tuple(values)


class Memory:
    """Memory of the current context, on both sides, and a kernel."""

    def __init__(self) -> None:
        self.device = ok(driver.cuMemAlloc(SIZE))
        self.other = ok(driver.cuMemAlloc(SIZE))
        self.host = int(ok(driver.cuMemAllocHost(SIZE)))
        self.more = int(ok(driver.cuMemAllocHost(SIZE)))
        self.stream = ok(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
        module = ok(driver.cuModuleLoadData(PTX))
        self.kernel = ok(driver.cuModuleGetFunction(module, b"tick"))
        self.arguments = ((int(self.device),), (ctypes.c_void_p,))
        ok(driver.cuMemsetD8(self.device, 0, SIZE))

    def launch(self, stream: Any, grid: int = 64) -> None:
        ok(driver.cuLaunchKernel(self.kernel, grid, 1, 1, 128, 1, 1, 0, stream, self.arguments, 0))

    def use(self) -> None:
        ok(driver.cuMemcpyHtoDAsync(self.device, self.host, SIZE, self.stream))
        self.launch(self.stream)
        ok(driver.cuMemcpyDtoHAsync(self.host, self.device, SIZE, self.stream))
        ok(driver.cuStreamSynchronize(self.stream))


def default_stream(memory: Memory, _: Any) -> None:
    for _ in range(5):
        memory.launch(0)
        memory.launch(PER_THREAD)
    ok(driver.cuCtxSynchronize())


def second_context(memory: Memory, device: Any) -> None:
    ok(driver.cuCtxCreate(None, 0, device))
    try:
        other = Memory()
        for _ in range(3):
            other.use()
    finally:
        ok(driver.cuCtxPopCurrent())
    memory.use()


def green_context(memory: Memory, device: Any) -> None:
    kind = driver.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM
    whole = ok(driver.cuDeviceGetDevResource(device, kind))
    groups, _, _ = ok(driver.cuDevSmResourceSplitByCount(1, whole, 0, 16))
    description = ok(driver.cuDevResourceGenerateDesc(groups, 1))
    flags = driver.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
    context = ok(driver.cuGreenCtxCreate(description, device, flags))
    stream = ok(
        driver.cuGreenCtxStreamCreate(context, driver.CUstream_flags.CU_STREAM_NON_BLOCKING, 0)
    )
    for _ in range(5):
        memory.launch(stream)
        ok(driver.cuMemcpyDtoHAsync(memory.host, memory.device, SIZE, stream))
    ok(driver.cuStreamSynchronize(stream))


def arrays(memory: Memory, _: Any) -> None:
    shape = driver.CUDA_ARRAY_DESCRIPTOR()
    shape.Width, shape.Height, shape.NumChannels = 65536, 0, 1
    shape.Format = driver.CUarray_format.CU_AD_FORMAT_FLOAT
    first, second = ok(driver.cuArrayCreate(shape)), ok(driver.cuArrayCreate(shape))
    size = 65536 * 4
    ok(driver.cuMemcpyHtoA(first, 0, memory.host, size))
    ok(driver.cuMemcpyAtoA(second, 0, first, 0, size))
    ok(driver.cuMemcpyAtoD(memory.device, second, 0, size))
    ok(driver.cuMemcpyDtoA(first, 0, memory.device, size))
    ok(driver.cuMemcpyAtoH(memory.host, first, 0, size))
    for array in (first, second):
        ok(driver.cuArrayDestroy(array))


def memsets(memory: Memory, _: Any) -> None:
    ok(driver.cuMemsetD8(memory.device, 1, 1000))
    ok(driver.cuMemsetD16(memory.device, 1, 1000))
    ok(driver.cuMemsetD32(memory.device, 1, 1000))
    ok(driver.cuMemsetD2D8(memory.device, 1024, 1, 100, 64))
    ok(driver.cuMemsetD32Async(memory.device, 1, 1000, memory.stream))
    ok(driver.cuMemsetD8(memory.host, 1, 1000))
    ok(driver.cuCtxSynchronize())


def copies(memory: Memory, _: Any) -> None:
    ok(driver.cuMemcpyHtoD(memory.device, memory.host, 0))
    ok(driver.cuMemcpyHtoD(memory.device, memory.host, 1))
    ok(driver.cuMemcpyDtoD(memory.other, memory.device, SIZE))
    ok(driver.cuMemcpy(memory.more, memory.host, SIZE))
    plain = (ctypes.c_char * SIZE)()
    ok(driver.cuMemcpyHtoD(memory.device, ctypes.addressof(plain), SIZE))
    ok(driver.cuMemcpyDtoH(ctypes.addressof(plain), memory.device, SIZE))
    ok(driver.cuMemcpy(ctypes.addressof(plain), memory.device, SIZE))
    flat = driver.CUDA_MEMCPY2D()
    flat.srcMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_HOST
    flat.dstMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
    flat.srcHost, flat.dstDevice = memory.host, memory.device
    flat.srcPitch = flat.dstPitch = 1024
    flat.WidthInBytes, flat.Height = 1000, 512
    ok(driver.cuMemcpy2D(flat))


def managed(memory: Memory, _: Any) -> None:
    flags = driver.CUmemAttach_flags.CU_MEM_ATTACH_GLOBAL.value
    shared = ok(driver.cuMemAllocManaged(SIZE, flags))
    ctypes.memset(int(shared), 1, SIZE)
    ok(driver.cuMemcpyDtoD(memory.device, shared, SIZE))
    ok(driver.cuMemsetD8(shared, 0, SIZE))
    ok(driver.cuCtxSynchronize())
    ctypes.string_at(int(shared), 4096)
    ok(driver.cuMemFree(shared))


def pool(memory: Memory, device: Any) -> None:
    wanted = driver.CUmemPoolProps()
    wanted.allocType = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    wanted.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    wanted.location.id = int(device)
    own = ok(driver.cuMemPoolCreate(wanted))
    stream = memory.stream
    for size in (1000, SIZE, 32 * SIZE):
        first = ok(driver.cuMemAllocFromPoolAsync(size, own, stream))
        second = ok(driver.cuMemAllocAsync(size, stream))
        ok(driver.cuMemsetD8Async(first, 0, size, stream))
        ok(driver.cuMemcpyDtoDAsync(second, first, size, stream))
        ok(driver.cuMemFreeAsync(first, stream))
        ok(driver.cuMemFreeAsync(second, stream))
    ok(driver.cuStreamSynchronize(stream))
    ok(driver.cuMemPoolTrimTo(own, 0))
    ok(driver.cuMemPoolDestroy(own))


def batch(memory: Memory, _: Any) -> None:
    attributes = runtime.cudaMemcpyAttributes()
    attributes.srcAccessOrder = runtime.cudaMemcpySrcAccessOrder.cudaMemcpySrcAccessOrderStream
    sources = [memory.host, memory.more]
    targets = [int(memory.device), int(memory.other)]
    for _ in range(3):
        ok(
            runtime.cudaMemcpyBatchAsync(
                targets, sources, [SIZE, SIZE // 2], 2, [attributes], [0], 1, int(memory.stream)
            )
        )
    ok(driver.cuStreamSynchronize(memory.stream))


def cooperative(memory: Memory, _: Any) -> None:
    ok(
        driver.cuLaunchCooperativeKernel(
            memory.kernel, 16, 1, 1, 128, 1, 1, 0, memory.stream, memory.arguments
        )
    )
    ok(driver.cuStreamSynchronize(memory.stream))


def graph(memory: Memory, _: Any) -> None:
    """Two branches that join, replayed on two streams."""
    side = ok(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
    events = [ok(driver.cuEventCreate(0)) for _ in range(2)]
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    ok(driver.cuStreamBeginCapture(memory.stream, mode))
    ok(driver.cuMemsetD8Async(memory.device, 0, SIZE, memory.stream))
    ok(driver.cuEventRecord(events[0], memory.stream))
    ok(driver.cuStreamWaitEvent(side, events[0], 0))
    ok(driver.cuMemcpyHtoDAsync(memory.other, memory.host, SIZE, side))
    memory.launch(side, 256)
    ok(driver.cuEventRecord(events[1], side))
    for _ in range(3):
        memory.launch(memory.stream)
    ok(driver.cuStreamWaitEvent(memory.stream, events[1], 0))
    ok(driver.cuMemcpyDtoHAsync(memory.more, memory.other, SIZE, memory.stream))
    captured = ok(driver.cuStreamEndCapture(memory.stream))
    executable = ok(driver.cuGraphInstantiate(captured, 0))
    for _ in range(5):
        ok(driver.cuGraphLaunch(executable, memory.stream))
    ok(driver.cuGraphLaunch(executable, side))
    ok(driver.cuCtxSynchronize())


SECTIONS: tuple[Callable[[Memory, Any], None], ...] = (
    default_stream,
    arrays,
    memsets,
    copies,
    managed,
    pool,
    batch,
    cooperative,
    graph,
    green_context,
    second_context,
)


def main() -> None:
    ok(driver.cuInit(0))
    device = ok(driver.cuDeviceGet(0))
    ok(driver.cuCtxSetCurrent(ok(driver.cuDevicePrimaryCtxRetain(device))))
    memory = Memory()
    for section in SECTIONS:
        with nvtx.annotate(section.__name__):
            try:
                section(memory, device)
            except (RuntimeError, AttributeError, TypeError) as error:
                print(f"{section.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
    ok(driver.cuCtxSynchronize())


if __name__ == "__main__":
    main()
