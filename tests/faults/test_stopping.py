"""Stopping a worker at a limit, and what the worker's own files hold out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.capture.proof import prove_report
from pytest_nsys.errors import CaptureMissing, SettingsError
from pytest_nsys.plan.settings import Settings, read_settings
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Job
from tests.support.harness import Project


@pytest.fixture
def read(pytester: pytest.Pytester) -> Callable[..., Settings]:
    """Reads settings from lines of an ini file and options."""

    def read(*ini: str, options: tuple[str, ...] = ()) -> Settings:
        pytester.makeini("\n".join(["[pytest]", *ini]))
        return read_settings(pytester.parseconfig(*options))

    return read


def test_without_being_told_there_are_no_limits(read: Callable[..., Settings]) -> None:
    settings = read()
    assert settings.max_duration_s is None
    assert settings.max_capture_size is None
    assert settings.tool_timeout_s == 900


def test_limits_are_read_with_their_units(read: Callable[..., Settings]) -> None:
    settings = read(
        "nsys_max_duration = 90", "nsys_max_capture_size = 1.5 GiB", "nsys_tool_timeout = 5 s"
    )
    assert settings.max_duration_s == 90
    assert settings.max_capture_size == 3 * 2**29
    assert settings.tool_timeout_s == 5


@pytest.mark.parametrize("text", ["2", "0 GiB", "big", "5 s", "-1 GiB"])
def test_a_size_needs_a_unit(text: str, read: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match="nsys_max_capture_size") as caught:
        read(f"nsys_max_capture_size = {text}")
    assert "2 GiB" in caught.value.remedy


def job(stop_file: str) -> Job:
    return Job((), (), (), {}, "events.jsonl", stop_file)


def test_a_worker_is_stopped_by_a_file(tmp_path: Path) -> None:
    assert job("").stop_reason() == ""
    file = tmp_path / "stop"
    assert job(str(file)).stop_reason() == ""
    file.write_text("enough")
    assert job(str(file)).stop_reason() == "enough"


def test_events_are_written_to_their_file_whatever_becomes_of_the_descriptor(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "events.jsonl", tmp_path / "other"
    log = EventLog(str(path))
    log.write("one")
    os.close(log._fd)
    log.write("two")
    mine = os.open(other, os.O_WRONLY | os.O_CREAT)
    os.dup2(mine, log._fd)
    log.write("three")
    os.close(mine)
    assert [line[11:-2] for line in path.read_text().splitlines()] == ["one", "two", "three"]
    assert other.read_bytes() == b""


@pytest.mark.parametrize(
    "printed",
    [
        "Connection to the Agent lost.",
        "Connection to Agent lost. This is most likely a bug. Internal reason: 'End of file'.",
    ],
)
def test_an_agent_that_was_ended_is_named(printed: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureMissing) as caught:
        prove_report(tmp_path / "report.nsys-rep", printed)
    assert "something ended the agent" in caught.value.remedy
    with pytest.raises(CaptureMissing) as caught:
        prove_report(tmp_path / "report.nsys-rep", "Agent")
    assert "TMPDIR" in caught.value.remedy


LIMITED = """
    import os, pathlib, time
    import pytest, simgpu

    stop = pathlib.Path(os.environ.get("PYTEST_NSYS_WORKER", "/none"), "stop")

    def wait():
        while not stop.exists():
            time.sleep(0.01)

    @pytest.mark.nsys(rounds=1, warmup=0)
    def test_last_round():
        simgpu.launch("gemm", 10)
        wait()

    @pytest.mark.nsys(rounds=1, warmup=0)
    def test_next():
        simgpu.launch("gemm", 10)

    @pytest.mark.nsys(rounds=1, warmup=0, isolate=True)
    def test_alone():
        simgpu.launch("gemm", 10)

    def test_ordinary():
        pass
"""


def test_what_was_measured_is_judged_and_the_rest_is_named(simulated: Project) -> None:
    """A test whose last round was running is measured; another capture has limits of its own."""
    simulated.ini("nsys_max_duration = 4")
    simulated.write(LIMITED)
    result = simulated.run("--nsys-update")
    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "not measured: nsys_max_duration (4 s) was reached before it",
            "  * s after the start of the worker",
            "What to do: raise the limit, or measure less in one run: *",
            "not measured: test_it.py::test_next: not measured: nsys_max_duration (4 s) *",
        ]
    )
    recorded = sorted(path.stem for path in simulated.path.rglob("baselines/**/*.json"))
    assert recorded == ["test_alone", "test_last_round"]


def test_a_run_cut_short_can_be_recorded_and_judged_again(simulated: Project) -> None:
    simulated.ini("nsys_max_duration = 4")
    simulated.write(LIMITED)
    simulated.run("--nsys", "--nsys-record=recording")
    result = simulated.run("--nsys", "--nsys-replay=recording")
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*nsys_max_duration (4 s) was reached before it*"])
