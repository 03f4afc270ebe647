"""The gate: what fails, what does not, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_nsys.catalogue import METRICS
from tests.support.harness import Project

# For each metric that is gated by default: the work of a round then and now, and the headline.
WORSE = {
    "gpu.kernel_time": (
        'simgpu.launch("gemm", 400)',
        'simgpu.launch("gemm", 500)',
        "gpu.kernel_time +25.0%, limit 3% or 5 us: gemm +100 us (1x); 400 us -> 500 us",
    ),
    "gpu.kernel_count": (
        'simgpu.launch("gemm", 9)',
        'simgpu.launch("gemm", 5); simgpu.launch("cast", 4)',
        "gpu.kernel_count +1*: cast +1 (0 -> 1); 1 -> 2",
    ),
    "memcpy.h2d.bytes": (
        'simgpu.copy("h2d", 1 << 20)',
        'simgpu.copy("h2d", 3 << 20)',
        "memcpy.h2d.bytes +200%*: h2d * (new, 1x); 1 MiB -> 3 MiB",
    ),
    "memcpy.h2d.count": (
        'simgpu.copy("h2d", 2048)',
        'simgpu.copy("h2d", 1024); simgpu.copy("h2d", 1024)',
        "memcpy.h2d.count +1*: h2d *; 1 -> 2",
    ),
    "memcpy.d2h.bytes": (
        'simgpu.copy("d2h", 1 << 20)',
        'simgpu.copy("d2h", 2 << 20, pageable=True)',
        "memcpy.d2h.bytes +100%*: d2h *; 1 MiB -> 2",
    ),
    "memcpy.d2h.count": (
        'simgpu.copy("d2h", 2048)',
        'simgpu.copy("d2h", 1024); simgpu.copy("d2h", 1024)',
        "memcpy.d2h.count +1*: d2h *; 1 -> 2",
    ),
    "sync.count": (
        "simgpu.synchronize()",
        'simgpu.synchronize(); simgpu.synchronize("stream")',
        "sync.count +1*: cudaStreamSynchronize +1 (0 -> 1); 1 -> 2",
    ),
    "mem.peak": (
        "simgpu.free(simgpu.malloc(64 << 20))",
        "simgpu.free(simgpu.malloc(128 << 20))",
        "mem.peak +100%, limit 2% or 16 MiB: *; 64 MiB -> 128",
    ),
}
CASES = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=2, warmup=0)
    class TestCases:
"""


def cases(number: int) -> str:
    """A module with one test for each metric, as it was (0) or as it has become (1)."""
    lines = [CASES]
    for key, texts in WORSE.items():
        lines.append(f"        def test_{key.replace('.', '_')}(self):")
        lines += ['            simgpu.launch("k", 10)'] * ("kernel" not in key)
        lines.append(f"            {texts[number]}\n")
    return "\n".join(lines)


def test_each_default_metric_fails_with_its_culprit_and_passes_when_it_gets_better(
    simulated: Project,
) -> None:
    assert {metric.key for metric in METRICS if metric.gated} == set(WORSE)
    simulated.write(cases(0))
    simulated.run("--nsys-update").assert_outcomes(passed=8)
    simulated.write(cases(1))
    # What got worse fails both in the gate and in a plain profile.
    result = simulated.run("--nsys")
    result.assert_outcomes(failed=8)
    assert result.ret == 1
    for key, (_, _, headline) in WORSE.items():
        result.stdout.fnmatch_lines([f"_* TestCases.test_{key.replace('.', '_')} _*", headline])
    result.stdout.fnmatch_lines(["*= nsys summary =*", "8 regressed"])

    simulated.run("--nsys-update").stdout.fnmatch_lines(
        [
            "updated test_it.py::TestCases::test_gpu_kernel_time",
            "  gpu.kernel_time 400 us -> 500 us (+25.0%)",
            "updated test_it.py::TestCases::test_mem_peak",
            "  mem.peak 64 MiB -> 128 MiB (+100*%)",
        ]
    )
    simulated.write(cases(0))
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["8 improved"])
    assert (
        "400 us"
        not in (
            simulated.path / "baselines/nvidia-h200/test_it.py/TestCases.test_gpu_kernel_time.json"
        ).read_text()
    )


