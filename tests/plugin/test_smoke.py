"""The whole path: record, change the test, gate, fail."""

from __future__ import annotations

import pytest

from tests.support.harness import Project

pytestmark = pytest.mark.usefixtures("own_process")

TEST = """
    import pytest, simgpu

    @pytest.mark.nsys
    def test_decode(nsys):
        with nsys.range("prefill"):
            simgpu.launch("gemm", 400)
        for _ in range({launches}):
            simgpu.launch("softmax", 50)
"""


def test_a_slower_test_fails_with_its_culprit_in_the_first_line(simulated: Project) -> None:
    simulated.write(TEST.format(launches=2))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    simulated.run("--nsys-baseline").assert_outcomes(passed=1)

    simulated.write(TEST.format(launches=4))
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["gpu.kernel_time +20.0%, limit 3% or 5 us: softmax +100 us (2x -> 4x); *"]
    )

    simulated.run().assert_outcomes(passed=1)


def test_real_nsys_cuts_its_capture_into_windows(profiled: Project) -> None:
    profiled.write(
        """
        import pytest, time

        @pytest.mark.nsys(allow_empty=True, rounds=3)
        def test_sleep(nsys):
            with nsys.range("part"):
                time.sleep(0.02)
        """
    )
    result, tests = profiled.results("--nsys")
    result.assert_outcomes(passed=1)
    windows = {window["name"]: window for window in tests["test_sleep"]["windows"]}
    for name in ("test", "part"):
        wall = next(m for m in windows[name]["metrics"] if m["key"] == "wall.time")
        assert len(wall["samples"][0]) == 3
        assert all(sample >= 20e6 for sample in wall["samples"][0])


def test_the_package_is_imported_as_others_are(project: Project) -> None:
    project.write(
        """
        import pytest

        @pytest.mark.nsys
        def test_it():
            pass
        """
    )
    project.write(
        """
        import sys

        def pytest_unconfigure(config):
            module = sys.modules["pytest_nsys.plan.settings"]
            print("loaded by", type(module.__spec__.loader).__name__)
        """,
        "conftest.py",
    )
    # pytest's own would rewrite its assertions.
    project.run().stdout.fnmatch_lines(["loaded by SourceFileLoader"])
