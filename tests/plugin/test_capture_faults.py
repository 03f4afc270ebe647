"""What can be wrong with nsys and its captures: each has its own error, and no test passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness import Project, write_program

TEST = """
    import pytest, simgpu

    measured = pytest.mark.nsys(rounds=1, warmup=0)

    @measured
    def test_one():
        simgpu.launch("gemm", 10)

    @measured
    def test_two():
        simgpu.launch("gemm", 10)

    def test_ordinary():
        pass
"""

# For each fault of the stand-in: what happened, the evidence, what to do about it.
FAULTS = {
    "no_report": (
        "nsys ended and left no report",
        "*Collecting data...",
        "see nsys's own lines above; *",
    ),
    "qdstrm_only": (
        "nsys could not make a report of what it recorded",
        "*qdstrm*",
        "the usual causes are a missing libdw.so.1 *",
    ),
    "importer_error": (
        "nsys could not make a report of what it recorded",
        "*Importer error status: An unknown error occurred.",
        "the usual causes are a missing libdw.so.1 *",
    ),
    "no_nvtx": (
        "5 of 5 windows are missing in the capture",
        "*missing: * test_it.py::test_one *",
        "the nvtx package and this nsys do not understand each other: *",
    ),
    "drop_last_window": (
        "1 of 5 windows are missing in the capture",
        "*missing: *sentinel",
        "run again; if it stays so, *",
    ),
    "no_gpu": (
        "nsys saw no NVIDIA GPU on this machine",
        "*nsys 2025.3.1*",
        "run *on a machine with a GPU*",
    ),
    "no_cuda_events": (
        "the capture holds no CUDA events at all",
        "*nsys 2025.3.1*",
        "*GPU*",
    ),
    "diagnostic_error": (
        "nsys reports errors in its own capture",
        "*",
        "an nsys older than the driver is the usual cause: *",
    ),
    "export_fails": (
        "nsys export ended with exit code 1 and wrote nothing",
        "*Exportation error: Failed to read the report.",
        "use an nsys at least as new as the one that made the report; *",
    ),
    "export_truncated": (
        "*.parquet is damaged or was cut off",
        "*Parquet magic bytes not found in footer*",
        "export the report again; check that the disk is not full",
    ),
    "child_not_started": (
        "nsys ended without starting the worker",
        "*Executable not found in current directory or standard search paths",
        "run 'nsys profile true' by hand: *",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_capture_that_cannot_be_trusted_fails_its_tests_and_says_why(
    fault: str, simulated: Project, install: Callable[..., Path], temporary: Path
) -> None:
    install(fault, version="2025.3.1")
    simulated.write(TEST)
    result = simulated.run("--nsys-update")
    what, evidence, remedy = FAULTS[fault]
    assert result.ret == 1
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["_* test_one _*", what, evidence, f"What to do: {remedy}"])
    # In full for the first test of a capture, in short for the others.
    result.stdout.fnmatch_lines(["_* test_two _*", f"{what} (see the first test of this capture)"])
    shown = result.stdout.str()
    assert shown.count("What to do: ") == 1
    result.stdout.fnmatch_lines(["2 unmeasured", f"not measured: test_it.py::test_one: {what}"])
    assert "Traceback" not in shown
    assert "INTERNALERROR" not in shown
    assert not (simulated.path / "baselines").exists()
    assert not list(temporary.glob("pytest-nsys-*"))


def test_arguments_that_nsys_refuses_are_a_usage_error(simulated: Project, temporary: Path) -> None:
    simulated.write(TEST)
    result = simulated.run("--nsys", "--nsys-args=--no-such-flag=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    shown = result.stdout.str() + result.stderr.str()
    for text in (
        "nsys refused its arguments",
        "unrecognised option '--no-such-flag=1'",
        "What to do: correct what is passed through to nsys (nsys_args)",
    ):
        assert text in shown
    assert "Traceback" not in shown
    assert "INTERNALERROR" not in shown
    assert not list(temporary.glob("pytest-nsys-*"))


def test_without_nsys_profiling_is_a_usage_error_and_plain_runs_work(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project.write(
        "import pytest\n\n@pytest.mark.nsys\ndef test_it(nsys):\n    assert nsys(int, '7') == 7\n"
    )
    result = project.run("--nsys")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: nsys (NVIDIA Nsight Systems) was not found",
            "  looked on the PATH and for *",
            "What to do: *",  # by whether there is a GPU
        ]
    )
    project.run().assert_outcomes(passed=1)
    # Something of that name that is not nsys.
    impostor = write_program(tmp_path / "nsys", "#!/bin/sh\necho something else\n")
    result = project.run("--nsys", f"--nsys-executable={impostor}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: * does not answer 'nsys --version'", "  something else", "What to do: *"]
    )


def test_nsys_that_starts_its_program_at_the_second_attempt_is_not_noticed(
    simulated: Project, temporary: Path
) -> None:
    nsys = simulated.path / "bin/nsys"
    nsys.rename(nsys.with_name("real-nsys"))
    nsys.write_text(
        "#!/bin/sh\n"
        f'case "$1" in profile) if [ ! -e {temporary}/tried ]; then touch {temporary}/tried; '
        "echo cannot start; exit 1; fi;; esac\n"
        f'exec {nsys.with_name("real-nsys")} "$@"\n'
    )
    nsys.chmod(0o755)
    simulated.write(TEST)
    simulated.run("--nsys").assert_outcomes(passed=3)
    assert (temporary / "tried").exists()
    assert not list(temporary.glob("pytest-nsys-*"))


def test_a_worker_that_cannot_begin_says_why(simulated: Project, temporary: Path) -> None:
    simulated.write(TEST)
    simulated.write(
        """
        import os

        if "SIMGPU_LOG" in os.environ:
            raise RuntimeError("no licence below nsys")
        """,
        "conftest.py",
    )
    result = simulated.run("--nsys")
    assert result.ret == 1
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "the worker ended before it ran its first test",
            "*RuntimeError: no licence below nsys*",
            "What to do: *",
        ]
    )
    simulated.write("", "conftest.py")
    simulated.write('import os\n\nassert "SIMGPU_LOG" not in os.environ\n', "guard.py")
    simulated.write(
        "import guard\n" + "import pytest\n\n@pytest.mark.nsys\ndef test_it():\n    pass\n"
    )
    result = simulated.run("--nsys")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["the worker did not collect this test, the controller did", "*AssertionError*"]
    )
    assert not list(temporary.glob("pytest-nsys-*"))


def test_a_broken_capture_fails_a_test_that_is_expected_to_fail_too(
    project: Project, install: Callable[..., Path]
) -> None:
    install("no_report", version="2025.3.1")
    project.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys
        @pytest.mark.xfail(reason="slow for now")
        def test_expected():
            simgpu.launch("kernel", 10)
        """
    )
    result = project.run("--nsys")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*nsys ended and left no report*"])