TOLERANCES = """
    import pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

    def body():
        simgpu.launch("gemm", {gemm})
        simgpu.launch("relu", 100)
        simgpu.copy("h2d", {bytes})

    @pytest.mark.nsys(tolerance={{"gpu.kernel_time": "3%", "memcpy.h2d.bytes": "60%"}})
    def test_relative_too_small(): body()

    @pytest.mark.nsys(tolerance={{"gpu.kernel_time": "20%", "memcpy.h2d.bytes": "50%"}})
    def test_relative(): body()

    @pytest.mark.nsys(tolerance={{"gpu.kernel_time": "99 us", "memcpy.h2d.bytes": 51200}})
    def test_absolute_too_small(): body()

    @pytest.mark.nsys(tolerance={{"gpu.kernel_time": "0.1 ms", "memcpy.h2d.bytes": "50 KiB"}})
    def test_absolute(): body()

    @pytest.mark.nsys(tolerance={{
        "gpu.kernel_time": ("1%", "101 us"), "memcpy.h2d.bytes": ("80%", "1 B")}})
    def test_pair(): body()

    @pytest.mark.nsys(tolerance="9%")
    def test_bare_is_for_timed_metrics(): body()

    def test_ini(): body()

    @pytest.mark.nsys(tolerance={{
        "gpu.kernel_time": "50%", "memcpy.h2d.bytes": "50%", "kernel[gem*].time": "5%"}})
    def test_one_kernel(): body()

    @pytest.mark.nsys(tolerance={{
        "gpu.kernel_time": "50%", "memcpy.h2d.bytes": "50%", "memcpy.h2d.time": "1 ns"}})
    def test_not_gated_by_default(): body()
"""


def test_tolerances_are_relative_absolute_pairs_or_those_of_the_ini_file(
    simulated: Project,
) -> None:
    simulated.write(TOLERANCES.format(gemm=900, bytes=102400))
    simulated.run("--nsys-update").assert_outcomes(passed=9)
    simulated.write(TOLERANCES.format(gemm=1000, bytes=153600))
    simulated.ini("nsys_tolerance =", "  11%", "  memcpy.h2d.bytes=2%, 1 MiB")
    result = simulated.run("--nsys-baseline", "-v")
    result.assert_outcomes(passed=4, failed=5)
    outcomes = {
        line.split("::")[1].split()[0]: line.split()[1]
        for line in result.outlines
        if "::" in line and "%]" in line
    }
    assert {name for name, outcome in outcomes.items() if outcome == "FAILED"} == {
        "test_relative_too_small",
        "test_absolute_too_small",
        "test_bare_is_for_timed_metrics",
        "test_one_kernel",
        "test_not_gated_by_default",
    }
    result.stdout.fnmatch_lines_random(
        [
            "gpu.kernel_time +10.0%, limit 9%: gemm +100 us (1x); 1 ms -> 1.1 ms",
            "gpu.kernel_time +10.0%, limit 3%: gemm +100 us (1x); 1 ms -> 1.1 ms",
            "gpu.kernel_time +10.0%, limit 99 us: gemm +100 us (1x); 1 ms -> 1.1 ms",
            "kernel?gem*?.time +11.1%, limit 5%: gemm +100 us (1x); 900 us -> 1 ms",
            "memcpy.h2d.time +*, limit * (noise): *",
        ]
    )


def test_requirements_need_no_baseline_and_name_what_breaks_them(simulated: Project) -> None:
    simulated.write(
        """
        import pytest, simgpu

        nsys = pytest.mark.nsys(rounds=1, warmup=0)
        pytestmark = nsys

        @pytest.fixture(autouse=True)
        def used():
            pass

        def body():
            simgpu.launch("flash_fwd_splitkv", 90)
            simgpu.launch("gemm", 10)
            simgpu.copy("h2d", 4096)
            simgpu.free(simgpu.malloc(8 << 20))

        def fine(m):
            assert m.kernels.count("gemm*") == 1
            assert m["memcpy.h2d.bytes"] == 4096
            return m.kernels.time("flash*") == 90_000

        @pytest.mark.nsys(
            budget={"gpu.kernel_time": "100 us", "memcpy.h2d.count": 1},
            require=["flash_fwd*", "cudaMemcpy*"], forbid=["cudaDeviceSynchronize"], check=fine)
        def test_holds(): body()

        @pytest.mark.nsys(budget={"gpu.kernel_time": "99 us"})
        def test_time(): body()

        @pytest.mark.nsys(budget={"memcpy.h2d.count": 0, "mem.peak": "4 MiB"})
        def test_none(): body()

        @pytest.mark.nsys(budget={"gpu.kernel_time.per_token": "1 ns"})
        def test_no_units(): body()

        @pytest.mark.nsys(require=["flash_bwd*"])
        def test_require(): body()

        @pytest.mark.nsys(forbid=["h2d*", "cudaMalloc*", "splitkv"])
        def test_forbid(): body()

        @pytest.mark.nsys(check=lambda m: m.kernels.count("gemm*") == 2)
        def test_check(): body()

        def told(m):
            assert m.kernels.count() == 5, f"{m.kernels.count():g} kernels"

        @pytest.mark.nsys(check=told)
        def test_assertion(): body()

        @pytest.mark.nsys(check=lambda m: m["no.such"])
        def test_error(): body()

        @pytest.mark.nsys(forbid=["gemm"])
        def test_range(nsys):
            with nsys.range("decode"):
                body()
        """
    )
    result = simulated.run("--nsys-update")
    result.assert_outcomes(passed=1, failed=9)
    result.stdout.fnmatch_lines(
        [
            "gpu.kernel_time is 100 us, over its budget of 99 us",
            "memcpy.h2d.count is 1, over its budget of 0 (and 1 more)",
            "  mem.peak is 8 MiB, over its budget of 4 MiB",
            "gpu.kernel_time.per_token has a budget and was not measured",
            "'flash_bwd?' is required and missing; nearest: flash_fwd_splitkv",
            "'h2d?' is forbidden: h2d * (1x) (and 1 more)",
            "  'cudaMalloc?' is forbidden: cudaMalloc (1x)",
            "check returned False: *lambda m: m.kernels.count(*",
            "check failed: 2 kernels*",
            "check asks for what there cannot be: there is no metric 'no.such': *",
            "'gemm' is forbidden: gemm (1x) (and 1 more)",
            "  ?decode? 'gemm' is forbidden: gemm (1x)",
        ]
    )
    # Nothing was recorded of the tests that broke their requirements.
    found = [path.name for path in simulated.path.rglob("baselines/**/*.json")]
    assert found == ["test_holds.json"]


