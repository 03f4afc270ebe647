"""The stand-in's sessions: collecting again and again around one program, as nsys 2023.4.4 does."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simgpu.machine import FLAGS, Export, Machine

# Launches the kernels that it is told of, and says when.
APP = """
import sys, time
import nvtx, simgpu
print("ready", flush=True)
for line in sys.stdin:
    began = time.time_ns()
    with nvtx.annotate(line.strip(), domain="app"):
        simgpu.launch(line.strip(), 50)
    print(began, time.time_ns(), flush=True)
sys.exit(3)
"""


class Profiled:
    """A program below ``nsys profile --start-later`` that is told what to launch."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        output = ["-o", str(machine.folder / "first")]
        later = ["--start-later=true", "--session-new=S"]
        self.nsys = machine.start(
            "profile", *FLAGS, *later, *output, sys.executable, "-u", "-c", APP
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.nsys.stdout is not None
        return self.nsys.stdout.readline().strip()

    def launch(self, kernel: str) -> tuple[int, int]:
        """Have a kernel launched; returns about when, UTC."""
        assert self.nsys.stdin is not None
        self.nsys.stdin.write(kernel + "\n")
        self.nsys.stdin.flush()
        began, ended = map(int, self._line().split())
        return began, ended

    def end(self) -> int:
        """Let it end; returns the exit code of nsys."""
        self.nsys.communicate(timeout=20)
        return self.nsys.returncode

    def state(self) -> str:
        """What ``nsys sessions list`` says of it."""
        lines = self.machine.run("sessions", "list").stdout.splitlines()
        assert lines[0].split() == ["ID", "TIME", "STATE", "LAUNCH", "NAME"]
        rows = [line.split() for line in lines[1:]]
        return next((f"{row[2]} {row[3]}" for row in rows if row[4] == "S"), "")


@pytest.fixture
def profiled(tmp_path: Path) -> Iterator[Profiled]:
    """A program that waits."""
    found = Profiled(Machine(tmp_path))
    yield found
    found.nsys.kill()
    found.nsys.communicate(timeout=20)


def exported(machine: Machine, report: Path) -> Export:
    """A report, exported."""
    output = report.with_suffix(".sqlite")
    done = machine.run("export", "-t", "sqlite", "-o", str(output), str(report))
    assert done.returncode == 0, done.stderr
    return Export(output)


def test_each_collection_has_what_was_done_in_it(profiled: Profiled) -> None:
    machine, folder = profiled.machine, profiled.machine.folder
    assert profiled.state() == "DelayedCollection 1"
    profiled.launch("before")
    reports = []
    for number in (1, 2):
        output = ["-o", str(folder / f"report-{number}.nsys-rep"), "--force-overwrite=true"]
        assert machine.run("start", "--session=S", *output, "--sample=none").returncode == 0
        assert profiled.state() == "Collection 1"
        began, ended = profiled.launch(f"inside-{number}")
        done = machine.run("stop", "--session=S")
        assert (done.returncode, done.stderr) == (0, "")
        assert profiled.state() == "Launched 1"
        said, name = done.stdout.splitlines()[-2:]
        assert said == "Generated:"
        report = Path(name.strip())
        reports.append(report.name)
        profiled.launch("between")

        export = exported(machine, report)
        assert export.kernels() == [(f"inside-{number}", 50_000)]
        ((zero,),) = export.rows("SELECT utcEpochNs FROM TARGET_INFO_SESSION_START_TIME")
        ((start,),) = export.rows("SELECT start FROM CUPTI_ACTIVITY_KIND_RUNTIME")
        assert began <= zero + start <= ended
        texts = "SELECT value FROM NVTX_EVENTS JOIN StringIds ON id = textId"
        assert export.rows(texts) == [(f"inside-{number}",)]
        ((length,),) = export.rows("SELECT duration FROM ANALYSIS_DETAILS")
        assert ended - zero < length < time.time_ns() - zero
    # The first start after `profile` takes no notice of its -o.
    assert reports == ["first.nsys-rep", "report-2.nsys-rep"]
    assert profiled.end() == 3
    assert profiled.state() == ""
    assert not list(folder.glob("nsys-simulated-*"))


def test_what_is_not_allowed_is_refused_in_nsys_words(profiled: Profiled) -> None:
    machine, folder = profiled.machine, profiled.machine.folder

    def refused(*arguments: str) -> str:
        done = machine.run(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr.splitlines()[0]

    stopping = "Collection stop is not allowed in this state."
    starting = "Configuring is not allowed in this state."
    assert refused("stop", "--session=S") == stopping
    assert refused("stop", "--session=T") == "Failed to find session: T."
    assert refused("start", "--session=S", "--trace=cuda") == "unrecognised option '--trace=cuda'"
    assert "Session name 'S' is already in use" in refused("profile", "--session-new=S", "true")
    assert machine.run("start", "--session=S").returncode == 0
    assert refused("start", "--session=S") == starting
    assert machine.run("stop", "--session=S").returncode == 0
    assert refused("stop", "--session=S") == stopping

    # What is there stays, unless it is told otherwise at each start.
    (folder / "old.nsys-rep").write_text("old")
    machine.run("start", "--session=S", "-o", str(folder / "old"))
    done = machine.run("stop", "--session=S")
    assert done.returncode == 0
    assert "File exists" in done.stderr
    assert Path(done.stdout.splitlines()[-1].strip()).name.startswith("nsys-report-")
    assert (folder / "old.nsys-rep").read_text() == "old"


def test_a_session_that_does_not_exist_is_made_without_a_program(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for command in ("stop", "shutdown"):
        done = machine.run(command, "--session=nosuch")
        assert (done.returncode, done.stderr) == (1, "There are no active sessions.\n")
    for command in ("stop", "shutdown"):
        assert machine.run("start", "--session=nosuch").returncode == 0
        listed = machine.run("sessions", "list").stdout.splitlines()
        assert listed[1].split()[2:] == ["Started", "0", "nosuch"]
        done = machine.run(command, "--session=nosuch")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert len(machine.run("sessions", "list").stdout.splitlines()) == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    machine.run("start", "--session=nosuch")
    done = machine.run("sessions", "list", TMPDIR=str(elsewhere))
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("collecting", [True, False])
def test_a_program_that_ends_leaves_a_report_only_while_it_is_collected(
    profiled: Profiled, collecting: bool
) -> None:
    machine, report = profiled.machine, profiled.machine.folder / "first.nsys-rep"
    if collecting:
        machine.run("start", "--session=S")
        profiled.launch("last")
    assert profiled.end() == 3
    assert report.exists() == collecting
    if collecting:
        assert exported(machine, report).kernels() == [("last", 50_000)]


def test_a_shutdown_ends_the_program_and_a_killed_nsys_has_no_session(profiled: Profiled) -> None:
    machine = profiled.machine
    machine.run("start", "--session=S")
    done = machine.run("shutdown", "--session=S")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert profiled.end() == 0
    assert not list(machine.folder.glob("*.nsys-rep"))

    other = Profiled(machine)
    (folder,) = machine.folder.glob("nsys-simulated-*")
    pid = json.loads((folder / "launched.json").read_text())["child"]
    other.nsys.kill()
    other.nsys.communicate(timeout=20)  # this closes its stdin, so that the program ends
    assert other.state() == ""
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()
