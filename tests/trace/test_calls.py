"""What CUDA API functions are called, and what they do."""

from __future__ import annotations

import pytest

from pytest_nsys.cuda.names import api_name
from pytest_nsys.trace.calls import CallClass, blocks, call_class


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("cudaLaunchKernel_v7000", "cudaLaunchKernel"),
        ("cudaLaunchKernel_ptsz_v7000", "cudaLaunchKernel"),
        ("cudaMemcpy_ptds_v7000", "cudaMemcpy"),
        ("cuGetProcAddress_v2", "cuGetProcAddress"),
        ("cudaStreamSynchronize", "cudaStreamSynchronize"),
        ("cudaVDPAUGetDevice_v3020", "cudaVDPAUGetDevice"),
        ("cudaGetDriverEntryPointByVersion_v12050", "cudaGetDriverEntryPointByVersion"),
    ],
)
def test_an_api_functions_name_is_without_version_and_stream_suffix(raw: str, name: str) -> None:
    assert api_name(raw) == name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cudaDeviceSynchronize_v3020", CallClass.SYNC),
        ("cudaStreamSynchronize_ptsz_v7000", CallClass.SYNC),
        ("cudaThreadSynchronize_v3020", CallClass.SYNC),
        ("cudaExecutionCtxSynchronize_v13010", CallClass.SYNC),
        ("cuCtxSynchronize", CallClass.SYNC),
        ("cuCtxSynchronize_v2", CallClass.SYNC),
        ("cuStreamSynchronize_ptsz", CallClass.SYNC),
        ("cuEventSynchronize", CallClass.SYNC),
        ("cuStreamWaitEvent_ptsz", CallClass.OTHER),
        ("cudaMemcpy_v3020", CallClass.COPY),
        ("cudaMemcpyToSymbol_v3020", CallClass.COPY),
        ("cuMemcpyDtoH_v2", CallClass.COPY),
        ("cudaMemcpyAsync_v3020", CallClass.ASYNC_COPY),
        ("cuMemcpyHtoDAsync_v2", CallClass.ASYNC_COPY),
        ("cudaMemcpyPeerAsync_v4000", CallClass.ASYNC_COPY),
        ("cudaMemcpyBatchAsync_v12080", CallClass.ASYNC_COPY),
        ("cudaMemset_v3020", CallClass.MEMSET),
        ("cuMemsetD32_v2", CallClass.MEMSET),
        ("cudaMemsetAsync_v3020", CallClass.OTHER),
        ("cudaMalloc_v3020", CallClass.ALLOCATION),
        ("cudaMallocManaged_v6000", CallClass.ALLOCATION),
        ("cudaFree_v3020", CallClass.ALLOCATION),
        ("cudaFreeHost_v3020", CallClass.ALLOCATION),
        ("cudaHostAlloc_v3020", CallClass.ALLOCATION),
        ("cuMemAlloc_v2", CallClass.ALLOCATION),
        ("cuMemFree_v2", CallClass.ALLOCATION),
        ("cuMemCreate", CallClass.ALLOCATION),
        ("cuMemHostAlloc", CallClass.ALLOCATION),
        ("cudaMallocAsync_v11020", CallClass.OTHER),
        ("cudaFreeAsync_v11020", CallClass.OTHER),
        ("cuMemAllocAsync", CallClass.OTHER),
        ("cuMemAllocFromPoolAsync", CallClass.OTHER),
        ("cuMemGetInfo_v2", CallClass.OTHER),
        ("cuLibraryLoadData", CallClass.LOADING),
        ("cuModuleLoadData", CallClass.LOADING),
        ("cuKernelGetFunction", CallClass.LOADING),
        ("cudaLaunchKernel_v7000", CallClass.OTHER),
        ("cudaEventSynchronize_v3020", CallClass.SYNC),
        ("cudaEventQuery_v3020", CallClass.OTHER),
        ("cudaGraphAddMemcpyNode_v10000", CallClass.OTHER),
        ("", CallClass.OTHER),
    ],
)
def test_classes_of_api_functions(name: str, kind: CallClass) -> None:
    assert call_class(name) == kind
    assert blocks(name) == (kind is CallClass.SYNC)
