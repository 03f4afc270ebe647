"""Known GPU work, measured: every count and byte must be what the program did."""

from __future__ import annotations

import pytest

from tests.gpu.harness import Project, metric

TORCH = """
    import torch
    N = 1 << 20
"""


def test_counts_and_bytes_are_what_the_program_did(project: Project) -> None:
    project.write(
        TORCH
        + """
    @pytest.fixture(scope="module")
    def x():
        return torch.ones(N, device="cuda")

    def test_kernels(x):
        for _ in range(10):
            x.mul_(1.0)

    def test_copies(x):
        host = torch.empty(N, dtype=torch.uint8)
        host.to("cuda")
        x[:256].cpu()

    def test_pinned(x):
        host = torch.empty(N, dtype=torch.uint8, pin_memory=True)
        host.to("cuda", non_blocking=True)

    def test_syncs(x):
        for _ in range(3):
            torch.cuda.synchronize()
        torch.cuda.current_stream().synchronize()
        event = torch.cuda.Event()
        event.record()
        event.synchronize()

    def test_waits_between_streams_do_not_block(x):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            x.mul_(1.0)

    def test_memory(x):
        block = torch.empty(64 << 20, dtype=torch.uint8, device="cuda")
        del block
    """
    )
    run = project.measure()
    tests = run["tests"]
    assert run["code"] == 0, run["text"]
    assert metric(tests["test_kernels"], "gpu.kernel_count") == [10] * 5
    assert metric(tests["test_kernels"], "sync.count") == [0] * 5
    assert metric(tests["test_copies"], "memcpy.h2d.bytes") == [1 << 20] * 5
    assert metric(tests["test_copies"], "memcpy.h2d.count") == [1] * 5
    assert metric(tests["test_copies"], "memcpy.d2h.bytes") == [1024] * 5
    assert metric(tests["test_copies"], "memcpy.pageable") == [2] * 5
    assert metric(tests["test_pinned"], "memcpy.pageable") == [0] * 5
    assert metric(tests["test_syncs"], "sync.count") == [5] * 5
    waits = tests["test_waits_between_streams_do_not_block"]
    assert metric(waits, "sync.count") == [0] * 5
    assert metric(tests["test_memory"], "mem.peak") == [64 << 20]


def test_work_of_other_threads_and_processes_counts(project: Project) -> None:
    project.write(
        TORCH
        + """
    import subprocess, sys, threading

    CHILD = "; ".join([
        "import torch",
        "x = torch.ones(64, device='cuda')",
        "[x.mul_(1) for _ in range(7)]",
        "torch.cuda.synchronize()",
    ])

    @pytest.fixture
    def layer():
        return torch.nn.Linear(64, 64, device="cuda")

    def test_autograd(layer, nsys):
        x = torch.ones(8, 64, device="cuda")
        with nsys.range("forward"):
            loss = layer(x).sum()
        with nsys.range("backward"):
            loss.backward()

    def test_threads():
        x = torch.ones(64, device="cuda")
        def work():
            for _ in range(5):
                x.mul_(1.0)
        threads = [threading.Thread(target=work) for _ in range(3)]
        [t.start() for t in threads]
        [t.join() for t in threads]

    @pytest.mark.nsys(rounds=2, warmup=0)
    def test_child():
        subprocess.run([sys.executable, "-c", CHILD], check=True)
    """
    )
    run = project.measure()
    tests = run["tests"]
    assert run["code"] == 0, run["text"]
    assert min(metric(tests["test_autograd"], "gpu.kernel_count", "backward")) >= 2
    total = metric(tests["test_autograd"], "gpu.kernel_count")
    forward = metric(tests["test_autograd"], "gpu.kernel_count", "forward")
    backward = metric(tests["test_autograd"], "gpu.kernel_count", "backward")
    assert [f + b + 1 for f, b in zip(forward, backward, strict=True)] == total
    assert metric(tests["test_threads"], "gpu.kernel_count") == [16] * 5
    assert metric(tests["test_child"], "gpu.kernel_count") == [8] * 2


