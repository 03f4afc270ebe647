"""The doctor's probes of sessions and other tools, on machines made up for them."""

from __future__ import annotations

import pytest

from pytest_nsys.doctor.machine import Process, Ran
from pytest_nsys.doctor.probes import interference
from tests.support.fake_machine import HEALTHY, NSYS, made, probed, statuses


def agent(pid: int, session: str) -> Process:
    command = ("/opt/nsys", "--start-agent", f"--session-name={session}", "--shm-name=quadd-1-2")
    return Process(pid, command)


def test_a_quiet_machine_is_fine() -> None:
    [result] = interference.sessions(probed(HEALTHY))
    assert result.status == "ok"
    assert HEALTHY.ran[-1] == [str(NSYS.path), "sessions", "list"]


@pytest.mark.parametrize("session", ["profile-77", "profile-python-77", "profile-python3.11-77"])
def test_agents_are_told_by_their_owner(session: str) -> None:
    one = agent(80, session)
    [result] = interference.sessions(probed(made(running=[one])))
    assert (result.status, result.remedy) == ("warning", "end it: kill 80")
    assert result.evidence == f"process 80: /opt/nsys {session}"
    zombie = made(running=[one, Process(77, ())])
    assert interference.sessions(probed(zombie)) == [result]
    alive = made(running=[one, Process(77, ("nsys", "profile"))])
    [result] = interference.sessions(probed(alive, (2025, 3, 1)))
    assert result.status == "ok"
    [result] = interference.sessions(probed(alive, (2023, 4, 4)))
    assert (result.status, result.remedy) == ("warning", "wait for it to end")


def test_agents_without_a_known_owner_are_left_over() -> None:
    nameless = Process(81, ("/opt/nsys", "--start-agent"))
    machine = made(running=[agent(80, "mine"), nameless, agent(82, "profile-82"), Process(9, ())])
    one, other = interference.sessions(probed(machine))
    assert one.remedy == "end them: kill 80 81"
    assert one.what.startswith("2 agents of nsys are left over")
    assert other.evidence == "process 82: /opt/nsys profile-82"


def test_an_nsys_that_does_not_answer_is_a_problem() -> None:
    machine = made(printed={"list": Ran(None, "did not end within 10 s")})
    [result] = interference.sessions(probed(machine))
    assert (result.status, result.evidence) == ("problem", "did not end within 10 s")
    machine = made(printed={"list": Ran(1, "Unknown command: sessions\n")})
    [result] = interference.sessions(probed(machine))
    assert (result.status, result.evidence) == ("skipped", "Unknown command: sessions")
    assert statuses(interference.sessions(probed(made(used=None)))) == ["ok"]


def test_no_other_tool_is_fine() -> None:
    machine = made(environ={"LD_PRELOAD": "", "CUDA_INJECTION64_PATH": ""})
    assert statuses(interference.other_tools(probed(machine))) == ["ok"]


def test_tools_that_are_in_the_environment_are_named() -> None:
    environ = {
        "CUDA_INJECTION64_PATH": "/x/lib.so",
        "NVTX_INJECTION64_PATH": "/y/lib.so",
        "LD_PRELOAD": "/z/lib.so",
    }
    results = interference.other_tools(probed(made(environ=environ)))
    assert statuses(results) == ["warning"] * 3
    assert [result.evidence for result in results] == [
        f"{name}={value}" for name, value in environ.items()
    ]
    # An nsys above us sets them all, and is the thing to speak of.
    nested = made(environ={**environ, "NSYS_PROFILING_SESSION_ID": "5"})
    [result] = interference.other_tools(probed(nested))
    assert (result.status, result.evidence) == ("warning", "NSYS_PROFILING_SESSION_ID=5")


def test_profilers_that_are_running_are_named_by_their_executable() -> None:
    running = [
        Process(5, ("/opt/nsight-compute/ncu", "--set", "full", "secret")),
        Process(6, ("vim", "ncu")),
        Process(7, ()),
    ]
    [result] = interference.other_tools(probed(made(running=running)))
    assert (result.status, result.evidence) == ("warning", "process 5: ncu")


@pytest.mark.parametrize(("value", "expected"), [("1", ["warning"]), ("0", []), ("", [])])
def test_waiting_launches_change_what_is_measured(value: str, expected: list[str]) -> None:
    machine = made(environ={"CUDA_LAUNCH_BLOCKING": value})
    assert statuses(interference.settings(probed(machine))) == expected
    assert interference.settings(probed(HEALTHY)) == []
