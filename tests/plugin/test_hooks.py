"""A project's own hooks extend the plugin."""

from __future__ import annotations

from harness import Project
from seen import Story

CONFTEST = """
    import pytest
    from story import tell

    def pytest_nsys_verdict(nodeid, verdict):
        tell(f"{nodeid.rpartition('::')[2]} {verdict.status} {verdict.failed}")
        with pytest.raises(AttributeError):
            verdict.failed = False

    def pytest_nsys_device_key(gpus):
        return "our " + "+".join(gpus)

    def pytest_nsys_kernel_name(name):
        return name.partition("_v")[0] if name.startswith("ours_") else None

    def pytest_nsys_kernel_category(name):
        return "attention" if "ours_" in name else None

    def pytest_nsys_release_memory():
        tell("released")
"""
TEST = """
    import pytest, simgpu
    from story import tell

    @pytest.mark.nsys(rounds=2, tolerance={{
        "kernel[ours_gemm].time": "5%", "category[attention].time": "5%",
    }})
    def test_decode():
        tell("called")
        simgpu.launch("ours_gemm_v{version}", {us})
        simgpu.launch("theirs_v{version}", 10)
"""


def test_hooks_of_the_users_conftest_name_kernels_and_devices_and_see_verdicts(
    simulated: Project, story: Story
) -> None:
    simulated.write(CONFTEST, "conftest.py")
    simulated.write(TEST.format(version=1, us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    assert story.lines() == [
        "worker: called",
        "worker: released",  # after the warm-up, before the first round
        "worker: called",
        "worker: called",
        "controller: test_decode new False",
    ]
    assert (
        "ours_gemm"
        in simulated.baseline("test_decode", "our-nvidia-h200")["windows"]["test"]["kernels"]
    )
    # Another version of a kernel goes by the same name.
    simulated.write(TEST.format(version=2, us=150))
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "gpu.kernel_time +45.5%, limit *: ours_gemm +50 us (1x); * (and 2 more)",
            "  kernel?ours_gemm?.time *100 us *150 us *+50.0% *5%  <- worse",
            "  category?attention?.time *100 us *150 us *+50.0% *5%  <- worse",
        ]
    )
    assert "controller: test_decode regressed True" in story.lines()
