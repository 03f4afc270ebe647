"""Plain commands, measured by the fixture ``nsys_run``."""

from __future__ import annotations

import pytest

from tests.support.harness import Project

WORK = """
    import sys
    import pytest

    PROGRAM = "import simgpu; [simgpu.launch('gemm', {us}) for _ in range(4)]; simgpu.synchronize()"

    def test_work(nsys_run):
        done = nsys_run([sys.executable, "-c", PROGRAM + "; print('said')"])
        assert (done.code, done.printed) == (0, "said\\n")
"""


def test_a_command_is_one_window_and_is_judged_as_a_test_is(simulated: Project) -> None:
    simulated.write(WORK.replace("{us}", "100"))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    window = simulated.baseline("test_work")["windows"]["run"]
    assert window["samples"]["gpu.kernel_count"] == [[4]]
    assert window["samples"]["gpu.kernel_time"] == [[400e3]]
    assert "mem.peak" in window["samples"]  # all memory is allocated in the capture
    simulated.run("--nsys-baseline").assert_outcomes(passed=1)
    simulated.write(WORK.replace("{us}", "150"))
    result = simulated.run("--nsys-baseline", "--nsys-record=recording")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["[[]run[]] gpu.kernel_time +50.0%, limit * gemm +200 us (4x); *"])
    result = simulated.run("--nsys-baseline", "--nsys-replay=recording")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["[[]run[]] gpu.kernel_time +50.0%, limit * gemm +200 us (4x); *"])


WRONG = """
    import os, sys
    import pytest

    pytestmark = pytest.mark.nsys(allow_empty=True)

    def test_environment(nsys_run, tmp_path):
        program = "import os; print(os.environ['OURS'], os.getcwd())"
        done = nsys_run([sys.executable, "-c", program], env={"OURS": "1"}, cwd=tmp_path)
        assert done.printed == f"1 {tmp_path}\\n"

    def test_code(nsys_run):
        nsys_run([sys.executable, "-c", "print('alas'); raise SystemExit(3)"])

    def test_code_is_returned(nsys_run):
        assert nsys_run([sys.executable, "-c", "raise SystemExit(3)"], check=False).code == 3

    def test_missing(nsys_run):
        nsys_run(["no-such-program"])

    def test_late(nsys_run):
        nsys_run([sys.executable, "-c", "import time; time.sleep(600)"], timeout=2)
"""
SAID = [
    "*CommandFailed: the command * ended with exit code 3",
    "*alas",
    "*CommandNotFound: *no-such-program*",
    "*DeadlineExceeded: the command * did not end within 2 s and was ended",
]


@pytest.mark.parametrize("options", [[], ["--nsys"]], ids=["plain", "measured"])
def test_what_goes_wrong_is_the_same_with_nsys_and_without(
    simulated: Project, options: list[str]
) -> None:
    simulated.write(WRONG)
    result = simulated.run(*options)
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(SAID)


def test_each_window_of_a_test_has_a_name_of_its_own(simulated: Project) -> None:
    simulated.write(
        """
        import sys
        import pytest

        @pytest.mark.nsys(allow_empty=True)
        def test_twice(nsys_run):
            nsys_run([sys.executable, "-c", "pass"])
            nsys_run([sys.executable, "-c", "pass"], name="second")
            nsys_run([sys.executable, "-c", "pass"])
        """
    )
    result = simulated.run("--nsys")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*WindowError: this test has a window 'run' already"])
