"""One worker under one nsys: start it, follow it, end it, and say how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pytest_nsys.capture.follow import Event, EventTail, Tail
from pytest_nsys.capture.importing import import_again
from pytest_nsys.capture.nsys import NsysTool, profile_command
from pytest_nsys.capture.starting import (
    end_nsys,
    not_started,
    printed_by_nsys,
    read_pid,
    refused,
    start_nsys,
)
from pytest_nsys.errors import (
    DeadlineExceeded,
    NsysError,
    NsysLaunchFailed,
    WorkerFailed,
)
from pytest_nsys.process.environment import given_environment
from pytest_nsys.process.limits import NO_LIMITS, Limits, bytes_on_disk, demand_space, shortage
from pytest_nsys.process.processes import end_trees, is_running, signal_name
from pytest_nsys.process.shim_command import write_shim_command
from pytest_nsys.support.own import own
from pytest_nsys.windows.record import WindowRecord
from pytest_nsys.worker import __main__ as worker_main
from pytest_nsys.worker.job import Job, Task
from pytest_nsys.worker.node import new_workerinput

_POLL_S = 0.02
_MEASURE_S = 0.25
_UNKILLABLE_S = 15.0
_DEATH_S = 60.0
_ENDING_S = 2.0
_FATAL = "Fatal Python error"
_STDERR_LINES = 40
_NOT_ENDED = "it ended suddenly"
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


@dataclass(frozen=True)
class Program:
    """What runs the worker.

    Attributes:
        python: the interpreter.
        directory: where it is started; "" for the current one.
        environment: variables put over those that the controller was started with.
    """

    python: str = sys.executable
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


THIS_PYTHON = Program()


@dataclass(frozen=True)
class Brought:
    """A capture that was made and exported on another machine.

    Attributes:
        export: the export, here; None where there is none.
        nsys: version of the nsys there.
        versions: of Python and the frameworks there.
        problem: why there is no export, where there should be one.
    """

    export: Path | None
    nsys: str
    versions: Mapping[str, str]
    problem: NsysError | None = None


@dataclass(frozen=True)
class WorkerRun:
    """How a worker's run ended, and what it left.

    Attributes:
        events: everything the worker said.
        report: where nsys's report should be (it may be missing: see `pytest_nsys.capture.proof`).
        ended: whether the worker reached its own end.
        lost: the test in which the worker died or was ended, if any.
        reason: why, in words; empty for a good end.
        limit: the limit that the worker was told to stop at; empty if it was not.
        nsys_output: what nsys printed.
        stderr: the end of the worker's stderr.
        wall_s: seconds in the worker from launch to end, and in nsys after that.
        brought: its capture, where it ran on another machine.
    """

    events: tuple[Event, ...]
    report: Path
    ended: bool
    lost: str | None = None
    reason: str = ""
    limit: str = ""
    nsys_output: str = ""
    stderr: str = ""
    wall_s: Mapping[str, float] = field(default_factory=dict)
    brought: Brought | None = None

    @property
    def records(self) -> tuple[WindowRecord, ...]:
        """The worker's windows."""
        return tuple(event["record"] for event in self.events if event["event"] == "window")


class Node(Protocol):
    """A worker as plugins know it, from before its start on.

    Attributes:
        sent: what the worker finds as ``workerinput``.
    """

    @property
    def sent(self) -> Mapping[str, Any]: ...

    def event(self, event: Event) -> None:
        """The worker says something."""

    def end(self, error: str) -> None:
        """It is over; ``error`` is the reason, if it did not reach its own end."""


class UnknownNode:
    """A worker that no plugin knows of."""

    def __init__(self) -> None:
        self.sent: Mapping[str, Any] = new_workerinput()

    def event(self, event: Event) -> None:
        """Nobody is told."""

    def end(self, error: str) -> None:
        """Nobody is told."""


@dataclass(frozen=True)
class Listener:
    """Who wants to know of workers.

    Attributes:
        event: told of each event.
        stdout: given its output, under ``-s``.
        stderr: the same.
        node: called before a worker is started.
    """

    event: Callable[[Event], None]
    stdout: Callable[[bytes], None]
    stderr: Callable[[bytes], None]
    node: Callable[[], Node] = UnknownNode


