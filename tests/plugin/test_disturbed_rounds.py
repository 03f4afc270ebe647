"""Rounds while the GPU is hot, or used by others: discarded, repeated, and told of."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from pytest_nsys.metrics.records import disturbances
from pytest_nsys.storage.recordings.recording import read_recording
from tests.support.harness import ROOT, Project
from tests.support.seen import Story, metric_keys, samples

NVML = f"""
    import sys
    sys.path.append({str(ROOT)!r})
    from tests.support.fake_nvml import FakeGpu, FakeNvml
    gpu = FakeGpu()
    nvml = sys.modules[__name__] = FakeNvml(gpu)
    nvml.gpu = gpu
"""

BODY = """
    import itertools, os
    import pynvml, pytest, simgpu
    from story import tell

    gpu = pynvml.gpu

    def work(us=100):
        tell("called")
        simgpu.launch("kernel", us)
"""


@pytest.fixture
def watched(simulated: Project, story: Story, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on a machine with a GPU whose state the tests set."""
    simulated.write(NVML, "driver/pynvml.py")
    monkeypatch.setenv("PYTHONPATH", str(simulated.path / "driver"), prepend=os.pathsep)
    return simulated


def states(project: Project) -> list[Any]:
    """The states of the recorded rounds."""
    (capture,) = read_recording(project.path / "recorded").captures
    return [record.state for record in capture.windows if record.kind == "round"]


def test_a_disturbed_round_gives_no_sample_and_is_repeated(watched: Project, story: Story) -> None:
    watched.write(
        BODY
        + """
    calls = itertools.count()

    @pytest.mark.nsys(rounds=3, warmup=1)
    def test_it(nsys):
        call = next(calls)
        # The slow-down is over before the round is: only the driver's counter tells.
        slow = call in (2, 3)
        gpu.fields[75] += 1_000_000 if slow else 0
        with nsys.range("part"):
            work(900 if slow else 100)
        gpu.temperature = 40 + call
    """
    )
    result, tests = watched.results("--nsys", "--nsys-record=recorded")
    result.assert_outcomes(passed=1)
    assert story.of("worker").count("called") == 1 + 3 + 2
    test = tests["test_it"]
    assert samples(test, "gpu.kernel_time") == [100e3] * 3
    assert samples(test, "gpu.kernel_time", "part") == [100e3] * 3
    # Of the rounds that were kept, the calls 1, 4 and 5; before each, the GPU as the last left it.
    assert samples(test, "gpu.temperature") == [40.5, 43.5, 44.5]
    assert samples(test, "gpu.sm_clock") == [1.98e9] * 3
    assert samples(test, "gpu.memory_clock") == [3.201e9] * 3
    assert samples(test, "gpu.power") == [120] * 3
    hot = "thermal slow-down of GPU 0"
    assert [state.discarded for state in states(watched)] == [(), (hot, hot), ()]

    # A replay has the same.
    replayed, again = watched.results("--nsys-replay=recorded")
    replayed.assert_outcomes(passed=1)
    assert again["test_it"]["windows"] == test["windows"]


def test_what_stays_disturbed_is_measured_and_said(watched: Project, story: Story) -> None:
    watched.write(
        BODY
        + """
    @pytest.mark.nsys(rounds=2, warmup=0)
    def test_it():
        gpu.reasons = 0x8 | 0x40
        work()
    """
    )
    result, tests = watched.results("--nsys", "--nsys-record=recorded")
    result.assert_outcomes(passed=1)
    assert story.of("worker").count("called") == 2 + 2
    assert samples(tests["test_it"], "gpu.kernel_time") == [100e3] * 2
    (capture,) = read_recording(watched.path / "recorded").captures
    assert disturbances(capture.windows) == (
        "2 rounds repeated: thermal slow-down of GPU 0",
        "rounds 1, 2 are disturbed: thermal slow-down of GPU 0",
    )


