"""Counters of kernels by ncu, after the verdicts; and that no gate fails for want of them."""

from __future__ import annotations

import json
import os
import signal
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.simgpu.ncu import write_ncu
from tests.support.harness import Project, git

TEST = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=3, warmup=1)
    def test_it(nsys):
        simgpu.launch("void ns::gemm<(int)4, float>(float*, int)", {us})
        simgpu.launch("relu", 50)
        with nsys.range("tail"):
            simgpu.launch("tail", 40)
"""
GEMM = "void ns::gemm<(int)4, float>(float*, int)"
SECTORS = "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio"
READ = "dram__bytes_read.sum"
GOOD = {GEMM: {SECTORS: 4.0, READ: 1 << 24}}
BAD = {GEMM: {SECTORS: 32.0, READ: 1 << 26}}


def test_counters_then_and_now_say_why_a_kernel_is_slower(simulated: Project) -> None:
    bin = simulated.path / "bin"
    write_ncu(bin, counters=GOOD)
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    assert "counters" not in simulated.baseline("test_it")
    # A baseline that says the same gets the counters that it lacks.
    simulated.run("--nsys-update", "--nsys-ncu=always").assert_outcomes(passed=1)
    (counters, *others) = simulated.baseline("test_it")["counters"]
    assert counters["kernel"] == "ns::gemm<4, float>"
    assert (counters["window"], counters["launches"]) == ("test", 1)
    assert counters["values"][SECTORS] == 4
    assert [one["kernel"] for one in others] == ["relu", "tail"]

    write_ncu(bin, counters=BAD)
    simulated.write(TEST.format(us=130))
    result, tests = simulated.results(
        "--nsys-baseline", "--nsys-ncu=on-regression", "--nsys-html=page.html", "--nsys-keep=kept"
    )
    result.assert_outcomes(failed=1)
    said = (
        "ns::gemm<4, float>: loads are uncoalesced: sectors per request 4 -> 32, DRAM bytes 20 MiB "
        "-> 68 MiB (x3.4)"
    )
    text = result.stdout.str()
    assert "counted by ncu:" in text
    assert said in " ".join(text.split())
    assert "nsys: counting with ncu: test_it.py::test_it" in text
    (found,) = tests["test_it"]["counters"]
    assert f"{found['kernel']}: {found['sentence']}" == said
    metrics = {one["key"]: one for one in found["metrics"]}
    assert (metrics[SECTORS]["baseline"], metrics[SECTORS]["current"]) == (4, 32)
    page = (simulated.path / "page.html").read_text()
    assert "uncoalesced" in page
    assert "sectors per request, global loads" in page
    assert len([*(simulated.path / "kept").glob("worker-*.csv")]) == 1
    # Nothing is left behind, nor in the user's own folder.
    assert not (Path.home() / "Documents/NVIDIA Nsight Compute").exists()
    assert simulated.left_over() == []

    # What passes is not looked at, and a run without the option starts no ncu.
    simulated.write(TEST.format(us=100))
    result, tests = simulated.results("--nsys-baseline", "--nsys-ncu=on-regression")
    result.assert_outcomes(passed=1)
    assert tests["test_it"]["counters"] == []
    assert "counting" not in result.stdout.str()


PART = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=1, warmup=0, tolerance={{"kernel[tail].time": "1%"}})
    def test_it(nsys):
        simulated = simgpu.launch("tail", 10)
        with nsys.range("tail/[x]"):
            simgpu.launch("tail", {us})
            simgpu.launch("tail", {us} + 30)
"""