def test_kernels_of_a_cuda_graph_belong_to_its_launch(project: Project) -> None:
    project.write(
        TORCH
        + """
    def test_graph(nsys):
        x = torch.ones(N, device="cuda")
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(6):
                x.mul_(1.0)
        nsys(lambda: [graph.replay() for _ in range(4)])
    """
    )
    run = project.measure()
    test = run["tests"]["test_graph"]
    assert run["code"] == 0, run["text"]
    assert metric(test, "gpu.kernel_count") == [24] * 5
    assert metric(test, "graph.launches") == [4] * 5


def test_memory_does_not_depend_on_the_tests_before(project: Project) -> None:
    project.write(
        TORCH
        + """
    def work():
        a = torch.randn(2048, 2048, device="cuda", dtype=torch.float16)
        return (a @ a).sum()

    def test_first():
        work()

    def test_second():
        work()
    """
    )
    both = project.measure()["tests"]
    alone = project.measure("test_it.py::test_second")["tests"]
    peaks = [metric(t, "mem.peak")[0] for t in (both["test_first"], both["test_second"])]
    peaks += metric(alone["test_second"], "mem.peak")
    assert max(peaks) - min(peaks) < 2 << 20, peaks


def test_memory_does_not_depend_on_who_used_cublas_first(project: Project) -> None:
    project.write(
        """
    import torch

    def step():
        # The float32 values leave a free block of 64 MiB behind, which a half has a part of.
        a, b = (torch.randn(4096, 4096, device="cuda").half() for _ in range(2))
        return lambda: (a @ b).sum()

    def test_first(nsys):
        nsys(step())

    def test_second(nsys):
        nsys(step())

    def test_third(nsys):
        nsys(step())
    """
    )
    run = project.measure()
    assert run["code"] == 0, run["text"]
    peaks = {name: metric(test, "mem.peak") for name, test in run["tests"].items()}
    assert len(peaks) == 3
    assert len(set(map(tuple, peaks.values()))) == 1, peaks


def test_memory_of_cupy_does_not_depend_on_the_tests_before(project: Project) -> None:
    project.write(
        """
    import cupy

    def test_first():
        holder = [cupy.ones(64 << 20, dtype=cupy.uint8)]
        holder.append(holder)

    def test_second():
        x = cupy.ones(24 << 20, dtype=cupy.uint8)
        (x + x).sum()
    """
    )
    both = project.measure()["tests"]["test_second"]
    alone = project.measure("test_it.py::test_second")["tests"]["test_second"]
    assert metric(both, "mem.peak") == metric(alone, "mem.peak")
    assert metric(alone, "mem.peak")[0] >= 48 << 20


@pytest.mark.parametrize("allocator", ["default", "platform", "cuda_async"])
def test_memory_of_jax_does_not_depend_on_the_tests_before(
    project: Project, allocator: str
) -> None:
    project.write(
        f"""
    import os
    os.environ["XLA_PYTHON_CLIENT_ALLOCATOR"] = "{allocator}"
    import jax
    import numpy as np

    double = jax.jit(lambda x: x + x)
    LARGE, SMALL = (np.ones(mib << 18, dtype=np.float32) for mib in (64, 24))

    def test_first():
        holder = [double(jax.device_put(LARGE)).block_until_ready()]
        holder.append(holder)

    def test_second():
        double(jax.device_put(SMALL)).block_until_ready()
    """
    )
    first = project.measure()
    both = first["tests"]["test_second"]
    alone = project.measure("test_it.py::test_second")["tests"]["test_second"]
    assert first["code"] == 0, first["text"]
    assert metric(both, "mem.peak") == metric(alone, "mem.peak")
    if allocator == "cuda_async":
        assert metric(alone, "mem.peak")[0] >= 48 << 20
    if allocator == "default":
        # All it will ever use was reserved in the warm-up: nothing is allocated in the rounds.
        assert metric(alone, "mem.peak") == [0]


