"""What Triton's ``do_bench`` and the fixture ``benchmark`` are given, measured in their place.

``python -m pytest -s tests/gpu/test_adoption.py`` prints a line for each window: its kernel time,
what ``do_bench`` itself said of the same call, and their ratio, which is near 1 for kernels that
take far longer than a launch. Without pytest-benchmark, or matplotlib, which ``perf_report`` draws
with, those tests are skipped.
"""

from __future__ import annotations

import statistics

import pytest

from tests.gpu.harness import Project, metric

ADD = """
    import torch
    import triton
    import triton.language as tl
    from triton.testing import do_bench, do_bench_cudagraph

    @triton.autotune([triton.Config({"BLOCK": 1024}), triton.Config({"BLOCK": 2048})], key=["n"])
    @triton.jit
    def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < n
        tl.store(out + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)

    class Add:
        def __init__(self, n, dtype=torch.float32):
            self.n = n
            self.tensors = [torch.ones(n, device="cuda", dtype=dtype) for _ in range(3)]

        def __call__(self):
            grid = lambda meta: (triton.cdiv(self.n, meta["BLOCK"]),)
            add_kernel[grid](*self.tensors, self.n)
"""

DO_BENCH = (
    ADD
    + """
    LARGE, IN_CACHE = 1 << 26, 1 << 20

    def test_large(record_property):
        add = Add(LARGE)
        add()  # tunes it, by do_bench
        record_property("do_bench", do_bench(add))
        record_property("do_bench 2", do_bench(add, quantiles=[0.5, 0.2])[0])
        record_property("do_bench 3", do_bench_cudagraph(add))

    def test_cold(record_property):
        record_property("do_bench", do_bench(Add(IN_CACHE), return_mode="median"))

    def test_warm(nsys):
        nsys(Add(IN_CACHE))

    def test_gradients():
        x = torch.ones(LARGE, device="cuda", requires_grad=True)
        do_bench(lambda: x.sum().backward(), grad_to_none=[x])
        assert x.grad is not None

    def test_report():
        pytest.importorskip("matplotlib")
        report.run()

    @triton.testing.perf_report(triton.testing.Benchmark(
        x_names=["n"], x_vals=[1 << 24, 1 << 26], line_arg="provider",
        line_vals=["triton", "torch"], line_names=["Triton", "PyTorch"], plot_name="",
        args={"dtype": torch.float16},
    ))
    def report(n, provider, dtype):
        add = Add(n, dtype)
        x, y, out = add.tensors
        return do_bench(add if provider == "triton" else lambda: torch.add(x, y, out=out))
"""
)


def test_do_bench_measures_what_it_is_given(project: Project) -> None:
    (project.folder / "pytest.ini").write_text("[pytest]\nnsys_adopt = do_bench\n")
    project.write(DO_BENCH)
    run = project.measure()
    print(run["text"])
    tests = run["tests"]
    times = {
        (name, window["name"]): statistics.median(metric(test, "gpu.kernel_time", window["name"]))
        for name, test in tests.items()
        for window in test["windows"]
    }
    ratios = {}
    print(f"{'test':16} {'window':44} {'kernel time':>11} {'do_bench':>11} {'ratio':>5}")
    for (name, window), time in times.items():
        said = float(tests[name]["properties"].get(window, 0))
        told = ""
        if said:
            ratios[name, window] = time / (said * 1e6)
            told = f"{said * 1e3:8.1f} us {ratios[name, window]:5.2f}"
        print(f"{name:16} {window:44} {time / 1e3:8.1f} us {told}")
    assert run["code"] == 0, run["text"]
    for name, window in times:
        if name == "test_gradients":
            continue
        # Neither what flushes the cache nor what tunes the kernel is in a window.
        assert set(metric(tests[name], "gpu.kernel_count", window)) == {1}, (name, window)
        assert set(metric(tests[name], "sync.count", window)) == {0}, (name, window)
        assert set(metric(tests[name], "mem.peak", window)) == {0}, (name, window)
    assert [window for name, window in times if name == "test_large"] == [
        *("do_bench", "do_bench 2", "do_bench 3")
    ]
    for window in ("do_bench", "do_bench 2", "do_bench 3"):
        assert 0.8 < ratios["test_large", window] < 1.1, window
    # Its 12 MiB fit into the cache, which do_bench empties.
    assert times["test_cold", "do_bench"] > 1.1 * times["test_warm", "test"]
    points = [window for name, window in times if name == "test_report"]
    if points:
        assert points == [
            f"n={n}, provider={provider}, dtype=torch.float16"
            for n in (1 << 24, 1 << 26)
            for provider in ("triton", "torch")
        ]


def test_what_the_fixture_is_given_is_measured(project: Project) -> None:
    pytest.importorskip("pytest_benchmark")
    (project.folder / "pytest.ini").write_text("[pytest]\nnsys_adopt = benchmark\n")
    (project.folder / "test_it.py").write_text(
        """
import torch

def test_call(benchmark):
    x = torch.randn(4096, 4096, device="cuda")
    benchmark(torch.nn.functional.gelu, x)

def test_pedantic(benchmark):
    def setup():
        return (torch.randn(4096, 4096, device="cuda"),), {}
    benchmark.pedantic(torch.nn.functional.gelu, setup=setup, rounds=3)
    benchmark.extra_info["mean_s"] = benchmark.stats.stats.mean
"""
    )
    run = project.measure()
    print(run["text"])
    assert run["code"] == 0, run["text"]
    for name in ("test_call", "test_pedantic"):
        assert set(metric(run["tests"][name], "gpu.kernel_count")) == {1}, name
        assert set(metric(run["tests"][name], "sync.count")) == {0}, name
    assert float(run["tests"]["test_pedantic"]["properties"]["extra_info.mean_s"]) > 0
