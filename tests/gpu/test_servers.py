"""Servers on real GPUs: nsys's start and stop, the engine's own profiler, attaching, two ranks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pytest_nsys.servers.engines.http import get
from pytest_nsys.servers.engines.ports import free_port
from tests.gpu.engine_app import LAYERS
from tests.gpu.harness import Project, metric

APP = Path(__file__).parent / "engine_app.py"
SERVING = f"""
import sys
from pytest_nsys.servers.engines.preset import Endpoint, ProfileEndpoints

COMMAND = [sys.executable, {str(APP)!r}, "--port", "{{port}}"]
OWN = ProfileEndpoints(Endpoint("/start_profile"), Endpoint("/stop_profile"))

def load(server):
    server.warm_up(2)
    for name, clients in (("one", 1), ("two", 2)):
        with server.window(
            name, concurrency=clients, requests=4, max_tokens=8, rounds=2
        ) as window:
            window.load(["x"] * 4)
"""
TOKENS = 4 * 8


def test_windows_of_start_and_stop_and_of_the_engines_own_profiler_see_the_same(
    project: Project,
) -> None:
    project.write(
        SERVING
        + """
def test_nsys(nsys_server):
    load(nsys_server(COMMAND, model="tiny"))

def test_own(nsys_server):
    load(nsys_server(COMMAND, model="tiny", profile=OWN))
"""
    )
    run = project.measure()
    assert run["code"] == 0, run["text"]
    for name in ("test_nsys", "test_own"):
        for window in ("one", "two"):
            test = run["tests"][name]
            assert metric(test, "gpu.kernel_count", window) == [TOKENS * LAYERS] * 2
            assert metric(test, "client.output_tokens", window) == [TOKENS] * 2
            for ns in metric(test, "gpu.kernel_time.per_token", window):
                assert 0.5e5 * LAYERS < ns < 5e5 * LAYERS


def test_a_server_that_nsys_launch_has_started_is_measured_and_goes_on(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port("127.0.0.1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # sessions of nsys are of one TMPDIR
    project.write(
        SERVING
        + f"""
def test_attached(nsys_server):
    load(nsys_server.attach("http://127.0.0.1:{port}", session="served"))
"""
    )
    launch = ["nsys", "launch", "--session-new=served", "--trace=cuda,nvtx"]
    command = [*launch, sys.executable, str(APP), "--port", str(port)]
    with subprocess.Popen(command, start_new_session=True) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}", server)
            for _ in range(2):
                run = project.measure()
                assert run["code"] == 0, run["text"]
                for window in ("one", "two"):
                    count = metric(run["tests"]["test_attached"], "gpu.kernel_count", window)
                    assert count == [TOKENS * LAYERS] * 2
                assert server.poll() is None
        finally:
            subprocess.run(
                ["nsys", "shutdown", "--session=served", "--kill=sigkill"], timeout=60, check=False
            )
            server.wait(60)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU, and this is about two")
def test_the_rank_that_computes_for_longer_is_seen_although_all_wait_for_it(
    project: Project,
) -> None:
    project.write(
        SERVING
        + """
def test_even(nsys_server):
    load(nsys_server([*COMMAND, "--ranks=2"], model="tiny"))

def test_slow(nsys_server):
    load(nsys_server([*COMMAND, "--ranks=2", "--slow=1.5"], model="tiny"))

def test_own(nsys_server):
    load(nsys_server([*COMMAND, "--ranks=2", "--slow=1.5"], model="tiny", profile=OWN))
"""
    )
    run = project.measure()
    assert run["code"] == 0, run["text"]
    for name, test in run["tests"].items():
        for window in ("one", "two"):
            skew = metric(test, "process.skew_pct", window)
            assert metric(test, "gpu.kernel_count", window) == [2 * 2 * LAYERS * TOKENS] * 2
            assert metric(test, "process.count", window) == [2, 2]
            if name == "test_even":
                assert max(skew) < 3
            else:
                # 1.5 times as long: 1.5 / 1.25 - 1 above the mean.
                assert skew == pytest.approx([20, 20], abs=3)


def _wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not get(url, "/health", 5.0).ok:
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() < deadline, f"no answer from {url}"
        time.sleep(0.2)