def test_a_recorded_project_passes_and_each_slip_fails_with_its_culprit(project: Project) -> None:
    body = (
        TORCH
        + """
    def test_it():
        x = torch.ones(64 << 20, device="cuda")
        for _ in range(SCALES):
            x.mul_(1.0)
        if COPIES:
            torch.ones(1 << 20).to("cuda")
        if SYNC:
            torch.cuda.synchronize()
        if MEMORY:
            torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    """
    )
    plain = {"SCALES": "10", "COPIES": "0", "SYNC": "0", "MEMORY": "0"}

    def write(**change: str) -> None:
        text = body
        for name, value in {**plain, **change}.items():
            text = text.replace(name, value)
        project.write(text)

    write()
    assert project.run("--nsys-update").returncode == 0
    again = project.run("--nsys-baseline")
    assert again.returncode == 0, again.stdout
    for change, culprit in (
        ({"SCALES": "11"}, "gpu.kernel_count"),
        ({"COPIES": "1"}, "memcpy.h2d"),
        ({"SYNC": "1"}, "sync.count +1, limit 0: cudaDeviceSynchronize"),
        ({"MEMORY": "1"}, "mem.peak"),
    ):
        write(**change)
        done = project.run("--nsys-baseline")
        assert done.returncode == 1, done.stdout
        assert culprit in done.stdout, done.stdout


def test_cupy_and_the_driver_api(project: Project) -> None:
    project.write(
        """
    import ctypes
    import cupy

    def test_cupy():
        x = cupy.ones(1 << 20, dtype=cupy.float32)
        x *= 2
        cupy.cuda.Device().synchronize()

    def test_driver():
        cuda = ctypes.CDLL("libcuda.so.1")
        assert cuda.cuInit(0) == 0
        context, pointer = ctypes.c_void_p(), ctypes.c_uint64()
        assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
        assert cuda.cuCtxSetCurrent(context) == 0
        assert cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(32 << 20)) == 0
        host = (ctypes.c_char * 4096)()
        assert cuda.cuMemcpyHtoD_v2(pointer, host, ctypes.c_size_t(4096)) == 0
        assert cuda.cuCtxSynchronize() == 0
        assert cuda.cuMemFree_v2(pointer) == 0
        assert cuda.cuDevicePrimaryCtxRelease_v2(0) == 0
    """
    )
    run = project.measure()
    tests = run["tests"]
    assert run["code"] == 0, run["text"]
    assert metric(tests["test_cupy"], "gpu.kernel_count") == [2] * 5
    assert metric(tests["test_cupy"], "sync.count") == [1] * 5
    assert metric(tests["test_driver"], "memcpy.h2d.bytes") == [4096] * 5
    assert metric(tests["test_driver"], "sync.count") == [1] * 5
    assert metric(tests["test_driver"], "mem.peak") == [32 << 20]


def test_a_test_that_uses_no_gpu_fails_unless_it_says_so(project: Project) -> None:
    project.write(
        TORCH
        + """
    def test_gpu():
        torch.ones(4, device="cuda")

    def test_none():
        pass

    @pytest.mark.nsys(allow_empty=True)
    def test_said():
        pass
    """
    )
    run = project.measure()
    assert run["tests"]["test_none"]["failed"]
    assert not run["tests"]["test_said"]["failed"]
    assert not run["tests"]["test_gpu"]["failed"]


def test_a_dead_worker_costs_one_test(project: Project) -> None:
    project.write(
        TORCH
        + """
    import os, signal

    def test_before():
        torch.ones(4, device="cuda")

    def test_dies():
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_after():
        torch.ones(4, device="cuda")
    """
    )
    run = project.measure()
    assert run["code"] == 1
    assert set(run["tests"]) == {"test_before", "test_after"}, run["text"]
    assert "1 failed, 2 passed" in run["text"]
    assert "SIGSEGV" in run["text"]