def run_worker(
    nsys: NsysTool,
    job: Job,
    folder: Path,
    listener: Listener,
    *,
    nsys_args: Sequence[str] = (),
    timeouts: Mapping[str, float],
    deadlines: Deadlines = Deadlines(),
    limits: Limits = NO_LIMITS,
    program: Program = THIS_PYTHON,
) -> WorkerRun:
    """Run the job under ``nsys profile`` and return when both have ended.

    Args:
        nsys: the nsys to use.
        job: the tests; its ``events`` lie in ``folder``.
        folder: a private folder for this worker's files; removed if the worker was not started.
        listener: told of what happens.
        nsys_args: further arguments of ``nsys profile``.
        timeouts: seconds for each test, by node id.
        deadlines: seconds for the rest.
        limits: what the worker may use before it is told to stop; the test that runs then may
            finish its round.
        program: what runs the worker, and where.

    Raises:
        NoRunFolder: there is too little space for temporary files.
        NsysUsageError: nsys refused its arguments.
        NsysLaunchFailed: it ended without starting the worker.
        WorkerFailed: the worker ended before it ran a test.
        DeadlineExceeded: the worker never began, or nsys never ended.
    """
    worker = Worker(
        nsys, job, folder, listener, nsys_args, deadlines=deadlines, limits=limits, program=program
    )
    return worker.run(timeouts)