def test_other_processes_on_the_gpu_disturb_and_the_tests_own_do_not(
    watched: Project, story: Story
) -> None:
    watched.write(
        BODY
        + """
    import subprocess, sys, time

    pytestmark = pytest.mark.nsys(rounds=2, warmup=0)
    calls = itertools.count()

    @pytest.mark.nsys(warmup=1)
    def test_stranger():
        # It comes in the warm-up, and goes in the first round.
        gpu.pids[:] = [os.getpid()] + [2**22 + 1] * (next(calls) == 0)
        work()

    @pytest.fixture
    def child():
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            yield child.pid
            gpu.pids[:] = [os.getpid()]
            child.communicate(b"\\n")

    def test_own(child):
        gpu.pids[:] = [os.getpid(), child]
        work()
        time.sleep(0.02)  # so that processes are asked for after the round

    def test_power_limit():
        gpu.reasons = 0x4
        gpu.fields[74] += 1
        work()
    """
    )
    result = watched.run("--nsys", "--nsys-record=recorded")
    result.assert_outcomes(passed=3)
    assert story.of("worker").count("called") == 1 + 2 + 1 + 2 + 2
    assert [state.discarded for state in states(watched)] == [
        *(("another process on GPU 0",), ()),
        *((), ()),
        *((), ()),
    ]
    assert all(state.after[0].foreign_processes == 0 for state in states(watched))
    last = states(watched)[-1]
    assert (last.reasons(0), last.disturbances) == ({"sw_power_cap"}, ())


def test_a_failure_in_a_repeated_round_is_a_failure(watched: Project, story: Story) -> None:
    watched.write(
        BODY
        + """
    calls = itertools.count()

    @pytest.mark.nsys(rounds=2, warmup=0)
    def test_it():
        gpu.fields[75] += 1
        work()
        assert next(calls) == 0
    """
    )
    watched.run("--nsys").assert_outcomes(failed=1)
    assert story.of("worker").count("called") == 2


def test_without_nvml_nothing_is_known_and_nothing_breaks(watched: Project) -> None:
    watched.write("raise ImportError('there is none')", "driver/pynvml.py")
    watched.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys(rounds=2)
        @pytest.mark.parametrize("n", [1, 2])
        def test_it(n):
            simgpu.launch("kernel", 10)
        """
    )
    result, tests = watched.results("--nsys", "--nsys-record=recorded")
    result.assert_outcomes(passed=2)
    keys = metric_keys(tests["test_it[1]"])
    assert "gpu.kernel_time" in keys
    assert not keys & {"gpu.sm_clock", "gpu.memory_clock", "gpu.temperature", "gpu.power"}
    document = json.loads((watched.path / "recorded" / "recording.json").read_text())
    assert not any("state" in window for window in document["captures"][0]["windows"])


def test_a_gate_may_need_locked_clocks(watched: Project) -> None:
    text = """
    @pytest.mark.nsys(rounds=3)
    def test_it():
        gpu.max_sm_mhz, gpu.sm_mhz = 1980, CLOCK
        work()

    @pytest.mark.nsys(rounds=3)
    def test_varies():
        gpu.max_sm_mhz, gpu.sm_mhz = 1980, gpu.sm_mhz + 15 * (CLOCK != 1500)
        work()
    """
    watched.ini("nsys_clock = require-locked")
    watched.write(BODY + text.replace("CLOCK", "1500"))
    assert watched.run("--nsys-update").ret == 0
    assert watched.run("--nsys-baseline").ret == 0

    watched.write(BODY + text.replace("CLOCK", "1980"))
    result, tests = watched.results("--nsys-baseline", "--nsys-record=recorded")
    assert result.ret == 1
    assert [test["status"] for test in tests.values()] == ["violated", "violated"]
    judge = (sys.executable, "-m", "pytest_nsys", "judge", "recorded")
    for given, code in (((), 1), (("--clock=note",), 0)):
        assert watched.pytester.run(*judge, *given).ret == code, "as recorded, if not given"
    said = " ".join(" ".join(result.outlines).split())
    highest = "the GPU's clocks are not known to be locked: 1,980 MHz, as high as they can be"
    assert f"{highest}; lock them below the highest (nvidia-smi -lgc MHZ, as root)" in said
    assert "the GPU's clocks are not locked: 1,9" in said
    assert watched.run("--nsys").ret == 0, "only a gate needs them"

    watched.ini("nsys_clock = note")
    assert watched.run("--nsys-baseline").ret == 0
    watched.ini("nsys_clock = locked")
    result = watched.run("--nsys-baseline")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*nsys_clock is 'locked'*"])
