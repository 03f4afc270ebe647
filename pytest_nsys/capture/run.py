"""One worker under one nsys: start it, follow it, end it, and say how it ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from pytest_nsys.capture import launcher
from pytest_nsys.capture.follow import Event, EventTail, Tail
from pytest_nsys.capture.nsys import Nsys, minimal_environment, profile_command
from pytest_nsys.capture.processes import end_agents, end_trees, is_running
from pytest_nsys.errors import DeadlineExceeded, NsysLaunchFailed, NsysUsageError, WorkerFailed
from pytest_nsys.worker import __main__ as worker_main
from pytest_nsys.worker.job import Job

_POLL_S = 0.02
_REFUSALS = ("unrecognised option", "unrecognized option", "is ambiguous", "usage:", "Illegal")
_FATAL = "Fatal Python error"
_STDERR_LINES = 40
_NOT_INHERITED = ("PYTEST_CURRENT_TEST", "PYTEST_XDIST_", "COV_CORE_")


@dataclass(frozen=True)
class Deadlines:
    """Longest times, in seconds, for what the user cannot see the end of.

    Attributes:
        start: from the launch to the first test: imports, collection, nsys's own start.
        finish: from the worker's end to nsys's: writing and importing the report.
        export: one ``nsys export``.
    """

    start: float = 900.0
    finish: float = 900.0
    export: float = 900.0


class RunFolder:
    """A private folder (0700) for one run's files, removed at the end."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="pytest-nsys-"))

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and all it holds; a second time does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True)
class WorkerRun:
    """How a worker's run ended, and what it left.

    Attributes:
        events: everything the worker said.
        report: where nsys's report should be (it may be missing: see `pytest_nsys.capture.proof`).
        ended: whether the worker reached its own end.
        lost: the test in which the worker died or was ended, if any.
        reason: why, in words; empty for a good end.
        nsys_output: what nsys printed.
        stderr: the end of the worker's stderr.
        wall_s: seconds in the worker from launch to end, and in nsys after that.
    """

    events: tuple[Event, ...]
    report: Path
    ended: bool
    lost: str | None = None
    reason: str = ""
    nsys_output: str = ""
    stderr: str = ""
    wall_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Listener:
    """Who wants to know while a worker runs: of its events, and of its output under ``-s``."""

    event: Callable[[Event], None]
    stdout: Callable[[bytes], None]
    stderr: Callable[[bytes], None]


def run_worker(
    nsys: Nsys,
    job: Job,
    folder: Path,
    listener: Listener,
    *,
    nsys_args: Sequence[str] = (),
    timeouts: Mapping[str, float],
    deadlines: Deadlines = Deadlines(),
) -> WorkerRun:
    """Run the job under ``nsys profile`` and return when both have ended.

    Args:
        nsys: the nsys to use.
        job: the tests; its ``events`` lie in ``folder``.
        folder: a private folder for this worker's files.
        listener: told of what happens.
        nsys_args: further arguments of ``nsys profile``.
        timeouts: seconds for each test, by node id.
        deadlines: seconds for the rest.

    Raises:
        NsysUsageError: nsys refused its arguments.
        NsysLaunchFailed: it ended without starting the worker.
        WorkerFailed: the worker ended before it ran a test.
        DeadlineExceeded: the worker never began, or nsys never ended.
    """
    return _Run(nsys, job, folder, listener, nsys_args, timeouts, deadlines).follow()


