"""Work that tests say they do: rates of it, and shares of the peak of the (simulated) H200."""

from __future__ import annotations

import pytest
from _pytest.pytester import LineMatcher

from pytest_nsys.cli.main import main
from tests.support.harness import Project
from tests.support.seen import metric_keys, samples

# In 100 us a H200 computes 98.94 GFLOP in bf16, and its memory moves 481.4304 MB.
WORK = """
    import pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=2, warmup=0)

    @pytest.mark.nsys(budget={"gpu.pct_peak_bw": 75, "gpu.flops_per_s": "400 TFLOP/s"})
    def test_gemm(nsys):
        nsys.units(flops=49.47e9, bytes=385_144_320, precision="bf16", tokens=64)
        simgpu.launch("gemm", US)

    def test_parts(nsys):
        nsys.units(bytes=481_430_400)
        for _ in range(2):
            with nsys.range("copy"):
                nsys.units(bytes=96_286_080, images=4)
                simgpu.launch("copy", 25)
        with nsys.range("other"):
            simgpu.launch("other", 50)

    @pytest.mark.nsys(budget={"gpu.flops_per_s": "500 TFLOP/s"})
    def test_call(nsys):
        nsys.units(flops=98.94e9, precision="bf16")
        nsys(simgpu.launch, "gemm", 200)

    def test_fp4(nsys):
        nsys.units(flops=1e12, precision="fp4")
        simgpu.launch("gemm", 100)

    @pytest.mark.nsys(budget={"gpu.pct_peak_flops": 10})
    def test_no_precision(nsys):
        nsys.units(flops=1e12)
        simgpu.launch("gemm", 100)

    def test_cached(nsys):
        nsys.units(bytes=481_430_400 * 3)
        simgpu.launch("gemm", 100)

    def test_none(nsys):
        simgpu.launch("gemm", 100)
"""


