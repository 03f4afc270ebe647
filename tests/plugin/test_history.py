"""The history and accepted changes through the plugin."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from pytest_nsys.cli.main import main
from tests.support.harness import Project, git

TEST = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=2, {marker})
    def test_one(nsys):
        with nsys.range("part"):
            simgpu.launch("gemm", {us})

    @pytest.mark.nsys(rounds=2)
    @pytest.mark.parametrize("size", ["a/b"])
    def test_two(size):
        simgpu.launch("gemm", 100)

    @pytest.mark.nsys(rounds=2)
    def test_fails():
        assert False
"""


def write(project: Project, us: int = 100, marker: str = "") -> None:
    project.write(TEST.format(us=us, marker=marker))


def lines(project: Project, folder: str = "history") -> dict[str, list[dict[str, Any]]]:
    """The lines of each test, by its name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((project.path / folder).rglob("*.jsonl")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            found.setdefault(entry["nodeid"].partition("::")[2], []).append(entry)
    return found


def test_every_run_adds_a_line_for_every_test_that_was_judged(simulated: Project) -> None:
    write(simulated)
    simulated.run("--nsys-update", "--nsys-history=history")
    write(simulated, us=200)
    result = simulated.run("--nsys", "--nsys-history=history")
    result.stdout.fnmatch_lines([f"history: {simulated.path}/history"])
    simulated.run("--nsys-update", "-k", "two")  # not asked for here
    found = lines(simulated)
    assert {name: len(entries) for name, entries in found.items()} == {
        "test_one": 2,
        "test_two[a/b]": 2,
    }
    first, second = found["test_one"]
    assert set(first["windows"]) == {"test", "part"}
    assert first["windows"]["part"]["gpu.kernel_count"][0] == 1
    assert first["windows"]["test"]["gpu.kernel_time"][0] == 100_000
    assert second["windows"]["test"]["gpu.kernel_time"][0] == 200_000
    assert (first["status"], second["status"]) == ("new", "regressed")
    assert first["device"] == "nvidia-h200"
    assert first["date"] <= second["date"]
    assert first["nsys"]
    assert first["driver"]
    assert "python" in first["versions"]
    paths = {
        str(path.relative_to(simulated.path / "history"))
        for path in (simulated.path / "history").rglob("*.jsonl")
    }
    assert "nvidia-h200/test_it.py/test_one.jsonl" in paths


def test_it_can_stand_in_the_ini_file_and_be_shown(
    simulated: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated.ini("nsys_history = runs")
    for us in (100, 100, 200):
        write(simulated, us)
        simulated.run("--nsys", "-k", "one")
    assert main(["history", str(simulated.path / "runs"), "--fail-on-change"]) == 1
    out = capsys.readouterr().out
    assert "  gpu.kernel_time 100 us -> 200 us (+100%), min 100 us, max 200 us\n    ▁▁█\n" in out
    assert "over the tolerance of 3% or 5 us" in out


def test_the_commit_is_kept_and_what_the_run_writes_does_not_make_it_dirty(
    simulated: Project,
) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]

    def commit() -> str:
        subprocess.run([*git, "add", "test_it.py", "baselines"], check=True, cwd=simulated.path)
        subprocess.run([*git, "commit", "-qm", "x"], check=True, cwd=simulated.path)
        head = subprocess.check_output([*git, "rev-parse", "HEAD"], cwd=simulated.path, text=True)
        return head.strip()

    subprocess.run([*git, "init", "-q"], check=True, cwd=simulated.path)
    write(simulated)
    simulated.run("--nsys-update", "-k", "one")
    head = commit()
    simulated.run("--nsys-update", "--nsys-history=history", "-k", "one")
    write(simulated, us=101)
    simulated.run("--nsys", "--nsys-history=history", "-k", "one")
    assert [entry["commit"] for entry in lines(simulated)["test_one"]] == [head, f"{head}+dirty"]


def test_a_replay_is_added_too(simulated: Project) -> None:
    write(simulated)
    simulated.run("--nsys", "--nsys-record=recording", "-k", "one")
    simulated.run("--nsys-replay=recording", "--nsys-history=history", "-k", "one")
    assert len(lines(simulated)["test_one"]) == 1


def test_a_replay_is_of_the_commit_that_was_recorded(simulated: Project) -> None:
    write(simulated)
    git(simulated.path, "init", "-q")
    git(simulated.path, "add", "test_it.py")
    git(simulated.path, "commit", "-qm", "one")
    recorded = git(simulated.path, "rev-parse", "HEAD")
    simulated.run("--nsys", "--nsys-record=recording", "-k", "one")
    git(simulated.path, "commit", "-qm", "two", "--allow-empty")
    simulated.run("--nsys-replay=recording", "--nsys-history=history", "-k", "one")
    assert [entry["commit"] for entry in lines(simulated)["test_one"]] == [recorded]


def test_a_history_that_cannot_be_written_is_an_error(simulated: Project) -> None:
    write(simulated)
    (simulated.path / "history").write_text("")
    result = simulated.run("--nsys", "--nsys-history=history", "-k", "one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the history in *history cannot be written"])


# Accepted changes


CASES = """
    import pytest, simgpu

    nsys = pytest.mark.nsys(rounds=2)

    @nsys
    def test_known():
        simgpu.launch("gemm", {us})

    @nsys
    def test_too_far():
        simgpu.launch("gemm", {us})

    @nsys
    def test_expired():
        simgpu.launch("gemm", {us})

    @nsys
    def test_not_named():
        simgpu.launch("gemm", {us})

    @pytest.mark.nsys(rounds=2, expected={{
        "metric": "gpu.*", "reason": "marked", "until": "2999-12-31", "limit": "150%"
    }})
    def test_marked():
        simgpu.launch("gemm", {us})