class Worker:
    """A worker below its nsys, from its start on.

    Args:
        nsys: the nsys to use.
        job: what it is started for; its ``events`` lie in ``folder``.
        folder: a private folder for this worker's files.
        listener: told of what happens.
        nsys_args: further arguments of ``nsys profile``.
        deadlines: seconds for what is not a test.
        limits: what the worker may use.
        program: what runs it, and where.

    Raises:
        NoRunFolder, NsysLaunchFailed: as of `run_worker`.
    """

    def __init__(
        self,
        nsys: NsysTool,
        job: Job,
        folder: Path,
        listener: Listener,
        nsys_args: Sequence[str] = (),
        *,
        deadlines: Deadlines = Deadlines(),
        limits: Limits = NO_LIMITS,
        program: Program = THIS_PYTHON,
    ) -> None:
        demand_space(folder)
        self._nsys = nsys
        self._node = listener.node()
        self._job = job = replace(job, workerinput=self._node.sent)
        self._folder = folder
        self._listener = listener
        self._timeouts: Mapping[str, float] = {}
        self._deadlines = deadlines
        self._limits = limits
        self._limit = ""
        self._stop_file = Path(job.stop_file)
        self._events: list[Event] = []
        self._current: str | None = None
        self._lost: str | None = None
        self._reason = ""
        self._deserted = False
        self._started = self._since = self._measured = own.clock()
        self._given_up_at = float("inf")
        self._first_test_at: float | None = None
        self._tail = EventTail(Path(job.events))
        self._stdout = Tail(folder / "stdout")
        self._stderr = Tail(folder / "stderr")
        self._report = folder / "report.nsys-rep"
        self._pipe: int | None = None
        self._told = not job.pipe
        if job.pipe:
            own.make_pipe(job.pipe, 0o600)
            # Both ends: opening one alone would wait for the worker to open the other.
            self._pipe = own.open_fd(job.pipe, os.O_RDWR | os.O_CLOEXEC)
        shim = shim_command(folder, job, program)
        command = profile_command(nsys, folder / "report", shim, nsys_args)
        try:
            self._process = start_nsys(command, folder)
        except NsysLaunchFailed:
            self._node.end(_NOT_ENDED)
            raise

    def starts(self, within_s: float) -> bool:
        """Whether nsys starts it in that time, or ends: the file with its environment is gone."""
        deadline = own.clock() + within_s
        while self._worker_pid() is None and self._process.poll() is None:
            if own.clock() > deadline:
                return False
            own.sleep(_POLL_S)
        return True

    def wait(self) -> None:
        """Wait until it has collected and waits for its task, or cannot any more."""
        self._follow(lambda: self._saw("ready"))

    @property
    def uses_gpu(self) -> bool:
        """Whether it uses the GPU though it has only collected."""
        return any(event["event"] == "ready" and event["uses_gpu"] for event in self._events)

    def tell(self, task: Task) -> None:
        """Have it run its tests, as soon as it has collected."""
        assert self._pipe is not None
        self._job.tell(task)
        self._told = True
        self._started = self._since = own.clock()
        own.write(self._pipe, b"\n")

    def run(self, timeouts: Mapping[str, float]) -> WorkerRun:
        """Follow it until it has ended, and nsys has; see `run_worker`.

        Args:
            timeouts: seconds for each test, by node id.
        """
        self._timeouts = timeouts
        try:
            return self._run()
        except NsysLaunchFailed:
            # It is tried again, and what a crashed nsys has left may be what there is no space for.
            own.remove_tree(self._folder, ignore_errors=True)
            raise

    def _run(self) -> WorkerRun:
        try:
            self._follow_worker()
            worker_ended = own.clock()
            printed = ""
            if self._lost is None:  # else the capture is not used
                self._wait_for_nsys()
                printed = self._nsys_output()
                if self._saw("end"):
                    deadline_s = self._deadlines.finish
                    printed = import_again(self._nsys, self._report, printed, deadline_s=deadline_s)
        finally:
            self.end("" if self._saw("end") else self._reason or _NOT_ENDED)
        if not self._saw("collected"):
            raise self._startup_failure()
        return WorkerRun(
            events=tuple(self._events),
            report=self._report,
            ended=self._saw("end"),
            lost=self._lost,
            reason=self._reason,
            limit=self._limit,
            nsys_output=printed or self._nsys_output(),
            # How a worker ends that nsys has left alone is of our own making.
            stderr=self._nsys_output() if self._deserted else self._stderr_end(),
            wall_s={
                "worker": worker_ended - self._started,
                "nsys": own.clock() - worker_ended,
            },
        )

    def dismiss(self) -> None:
        """There are no tests for it; it ends by itself."""
        if self._pipe is not None:
            own.close(self._pipe)
            self._pipe = None

    def end(self, error: str) -> None:
        """End nsys, its agent, the worker and all that the tests left running.

        Args:
            error: why it did not reach its own end; "" if it did.
        """
        try:
            well = self._process.poll() is not None and not self._worker_alive(self._worker_pid())
            end_nsys(self._process, self._folder, well=well)
        finally:
            self.dismiss()
            for tail in (self._tail, self._stdout, self._stderr):
                tail.close()
            self._node.end(error)

    def _follow(self, enough: Callable[[], bool]) -> None:
        """Follow it until that is enough, or it is over."""
        while True:
            # Looked at before reading: what was written before the end is read after it.
            over = self._process.poll() is not None or self._worker_gone()
            self._read()
            if over or own.clock() > self._given_up_at or enough():
                return
            if self._overdue():
                self._given_up_at = own.clock() + _UNKILLABLE_S
                self._end_worker()
            self._watch_limits()
            own.sleep(_POLL_S)

    def _follow_worker(self) -> None:
        self._follow(lambda: False)
        if self._lost is not None or self._saw("end"):
            return
        code = self._process.poll()
        alive = self._worker_alive(self._worker_pid())
        self._deserted = code is not None and code >= 0 and alive
        if self._current is not None or (self._deserted and self._saw("collected")):
            self._lost = self._current
            self._reason = self._death() + shortage(self._folder)

    def _read(self) -> None:
        for event in self._tail.read():
            self._events.append(event)
            if event["event"] == "start":
                self._current, self._since = event["nodeid"], own.clock()
                self._first_test_at = self._first_test_at or self._since
            elif event["event"] == "finish":
                self._current, self._since = None, own.clock()
            self._listener.event(event)
            self._node.event(event)
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
        if not self._told and self._saw("ready"):
            return False  # it waits for us
        if self._current is not None:
            limit = self._timeouts[self._current]
        elif self._saw("start"):
            limit = self._deadlines.finish
        else:
            limit = self._deadlines.start
        if own.clock() - self._since < limit:
            return False
        where = "" if self._current is None else f" ({self._progress()})"
        self._lost = self._current
        self._reason = f"took longer than {limit:g} s{where} and was ended"
        return True

    def _watch_limits(self) -> None:
        """Tell the worker to stop where its tests exceed a limit; it does so at its next round."""
        now, begun = own.clock(), self._first_test_at
        if self._limit or begun is None or now - self._measured < _MEASURE_S:
            return
        self._measured = now
        size = bytes_on_disk(self._folder) if self._limits.size is not None else 0
        self._limit = self._limits.exceeded(now - begun, size)
        if self._limit:
            self._stop_file.write_text(self._limit, encoding="utf-8")

    def _progress(self) -> str:
        rounds = [event["round"] for event in self._events if event["event"] == "round"]
        if not rounds or self._events[-1]["event"] != "round":
            return "outside its rounds"
        return f"in round {rounds[-1] + 1}" if rounds[-1] >= 0 else "in a warm-up"

    def _worker_pid(self) -> int | None:
        return read_pid(self._folder / "worker.pid")

    def _worker_gone(self) -> bool:
        pid = self._worker_pid()
        return pid is not None and not is_running(pid)

    def _end_worker(self) -> None:
        pid = self._worker_pid()
        end_trees([self._process.pid if pid is None else pid], grace_s=_ENDING_S)

    def _wait_for_nsys(self) -> None:
        try:
            self._process.wait(timeout=self._deadlines.finish)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(
                f"nsys did not end within {self._deadlines.finish:g} s of the worker's end"
                + shortage(self._folder),
                evidence=self._nsys_output(),
                remedy="run again; nsys 2022 is known to hang when its program ends at once: "
                "use a newer one if this happens often; nsys_tool_timeout sets how long it may "
                "take",
            ) from None

    @staticmethod
    def _worker_alive(pid: int | None) -> bool:
        return pid is not None and is_running(pid)

    def _saw(self, name: str) -> bool:
        return any(event["event"] == name for event in self._events)

    def _death(self) -> str:
        """How nsys says that the worker died; its exit code is the worker's."""
        try:
            code = self._process.wait(timeout=min(_DEATH_S, self._deadlines.finish))
        except subprocess.TimeoutExpired:
            return "the worker ended suddenly, and nsys did not end after it"
        if self._deserted:
            return "nsys ended before the worker did"
        if code < 0:
            return f"the worker's nsys was ended by {signal_name(-code)}"
        if code > 128:
            return f"the worker was ended by {signal_name(code - 128)}"
        limits = [event["limit_s"] for event in self._events if event["event"] == "timeout"]
        if limits:
            return (
                f"took longer than the {limits[-1]:g} s of pytest-timeout, which ended the worker"
            )
        return f"the worker ended suddenly with exit code {code}"

    def _nsys_output(self) -> str:
        return printed_by_nsys(self._folder)

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
        if self._reason and self._worker_pid() is None:
            return DeadlineExceeded(
                f"nsys did not start the worker: it {self._reason}{shortage(self._folder)}",
                evidence=self._nsys_output() or "nsys printed nothing",
                remedy="run 'nsys profile true' by hand: it should hang in the same way; "
                "nsys_tool_timeout sets how long it may take",
            )
        if self._reason:
            return DeadlineExceeded(
                f"the worker did not begin its tests: it {self._reason}{shortage(self._folder)}",
                evidence=self._stderr_end() or self._nsys_output(),
                remedy="see what its imports or the collection of its tests wait for",
            )
        if self._worker_pid() is None:
            printed = self._nsys_output()
            return refused(
                printed, "correct what is passed through to nsys (nsys_args)"
            ) or not_started("the worker", printed, self._process.returncode, self._folder)
        unfit = [event for event in self._events if event["event"] == "unfit"]
        if unfit:
            return WorkerFailed(
                "the worker cannot measure", evidence=unfit[0]["text"], remedy=unfit[0]["remedy"]
            )
        errors = [event["text"] for event in self._events if event["event"] == "internal_error"]
        ended = "" if self._deserted else self._stderr_end()
        return WorkerFailed(
            "the worker ended before it ran its first test" + shortage(self._folder),
            evidence=f"{self._death()}\n" + ("\n".join(errors) or ended or self._nsys_output()),
            remedy="the same imports and collection work in the controller: look for what "
            "differs below nsys, in the lines above",
        )


def shim_command(
    folder: Path, job: Job, program: Program, around: Mapping[str, str] | None = None
) -> list[str]:
    """Write the job, and the exec shim's private file; returns the command for the profiler to run.

    Args:
        folder: private, for the worker's files.
        job: what it is started for.
        program: what runs it, and where.
        around: what the profiler is started with; None for `private_environment` of the folder.
    """
    file = folder / "job.json"
    job.write(file)
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return write_shim_command(
        folder,
        [program.python, *flags, worker_main.__file__, str(file)],
        environment={**worker_environment(given_environment()), **program.environment},
        directory=program.directory,
        pid_file="worker.pid",
        streams=job.streams,
        around=around,
    )


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The controller's environment without what speaks of the controller alone.

    ``PYTEST_ADDOPTS`` stays: the worker parses the same command line again. Coverage of
    subprocesses (``COVERAGE_*``) stays: whoever sets it asks for it.
    """
    return {
        name: value for name, value in environment.items() if not name.startswith(_NOT_INHERITED)
    }