EMPTY = """
    import pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=2, warmup=0)

    def test_gpu():
        simgpu.launch("gemm", 10)

    def test_copies():
        {copies}
        simgpu.synchronize()

    def test_nothing():
        {nothing}

    @pytest.mark.nsys(allow_empty=True)
    def test_allowed():
        pass
"""


def test_a_test_that_stops_using_the_gpu_has_not_become_fast(simulated: Project) -> None:
    simulated.write(EMPTY.format(copies='simgpu.launch("scale", 50)', nothing="pass"))
    result = simulated.run("--nsys-update")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["no CUDA activity was recorded; if this test is to use no GPU, say allow_empty=True *"]
    )
    simulated.write(EMPTY.format(copies="pass", nothing='simgpu.launch("k", 1)'))
    result = simulated.run("--nsys")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["no kernel was recorded, and the baseline has some*"])


OTHER = """
    import pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=1)

    def test_units(nsys):
        nsys.units(tokens={tokens})
        simgpu.launch("k", 9)

    def test_windows(nsys):
        with nsys.range("always"):
            simgpu.launch("k", 9)
        with nsys.range({name!r}):
            simgpu.launch("k", 9)

    @pytest.mark.nsys(warmup={warmup})
    def test_warmup():
        simgpu.launch("k", 9)

    @pytest.mark.nsys(nsys_args="--cuda-graph-trace={graphs}")
    def test_options():
        simgpu.launch("k", 9)

    @pytest.mark.nsys(rounds={rounds})
    def test_rounds():
        simgpu.launch("k", 9)
"""


def test_what_was_measured_otherwise_is_incomparable_but_for_the_number_of_rounds(
    simulated: Project, install: Callable[..., Path]
) -> None:
    simulated.write(OTHER.format(tokens=4, name="old", warmup=1, graphs="node", rounds=2))
    simulated.run("--nsys-update").assert_outcomes(passed=5)
    simulated.write(OTHER.format(tokens=8, name="new", warmup=2, graphs="graph", rounds=3))
    profiled = simulated.run("--nsys")
    profiled.assert_outcomes(passed=5)
    profiled.stdout.fnmatch_lines(["*= nsys summary =*", "4 incomparable, 1 ok"])
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(
        [
            "_* test_units _*",
            "incomparable: a round processed 4 tokens when the baseline was recorded, now 8 tokens",
            "_* test_windows _*",
            "incomparable: the baseline has a window 'old' that this test no longer measures",
            "  the baseline has a window 'old' that this test no longer measures",
            "_* test_warmup _*",
            "incomparable: the baseline was recorded with 1 warm-up calls, this run has 2",
            "_* test_options _*",
            "incomparable: the baseline was recorded with other capture options: "
            "--cuda-graph-trace=graph --cuda-graph-trace=node",
        ]
    )
    install(gpus=("NVIDIA A100-SXM4-80GB",))
    result = simulated.run("--nsys-baseline", "-k", "rounds")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(
        ["incomparable: no baseline for nvidia-a100-sxm4-80gb; there is one for nvidia-h200: *"]
    )