def test_work_has_rates_and_shares_of_the_peak(
    simulated: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated.write(WORK.replace("US", "100"))
    result, tests = simulated.results("--nsys-update", "--nsys-record=rec")
    result.assert_outcomes(passed=5, failed=2)
    gemm = tests["test_gemm"]
    assert samples(gemm, "gpu.flops_per_s") == pytest.approx([494.7e12] * 2)
    assert samples(gemm, "gpu.pct_peak_flops") == pytest.approx([50] * 2)
    assert samples(gemm, "gpu.bytes_per_s") == pytest.approx([3851.4432e9] * 2)
    assert samples(gemm, "gpu.pct_peak_bw") == pytest.approx([80] * 2)
    result.stdout.fnmatch_lines(
        ["*gpu.flops_per_s is 494.7 TFLOP/s, under its budget of 500 TFLOP/s"]
    )

    # A part has the work that is said in it, once for each time, and the body that of the body.
    parts = tests["test_parts"]
    assert samples(parts, "gpu.pct_peak_bw") == pytest.approx([100] * 2)
    assert samples(parts, "gpu.pct_peak_bw", "copy") == pytest.approx([80] * 2)
    other = next(part for part in parts["windows"] if part["name"] == "other")
    assert not any(metric["key"].startswith("work.") for metric in other["metrics"])
    assert other["units"] == {"byte": 481_430_400, "image": 4}
    assert samples(tests["test_call"], "gpu.pct_peak_flops") == pytest.approx([50] * 2)

    assert "gpu.pct_peak_flops" not in metric_keys(tests["test_fp4"])
    assert tests["test_fp4"]["notes"] == ["no gpu.pct_peak_flops: NVIDIA H200 has no peak for fp4"]
    assert tests["test_no_precision"]["notes"] == []
    result.stdout.fnmatch_lines(
        [
            "*gpu.pct_peak_flops has a budget and was not measured; it takes "
            'nsys.units(flops=..., precision="bf16")*'
        ]
    )
    assert tests["test_cached"]["warnings"] == [
        "gpu.pct_peak_bw is 300%, more than the memory can do: less is moved than nsys.units "
        "says, or it is in a cache"
    ]
    assert not {key for key in metric_keys(tests["test_none"]) if key.startswith("work.")}
    result.stdout.re_match_lines(
        [
            r" +FLOP/s +of peak +bytes/s +of peak",
            r"  test_gemm +494.7 TFLOP/s .0.0% +50.0% +3.851 TB/s +80.0%",
            r"  test_parts +- +- +4.814 TB/s +100.0%",
            r"    copy +- +- +3.851 TB/s +80.0%",
        ],
        consecutive=True,
    )
    assert simulated.baseline("test_gemm")["windows"]["test"]["precision"] == "bf16"

    # A kernel that is slower has lower rates. They are not gated beside its time, but can be.
    simulated.write(WORK.replace("US", "110"))
    result, tests = simulated.results("--nsys-baseline", "-k=gemm")
    (failed,) = tests.values()
    regressed = [m["key"] for m in failed["windows"][0]["metrics"] if m["status"] == "regressed"]
    assert regressed == ["gpu.kernel_time"]
    slower = {"gpu.pct_peak_bw": "5 pp", "gpu.pct_peak_flops": "20%"}
    simulated.write(WORK.replace("US", "110").replace("budget={", f"tolerance={slower}, budget={{"))
    result, tests = simulated.results("--nsys-baseline", "-k=gemm")
    (failed,) = tests.values()
    regressed = [m["key"] for m in failed["windows"][0]["metrics"] if m["status"] == "regressed"]
    assert regressed == ["gpu.kernel_time", "gpu.pct_peak_bw"]
    assert "gpu.pct_peak_bw is 72.73%, under its budget of 75%" in result.stdout.str()
    # In another precision there is another peak, and a share of that says something else.
    simulated.write(
        WORK.replace("US", "100")
        .replace('bytes=385_144_320, precision="bf16"', 'bytes=385_144_320, precision="fp8"')
        .replace("budget={", f"tolerance={slower}, budget={{")
    )
    result, tests = simulated.results("--nsys-baseline", "-k=gemm")
    (other,) = tests.values()
    assert [m["note"] for m in other["windows"][0]["metrics"] if m["status"] == "incomparable"] == [
        "gpu.pct_peak_flops is of the peak in fp8, in the baseline in bf16"
    ]
    # The recording says the same, elsewhere.
    assert main(["compare", str(simulated.path / "rec"), str(simulated.path / "rec")]) == 0
    shown = capsys.readouterr().out
    assert "gpu.kernel_time.per_token" in shown
    assert "gpu.pct_peak_bw" in shown
    assert "flops per second" not in shown
    capsys.readouterr()
    assert main(["stats", str(simulated.path / "rec")]) == 0
    LineMatcher(capsys.readouterr().out.splitlines()).re_match_lines(
        [r"work that tests say they do:", r" +FLOP/s .*", r"  test_gemm +494.7 TFLOP/s .*"]
    )


def test_what_is_no_work_is_refused(simulated: Project) -> None:
    simulated.write(
        """
        import pytest

        @pytest.mark.nsys(rounds=1, warmup=0)
        @pytest.mark.parametrize("said", [
            {"flops": 0}, {"bytes": float("inf")}, {"flops": 1e70}, {"flops": "many"},
            {"flops": 1, "precision": "bfloat16"}, {"bytes": 1, "precision": "bf16"},
        ])
        def test(nsys, said):
            nsys.units(**said)
        """
    )
    for options in ([], ["--nsys"]):
        result = simulated.run(*options)
        result.assert_outcomes(failed=6)
        result.stdout.fnmatch_lines(
            [
                "E *nsys.units(flops=0): give a number above zero",
                "E *nsys.units(bytes=inf): give a number above zero",
                "E *nsys.units(flops=1e+70): give a number above zero",
                "E *nsys.units(flops='many'): give a number above zero",
                "E *nsys.units(precision='bfloat16'): the precisions are fp64, *",
                "E *nsys.units(precision='bf16'): it is that of flops=...",
            ]
        )
