"""Tests of a user's project, as they are written for the plugin."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_nsys import (
    Finished,
    Nsys,
    NsysError,
    NsysRun,
    NsysServer,
    errors,
    synthetic,
    synthetic_text,
)

if TYPE_CHECKING:
    from pytest_nsys import (
        Exchange,
        LoadResult,
        Part,
        Parts,
        Prompt,
        Server,
        Window,
        WindowMeasurement,
    )


def two_products(measured: WindowMeasurement) -> bool:
    kernels: Parts = measured.kernels
    first: Part = kernels.parts[0]
    return kernels.count("gemm*") == 2 and first.ns < measured["gpu.busy"]


@pytest.mark.nsys(check=two_products, tolerance={"ours.longest": "10%"})
def test_decode(nsys: Nsys) -> None:
    with nsys.range("prefill"):
        total: int = nsys(sum, [1, 2])
    nsys.units(tokens=256)
    assert total == 3
    assert not nsys.active


def test_command(nsys_run: NsysRun) -> None:
    done: Finished = nsys_run([sys.executable, "-c", "print(3)"])
    assert done.printed.strip() == "3"
    with pytest.raises(errors.CommandFailed) as caught:
        nsys_run([sys.executable, "-c", "raise SystemExit(2)"])
    error: NsysError = caught.value
    assert error.remedy


def test_prompts() -> None:
    prompts: tuple[Prompt, ...] = synthetic(tokens=8, count=2)
    assert len(synthetic_text(tokens=8, count=2)) == len(prompts)
    with pytest.raises(errors.PromptsError):
        synthetic(tokens=0, count=2)


@pytest.fixture(scope="module")
def server(nsys_server: NsysServer) -> Server:
    if shutil.which("our-server") is None:
        pytest.skip("needs our-server")
    ours: Server = nsys_server.ours("model", args=["--small"], scope="module")
    ours.warm_up(3)
    return ours


def test_serving(server: Server) -> None:
    with server.window("concurrency-8", concurrency=8, requests=64) as window:
        results: list[LoadResult] = send(window)
    exchanges: tuple[Exchange, ...] = results[0].exchanges
    assert all(exchange.ok for exchange in exchanges)


def send(window: Window) -> list[LoadResult]:
    return window.load(synthetic_text(tokens=64, count=16), max_tokens=32)