class _Run:
    def __init__(
        self,
        nsys: Nsys,
        job: Job,
        folder: Path,
        listener: Listener,
        nsys_args: Sequence[str],
        timeouts: Mapping[str, float],
        deadlines: Deadlines,
    ) -> None:
        self._folder = folder
        self._listener = listener
        self._timeouts = timeouts
        self._deadlines = deadlines
        self._events: list[Event] = []
        self._current: str | None = None
        self._lost: str | None = None
        self._reason = ""
        self._started = self._since = time.monotonic()
        self._tail = EventTail(Path(job.events))
        self._stdout = Tail(folder / "stdout")
        self._stderr = Tail(folder / "stderr")
        self._report = folder / "report.nsys-rep"
        job.write(folder / "job.json")
        command = profile_command(
            nsys, folder / "report", _write_launch(folder, folder / "job.json"), nsys_args
        )
        self._log_path = folder / "nsys.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=minimal_environment(),
                start_new_session=True,
            )

    def follow(self) -> WorkerRun:
        try:
            self._follow_worker()
            worker_ended = time.monotonic()
            self._wait_for_nsys()
        finally:
            self._end_everything()
            self._tail.close()
            self._stdout.close()
            self._stderr.close()
        if not self._saw("collected"):
            raise self._startup_failure()
        return WorkerRun(
            events=tuple(self._events),
            report=self._report,
            ended=self._saw("end"),
            lost=self._lost,
            reason=self._reason,
            nsys_output=self._nsys_output(),
            stderr=self._stderr_end(),
            wall_s={
                "worker": worker_ended - self._started,
                "nsys": time.monotonic() - worker_ended,
            },
        )

    def _follow_worker(self) -> None:
        while True:
            # Looked at before reading: what was written before the end is read after it.
            over = self._process.poll() is not None or self._worker_gone()
            self._read()
            if over:
                break
            if self._overdue():
                self._end_worker()
            time.sleep(_POLL_S)
        if self._current is not None and self._lost is None and not self._saw("end"):
            self._lost, self._reason = self._current, self._death()

    def _read(self) -> None:
        for event in self._tail.read():
            self._events.append(event)
            if event["event"] == "start":
                self._current, self._since = event["nodeid"], time.monotonic()
            elif event["event"] == "finish":
                self._current, self._since = None, time.monotonic()
            self._listener.event(event)
        for tail, show in (
            (self._stdout, self._listener.stdout),
            (self._stderr, self._listener.stderr),
        ):
            data = tail.read()
            if data:
                show(data)

    def _overdue(self) -> bool:
        """Whether the test, or what precedes and follows the tests, has used up its time."""
        if self._lost is not None or self._reason:
            return False
        if self._current is not None:
            limit = self._timeouts[self._current]
        elif self._saw("start"):
            limit = self._deadlines.finish
        else:
            limit = self._deadlines.start
        if time.monotonic() - self._since < limit:
            return False
        where = "" if self._current is None else f" ({self._progress()})"
        self._lost = self._current
        self._reason = f"took longer than {limit:g} s{where} and was ended"
        return True

    def _progress(self) -> str:
        rounds = [event["round"] for event in self._events if event["event"] == "round"]
        if not rounds or self._events[-1]["event"] != "round":
            return "outside its rounds"
        return f"in round {rounds[-1] + 1}" if rounds[-1] >= 0 else "in a warm-up"

    def _worker_pid(self) -> int | None:
        try:
            return int((self._folder / "worker.pid").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def _worker_gone(self) -> bool:
        pid = self._worker_pid()
        return pid is not None and not is_running(pid)

    def _end_worker(self) -> None:
        pid = self._worker_pid()
        end_trees([self._process.pid if pid is None else pid])

    def _wait_for_nsys(self) -> None:
        try:
            self._process.wait(timeout=self._deadlines.finish)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(
                f"nsys did not end within {self._deadlines.finish:g} s of the worker's end",
                evidence=self._nsys_output(),
                remedy="run again; nsys 2022 is known to hang when its program ends at once: "
                "use a newer one if this happens often",
            ) from None

    def _end_everything(self) -> None:
        pids = [self._process.pid]
        pid = self._worker_pid()
        if pid is not None:
            pids.append(pid)
        if self._process.poll() is None or self._worker_alive(pid):
            end_trees(pids, first=signal.SIGINT, grace_s=3.0)
            end_agents(self._process.pid)
        elif pid is None:
            end_agents(self._process.pid)
        self._process.wait()

    @staticmethod
    def _worker_alive(pid: int | None) -> bool:
        return pid is not None and is_running(pid)

    def _saw(self, name: str) -> bool:
        return any(event["event"] == name for event in self._events)

    def _death(self) -> str:
        code = self._process.poll()
        if code is None:
            self._wait_for_nsys()
            code = self._process.returncode
        if code < 0:
            return f"the worker's nsys was ended by {_signal_name(-code)}"
        if code > 128:
            return f"the worker was ended by {_signal_name(code - 128)}"
        return f"the worker ended suddenly with exit code {code}"

    def _nsys_output(self) -> str:
        text = self._log_path.read_text(encoding="utf-8", errors="replace")
        lines = [line.split("\r")[-1].rstrip() for line in text.splitlines()]
        return "\n".join(line for line in lines if line)[-4000:]

    def _stderr_end(self) -> str:
        try:
            text = (self._folder / "stderr").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        lines = text.splitlines()
        # Python's own last words name the place first, and all of pytest's frames after it.
        fatal = [number for number, line in enumerate(lines) if line.startswith(_FATAL)]
        start = fatal[-1] if fatal else max(len(lines) - _STDERR_LINES, 0)
        return "\n".join(lines[start : start + _STDERR_LINES])

    def _startup_failure(self) -> Exception:
        if self._reason:
            return DeadlineExceeded(
                f"the worker did not begin its tests: it {self._reason}",
                evidence=self._stderr_end() or self._nsys_output(),
                remedy="see what its imports or the collection of its tests wait for",
            )
        if self._worker_pid() is None:
            printed = self._nsys_output()
            if any(text in printed for text in _REFUSALS):
                return NsysUsageError(
                    "nsys refused its arguments",
                    evidence=printed,
                    remedy="correct what is passed through to nsys (nsys_args)",
                )
            return NsysLaunchFailed(
                "nsys ended without starting the worker",
                evidence=printed or f"exit code {self._process.returncode}, nothing printed",
                remedy="run 'nsys profile true' by hand: it should fail in the same way",
            )
        errors = [event["text"] for event in self._events if event["event"] == "internal_error"]
        return WorkerFailed(
            "the worker ended before it ran its first test",
            evidence=f"{self._death()}\n"
            + ("\n".join(errors) or self._stderr_end() or self._nsys_output()),
            remedy="the same imports and collection work in the controller: look for what "
            "differs below nsys, in the lines above",
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _write_launch(folder: Path, job: Path) -> list[str]:
    """Write the launcher's private file; returns the command for nsys to run."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    launch = {
        "command": [sys.executable, *flags, worker_main.__file__, str(job)],
        "environment": worker_environment(os.environ),
        "minimal": minimal_environment(),
        "pid_file": str(folder / "worker.pid"),
        "stdout": str(folder / "stdout"),
        "stderr": str(folder / "stderr"),
    }
    path = folder / "launch.json"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(launch, file)
    return [sys.executable, "-S", "-E", launcher.__file__, str(path)]


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The controller's environment without what speaks of the controller alone.

    ``PYTEST_ADDOPTS`` stays: the worker parses the same command line again. Coverage of
    subprocesses (``COVERAGE_*``) stays: whoever sets it asks for it.
    """
    return {
        name: value for name, value in environment.items() if not name.startswith(_NOT_INHERITED)
    }