def test_a_kernel_is_counted_in_the_part_that_got_slower(simulated: Project) -> None:
    write_ncu(simulated.path / "bin")
    simulated.write(PART.format(us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    simulated.write(PART.format(us=200))
    _, tests = simulated.results("--nsys", "--nsys-ncu=on-regression")
    (found,) = tests["test_it"]["counters"]
    assert (found["kernel"], found["baseline_launches"]) == ("tail", 0)
    assert "nothing was counted before: nsys_ncu = always" in found["sentence"]
    assert found["launches"] == {"test": 3, "tail/[x]": 2}[found["window"]]


NONE = [
    ("forbidden", "this user may not read the GPU's performance counters*NVreg_Restrict*"),
    ("killed", "the worker or its ncu was ended by SIGKILL*"),
    ("hang", "ncu did not end within 3 s; *nsys_tool_timeout*"),
]


@pytest.fixture
def regressed(simulated: Project) -> Project:
    """A project with a test that has got slower."""
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    simulated.write(TEST.format(us=130))
    return simulated


def _notes(project: Project, *options: str) -> list[str]:
    result, tests = project.results("--nsys-baseline", "--nsys-ncu=on-regression", *options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["gpu.kernel_time +15*gemm*"])
    test: dict[str, Any] = tests["test_it"]
    assert test["counters"] == []
    assert project.left_over() == []
    return [note for note in test["notes"] if note.startswith("no counters: ")]


def test_without_counters_the_verdict_stands_and_a_note_says_why(regressed: Project) -> None:
    bin = regressed.path / "bin"
    (note,) = _notes(regressed)
    assert note.startswith("no counters: ncu (NVIDIA Nsight Compute) was not found; install")
    for fault, wanted in NONE:
        write_ncu(bin, faults=[fault])
        limit = ["-o", "nsys_tool_timeout=3"] if fault == "hang" else []
        (note,) = _notes(regressed, *limit)
        assert fnmatch(note, f"no counters: {wanted}"), note


def test_a_test_that_fails_or_dies_under_ncu_is_a_note(regressed: Project) -> None:
    write_ncu(regressed.path / "bin")
    for line, wanted in (
        ("assert False", "under ncu, the test failed (call); see what the test asks of its time"),
        ("os._exit(3)", "under ncu, the worker ended in the test; *"),
    ):
        lines = TEST.format(us=130).replace(
            "def test_it(nsys):",
            f"def test_it(nsys):\n        if 'NV_NSIGHT_INJECTION_PORT' in os.environ: {line}",
        )
        regressed.write(lines.replace("import pytest", "import os, pytest"))
        (note,) = _notes(regressed)
        assert fnmatch(note, f"no counters: {wanted}"), note


def test_a_gpu_without_some_metrics_has_the_others(regressed: Project) -> None:
    write_ncu(regressed.path / "bin", faults=["absent"])
    _, tests = regressed.results("--nsys", "--nsys-ncu=on-regression")
    (found,) = tests["test_it"]["counters"]
    keys = {one["key"] for one in found["metrics"]}
    assert "gpu__time_duration.sum" in keys
    assert SECTORS not in keys


def test_a_recording_is_not_counted_and_the_run_says_so(regressed: Project) -> None:
    write_ncu(regressed.path / "bin")
    regressed.run("--nsys", "--nsys-record=rec")
    result = regressed.run("--nsys-replay=rec", "--nsys-ncu=always")
    result.stdout.fnmatch_lines(["note: nsys_ncu: a recording is judged, and no test is run*"])


REVISIONS = """
    import simgpu

    def work():
        simgpu.launch("{kernel}", {us})
"""
AGAINST = """
    import sys
    import pytest
    from mine import work

    @pytest.mark.nsys(rounds=2, warmup=0)
    def test_it():
        work()

    @pytest.mark.nsys(rounds=1, warmup=0)
    def test_command(nsys_run):
        program = "import simgpu; simgpu.launch('gemm', 100); simgpu.synchronize()"
        nsys_run([sys.executable, "-c", program])
"""


def test_two_revisions_are_both_counted_and_commands_are_not(simulated: Project) -> None:
    write_ncu(simulated.path / "bin", counters={"new": BAD[GEMM], "gemm": GOOD[GEMM]})
    simulated.ini("pythonpath = src")
    simulated.write(REVISIONS.format(kernel="gemm", us=100), "src/mine.py")
    simulated.write(AGAINST)
    git(simulated.path, "init", "--quiet")
    git(simulated.path, "add", "pytest.ini", "src", "test_it.py")
    git(simulated.path, "commit", "--quiet", "-m", "one")
    _, tests = simulated.results("--nsys", "--nsys-ncu=always", "-k", "command")
    assert tests["test_command"]["notes"][-1:] == [
        "no counters: ncu is not run for servers and commands"
    ]
    simulated.write(REVISIONS.format(kernel="gemm", us=130), "src/mine.py")
    options = ("--nsys-ncu=on-regression", "--nsys-against=HEAD", "--nsys-processes=1", "-k", "it")
    result, tests = simulated.results("--nsys", *options)
    result.stdout.fnmatch_lines(["nsys: counting with ncu: test_it.py::test_it at HEAD"])
    (found,) = tests["test_it"]["counters"]
    assert (found["launches"], found["baseline_launches"]) == (1, 1)
    took = next(one for one in found["metrics"] if one["key"] == "gpu__time_duration.sum")
    assert (took["baseline"], took["current"]) == (100_000, 130_000)

    # A kernel that the other revision does not have: what there is now is told all the same.
    simulated.write(REVISIONS.format(kernel="new", us=130), "src/mine.py")
    _, tests = simulated.results("--nsys", *options)
    (found,) = tests["test_it"]["counters"]
    assert (found["kernel"], found["baseline_launches"]) == ("new", 0)
    assert any("did not come up again" in note for note in tests["test_it"]["notes"])


def test_an_interrupt_while_it_counts_ends_all_of_it_and_loses_no_verdict(
    simulated: Project, temporary: Path, own_process: None
) -> None:
    write_ncu(simulated.path / "bin")
    lines = TEST.format(us=100).replace("import pytest", "import os, threading, pytest")
    waits = (
        "if 'NV_NSIGHT_INJECTION_PORT' in os.environ:\n"
        "            open('ready', 'w').close(); threading.Event().wait()\n        "
    )
    more = """
    def test_not_measured():
        open("ran", "w").close()

    @pytest.mark.nsys(require=["memcpy.h2d.count == 1"])
    def test_other(nsys):
        simgpu.launch("relu", 50)
    """
    simulated.write(lines.replace("simgpu.launch", waits + "simgpu.launch", 1) + more)
    os.mkfifo(simulated.path / "ready")
    run = simulated.start("--nsys-update", "--nsys-ncu=always", "--nsys-json=results.json")
    (simulated.path / "ready").read_text()  # blocks until the test runs below ncu
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "INTERNALERROR" not in output
    assert simulated.left_over() == []
    assert not list(temporary.glob("pytest-nsys-*"))
    # What was judged is reported, and what is good recorded; nothing else is begun.
    assert "1 failed, 1 passed in " in output
    assert not (simulated.path / "ran").exists()
    assert "counters" not in simulated.baseline("test_it")
    tests = {
        one["nodeid"]: one
        for one in json.loads((simulated.path / "results.json").read_text())["tests"]
    }
    assert [one["status"] for one in tests.values()] == ["new", "violated"]
    for one in tests.values():
        assert any("no counters: the run was interrupted" in note for note in one["notes"])
