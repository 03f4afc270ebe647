"""Which calls of CUDA are recorded: those that nsys records, as far as captures have shown.

nsys leaves frequent calls out that do nothing on a device (cudaGetDevice, cudaGetLastError), unless
it is started with ``--cuda-trace-all-apis=true``. CUPTI records whatever it is asked for: of a
matrix product in PyTorch 18 calls, of which nsys has 4. So what is asked for is this list: every
function that captures of nsys 2022 to 2025 have shown, and those of its kind.
"""

from __future__ import annotations

import re

from pytest_nsys.cuda.names import api_name

_FAMILIES = (
    # Work, memory, and graphs.
    r"cuda(Launch|Memcpy|Memset|Malloc|Free|Graph)\w*",
    r"cu(Launch|Memcpy|Memset|Graph|GreenCtx|Array(Create|Destroy))\w*",
    r"cudaHost(Alloc|Register|Unregister)",
    r"cudaMem(Pool|Prefetch|Advise)\w*|cudaMemGetInfo|cudaDevice(Get|Set|GetDefault)MemPool",
    r"cuMem(Alloc|Free|Host|Create|Release|Map|Unmap|SetAccess|Address|Pool|Prefetch|Advise)\w*",
    r"cuMem(GetInfo|GetAllocationGranularity|RetainAllocationHandle|(Ex|Im)port\w*)",
    # Waiting, and what is waited for.
    r"cu(da)?(Ctx|Device|Thread|ExecutionCtx)Synchronize",
    r"cu(da)?Event(Create|Destroy|Record|Query|Synchronize)\w*",
    r"cu(da)?Stream(Create|Destroy|Synchronize|Query|WaitEvent|BeginCapture|EndCapture)\w*",
    r"cu(da)?Stream(GetCaptureInfo|IsCapturing|AddCallback|AttachMemAsync)\w*",
    r"cudaThreadExchangeStreamCaptureMode",
    # Code that is loaded, and what is asked of it.
    r"cu(da)?(Module|Library|Kernel)\w*",
    r"cudaGetFuncBySymbol|cudaGetDriverEntryPoint\w*|cuGetProcAddress",
    r"cu(da)?Occupancy(AvailableDynamicSMemPerBlock|MaxActiveClusters)",
    # The process as a whole.
    r"cuInit|cuCtx(Create|Destroy|SetCurrent)\w*|cudaGetDeviceProperties",
    r"cuDev(iceGetDevResource|ResourceGenerateDesc|SmResourceSplitByCount)",
    r"cu(da)?Profiler(Start|Stop)",
)
_RECORDED = re.compile("|".join(_FAMILIES))


def is_recorded(raw: str) -> bool:
    """Whether nsys records the function, by its raw name."""
    return _RECORDED.fullmatch(api_name(raw)) is not None
