"""Patterns that can never match are refused, and those that may are not."""

from __future__ import annotations

import re

import pytest

from pytest_nsys.cuda.names import functions
from pytest_nsys.errors import SettingsError, UnknownMetric
from pytest_nsys.plan.patterns import instead_of, known_metric
from pytest_nsys.plan.settings import read_tolerances
from tests.support.known_names import KNOWN


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        ("cudaStreamSyncronize", "cudaStreamSynchronize"),
        ("cudaStreamSyncronize*", "cudaStreamSynchronize*"),
        ("cudaDeviceSynchronise", "cudaDeviceSynchronize"),
        ("*Syncronize*", "*Synchronize*"),
        ("cudaMaloc*", "cudaMalloc*"),
        ("cudaMallocs", "cudaMalloc"),
        ("cuMemAlocAsync", "cuMemAllocAsync"),
        ("cudamalloc", "cudaMalloc"),
        ("CUDAMALLOC*", "cudaMalloc*"),
        ("StreamSynchronize", "cudaStreamSynchronize"),
        ("StreamSynchroniz*", ""),
        ("DeviceSync*", "cudaDeviceSynchronize*"),
        ("memcpy HtoD", "*memcpy*HtoD*"),
        ("[CUDA memcpy HtoD]", "*memcpy*HtoD*"),
        ("CUDA memcpy DtoH", "*memcpy*DtoH*"),
        ("*memcpy*htod*", "*memcpy*HtoD*"),
        ("memcopy HtoD", "*memcpy*HtoD*"),
        ("memcpy HotD", "*memcpy*HtoD*"),
        ("HtoD", "*memcpy*HtoD*"),
        ("Device-to-Host", "*memcpy*DtoH*"),
        ("h2d", "*memcpy*HtoD*"),
        ("*p2p", "*memcpy*PtoP*"),
        ("memcpy", "*memcpy*"),
        ("[CUDA memset]", "*memset*"),
        ("cudaMemcpyAsync ", "cudaMemcpyAsync"),
        (" cudaMemcpyAsyn", "cudaMemcpyAsyn*"),
        ("h2d ", "*memcpy*HtoD*"),
        ("gemm* ", "gemm*"),
        ("cudaDeviceSync", "cudaDeviceSync*"),
        ("cuMemcpyHto", "cuMemcpyHto*"),
        ("cuda*Sync", "cuda*Sync*"),
        ("cudaMalloc()", "cudaMalloc"),
        ("cudaMalloc(void**, size_t)", "cudaMalloc"),
        ("*cudaMemcopy*", "*cudaMemcpy*"),
        ("[abc", "[abc]"),
        ("*HtoD", "*memcpy*HtoD*"),
    ],
)
def test_a_near_miss_of_a_function_or_copy_is_found(pattern: str, instead: str) -> None:
    assert instead_of(pattern) == (repr(instead) if instead else "")
    if instead:
        assert instead_of(instead) == "", "what is suggested is accepted"


@pytest.mark.parametrize(
    "pattern",
    [
        "cudaStreamSynchronize",
        "cudaMalloc*",
        "cuMemAlloc_v2",
        "cudaLaunchKernel_v7000",
        "cudaMemcpyAsync_ptsz*",
        "*Memcpy*",
        "[cC]uda*",
        "Cuda*",
        "*memcpy*HtoD*",
        "*DtoH*",
        "*memset*",
        "h2d *",
        "h2d 4 KiB pageable",
        "unified h2d *",
        "memset 2 KiB",
        "flash_fwd*",
        "*gemm*",
        "RING*",
        "cudnn*",
        "cudapy*",
        "cuda_fused_kernel",
        "cudaGraphOfTomorrow",
        "cudaGraphNodeSetNodes",
        "",
        "*",
    ],
)
def test_what_may_match_is_left_alone(pattern: str) -> None:
    assert instead_of(pattern) == ""


def test_no_name_of_a_kernel_is_taken_for_a_mistake() -> None:
    names = {name for known in KNOWN for name in (known.raw, known.canonical)}
    words = {word for name in names for word in re.findall(r"[A-Za-z][A-Za-z0-9]{7,}", name)}
    patterns = [name.replace("[", "?") for name in sorted(names)[::7]]
    patterns += [f"*{word}*" for word in sorted(words)]
    assert len(patterns) > 300
    assert {pattern: instead_of(pattern) for pattern in patterns if instead_of(pattern)} == {}


def test_every_function_is_accepted_and_no_list_says_one_twice() -> None:
    assert len(set(functions())) == len(functions()) > 800
    assert list(functions()) == sorted(functions())
    assert all(re.fullmatch(r"cu(da)?[A-Z]\w+", name, re.ASCII) for name in functions())
    assert not any(re.search(r"_(v\d+|ptsz|ptds)", name) for name in functions())


@pytest.mark.parametrize(
    ("key", "what", "instead"),
    [
        ("kernel[cudaMalloc].count", "kernel", "api[cudaMalloc].count"),
        ("kernel[cudaStreamSyncronize].time", "kernel", "api[cudaStreamSynchronize].count"),
        ("kernel[memcpy HtoD].time", "kernel", "memcpy.h2d.time"),
        ("kernel[h2d *].count", "kernel", "memcpy.h2d.count"),
        ("api[cuda*Sync].count", "CUDA function", "'cuda*Sync*'"),
        ("api[cudaMalloc ].count", "CUDA function", "'cudaMalloc'"),
        ("category[attn].time", "category", "'attention'"),
        ("category[attn*].time", "category", "'attention'"),
        ("api[cudaMaloc].count", "CUDA function", "'cudaMalloc'"),
        ("api[Malloc].count.per_token", "CUDA function", "'*Malloc'"),
        ("api[memcpy DtoH].count", "CUDA function", "memcpy.d2h.count"),
        ("category[gem].time", "category", "'gemm'"),
        ("category[GEMM].time", "category", "'gemm'"),
        ("range[x].api[cudaMaloc].count", "CUDA function", "'cudaMalloc'"),
    ],
)
def test_a_pattern_in_a_metric_is_looked_at_too(key: str, what: str, instead: str) -> None:
    with pytest.raises(UnknownMetric, match=rf"never matches: no {what} is called") as caught:
        known_metric(key)
    assert caught.value.remedy == f"did you mean {instead}?"
    with pytest.raises(SettingsError, match="never matches"):
        read_tolerances([f"{key}=3%"])


@pytest.mark.parametrize(
    "key",
    [
        "gpu.kernel_time",
        "kernel[gemm*].time",
        "kernel[*memcpy*].time",
        "kernel[cuda*].time",
        "api[*Synchronize].count",
        "api[cudaOfTomorrow].count",
        "category[gemm].time",
        "category[*m*].time",
        "category[mine].time",
        "range[fwd].kernel[gemm*].count",
    ],
)
def test_a_pattern_in_a_metric_that_may_match_is_left_alone(key: str) -> None:
    assert known_metric(key).key == key