"""

ACCEPTED = """
    [[accepted]]
    test = "test_it.py::test_k*"
    metric = "gpu.kernel_time"
    limit = "150%"
    reason = "new kernel, see #1"
    until = 2999-12-31

    [[accepted]]
    test = "*::test_too_far"
    limit = "50%"
    reason = "half of it"
    until = 2999-12-31

    [[accepted]]
    test = "*::test_expired"
    reason = "for a while"
    until = 2026-01-01
"""


def test_known_regressions_are_expected_failures_until_they_expire(simulated: Project) -> None:
    simulated.write(CASES.format(us=100))
    simulated.run("--nsys-update")
    simulated.write(CASES.format(us=200))
    simulated.write(ACCEPTED, "baselines/accepted.toml")
    result = simulated.run("--nsys-baseline", "--nsys-history=history", "-rxX")
    result.assert_outcomes(xfailed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*was accepted until 2026-01-01: for a while*",
            "XFAIL test_it.py::test_known - *accepted until 2999-12-31: new kernel, see #1*",
            "XFAIL test_it.py::test_marked - *accepted until 2999-12-31: marked*",
        ]
    )
    result.stdout.fnmatch_lines(["*accepted up to 50% only: half of it*"])
    statuses = {name: entries[0]["status"] for name, entries in lines(simulated).items()}
    assert statuses == {
        "test_known": "expected",
        "test_too_far": "regressed",
        "test_expired": "regressed",
        "test_not_named": "regressed",
        "test_marked": "expected",
    }


def test_a_wrong_entry_in_a_marker_is_a_usage_error_that_names_the_test(
    simulated: Project,
) -> None:
    write(simulated, marker='expected={"reson": "x"}')
    result = simulated.run("--nsys", "-k", "one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*test_it.py::test_one: @pytest.mark.nsys has expected=*there is no key 'reson'"]
    )
    result.stderr.fnmatch_lines(["*did you mean 'reason'?*"])


def test_a_wrong_file_is_one_error(simulated: Project) -> None:
    write(simulated)
    path = simulated.write(
        ACCEPTED.replace("gpu.kernel_time", "gpu.kernal_time"), "baselines/accepted.toml"
    )
    result = simulated.run("--nsys-baseline", "-k", "one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{path}: entry 1: there is no metric 'gpu.kernal_time'"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
