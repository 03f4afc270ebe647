"""The life of one server: started under nsys or without it, waited for, watched, ended."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.capture.nsys import NsysTool, override, profile_command, trace_options
from pytest_nsys.capture.run import worker_environment
from pytest_nsys.capture.starting import (
    launch_repeatedly,
    not_started,
    read_pid,
    refused,
    start_nsys,
)
from pytest_nsys.errors import (
    CommandMissing,
    DeadlineExceeded,
    NsysLaunchFailed,
    ServerDied,
    ServerError,
    ServerFailed,
    ServerNotReady,
    SessionTaken,
)
from pytest_nsys.process.environment import private_environment
from pytest_nsys.process.guard import end_marked
from pytest_nsys.process.limits import demand_space, shortage
from pytest_nsys.process.logs import last_lines, read_end
from pytest_nsys.process.processes import is_running, reap, signal_name
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.process.shim_command import write_shim_command
from pytest_nsys.servers.engines.failure_patterns import failure_line, first_failure
from pytest_nsys.servers.engines.http import first_model, get
from pytest_nsys.servers.engines.ports import demand_free, wait_until_free
from pytest_nsys.servers.engines.spec import ServerSpec
from pytest_nsys.servers.running.endpoint_session import EndpointRange, range_options
from pytest_nsys.servers.running.nsys_session import (
    Collection,
    SessionTool,
    StartStop,
    demand_sessions,
)
from pytest_nsys.servers.running.orphans import end_orphans, session_name
from pytest_nsys.servers.running.startup import Startup, time_words
from pytest_nsys.support.own import own

_POLL_S = 0.05
_SLOW_POLL_S = 0.5
_PROBE_S = 5.0
_DEATH_S = 30.0
_NSYS_ENDS_S = 30.0
_AGENT_S = 1.0
_PORT_S = 10.0
_TAKEN = "is already in use"
_LOG = "server.log"
_KEEPS_MARK = {"SPT_NOENV": "1"}
"""Engines name their processes with setproctitle, which writes over the environment that a process
is found by; this it documents to prevent that."""
_PID = "server.pid"


@dataclass(frozen=True)
class ServerDeadlines:
    """Longest times, in seconds.

    Attributes:
        launch: for nsys to start the server's program.
        ready: from then on, for the server to answer that it is ready.
        stop: from SIGTERM to the server's end; after that it is killed.
        tool: for one command of nsys: starting or stopping a collection, with its report.
    """

    launch: float = 300.0
    ready: float = 1800.0
    stop: float = 20.0
    tool: float = 900.0


class ServerProcess:
    """A server that was started here. Make one with `start_server`.

    Attributes:
        spec: what it was started with.
        folder: private, of this server, gone after `stop`.
        session: nsys's name for it; "" without nsys.
        options: what it is profiled with; empty without nsys.
        startup: how its start goes, or went.
    """

    def __init__(
        self,
        spec: ServerSpec,
        folder: Path,
        nsys: NsysTool | None,
        nsys_args: Sequence[str],
        deadlines: ServerDeadlines,
    ) -> None:
        self.spec = spec.in_folder(folder)
        self.folder = folder
        self.session = "" if nsys is None else folder.name
        self.options: tuple[str, ...] = ()
        self.startup = Startup(folder / _LOG, spec.stages)
        self._nsys = nsys
        self._deadlines = deadlines
        self._killed_for_memory = _killed_for_memory()
        self._process: subprocess.Popen[bytes] | None = None
        self._collection: Collection | None = None
        self._stopped = False
        if nsys is not None:
            needs = override(spec.nsys_args, nsys_args)
            self.options = trace_options(needs)

    @property
    def url(self) -> str:
        """Address of the server, without a slash at the end."""
        return self.spec.url

    @property
    def model(self) -> str:
        """What requests call the model, asked of the server where nothing else says it."""
        return self.spec.model or first_model(self.url, _PROBE_S)

    @property
    def pid(self) -> int | None:
        """Process id of the server's program; None as long as it is not running."""
        return read_pid(self.folder / _PID)

    @property
    def collection(self) -> Collection | None:
        """Starts and stops collecting around it; None without nsys."""
        return self._collection

    @property
    def recorded(self) -> Path:
        """Where nsys puts what it records, before it makes a report of it."""
        return self.folder / "tmp"

    def log(self) -> str:
        """The end of what the server has printed."""
        return read_end(self.folder / _LOG)

    def nsys_log(self) -> str:
        """The end of what nsys has printed."""
        return read_end(self.folder / "nsys.log")

    def wait_until_ready(
        self,
        deadline_s: float | None = None,
        watch: Callable[[Startup], object] = lambda _: None,
    ) -> None:
        """Wait until the server answers that it can serve.

        Args:
            deadline_s: how long it may take; None for what it was started with.
            watch: told again and again how it goes.

        Raises:
            ServerFailed: it has ended.
            ServerNotReady: the deadline has passed.
        """
        limit = self._deadlines.ready if deadline_s is None else deadline_s
        began = own.clock()
        while True:
            self.startup.look()
            watch(self.startup)
            if how := self._ended():
                what = f"ended before it was ready{self._stage()}: {how}"
                raise self._failure(ServerFailed, what, said=self._stages())
            left = max(limit - (own.clock() - began), _POLL_S)
            answer = get(self.url, self.spec.ready, min(_PROBE_S, left))
            if answer.status == 200:
                self.startup.end()
                return
            if own.clock() - began >= limit:
                where = f"{self.url}{self.spec.ready}"
                raise self._failure(
                    ServerNotReady,
                    f"was not ready within {limit:g} s{self._stage()}",
                    said="\n".join(filter(None, [self._stages(), f"GET {where}: {answer.words}"])),
                    remedy="give it longer (ready_timeout=), or correct the path that tells "
                    "when it is ready (ready=)",
                )
            own.sleep(_POLL_S if own.clock() - began < 10 * _SLOW_POLL_S else _SLOW_POLL_S)

    def check_alive(self, patience_s: float = 0.0) -> None:
        """The server runs, and nsys around it.

        Args:
            patience_s: how long to look at it, for who has a reason to believe that it is dying:
                a request is cut off some time before the process is gone.

        Raises:
            ServerDied: one of them has ended.
        """
        deadline = own.clock() + patience_s
        while True:
            if how := self._ended():
                raise self._failure(ServerDied, f"died: {how}")
            if own.clock() >= deadline:
                return
            own.sleep(_POLL_S)

    def stop(self) -> str:
        """End the server and all it has started, nsys too; the folder goes, the port is free.

        It gets SIGTERM first, and its time to end. A second call does nothing.

        Returns:
            What a user should know of how it ended; empty if it ended well.
        """
        if self._stopped:
            return ""
        notes = []
        try:
            if self._terminate():
                self._let_nsys_end()
            else:
                notes.append(
                    f"the server {self.spec.name} did not end within "
                    f"{self._deadlines.stop:g} s of SIGTERM and was killed"
                )
        finally:
            left = end_marked(str(self.folder), signals=((signal.SIGTERM, _AGENT_S),))
            if self._process is not None:
                reap(self._process)
            own.remove_tree(self.folder, ignore_errors=True)
            self._stopped = True
        if left:
            notes.append(f"processes {left} of it cannot be ended: they wait inside a driver")
        if not wait_until_free(self.spec.host, self.spec.port, _PORT_S):
            notes.append(f"its port {self.spec.port} is still taken")
        return "; ".join(notes)

    def _begin(self) -> None:
        """Start the program; returns once it runs, or has run."""
        self.folder.mkdir(mode=0o700)
        spec, folder = self.spec, self.folder
        environment = {**worker_environment(os.environ), **_KEEPS_MARK, **spec.environment}
        program = _program(spec.command[0], environment, spec.directory)
        command = write_shim_command(
            folder,
            [program, *spec.command[1:]],
            environment=environment,
            directory=spec.directory,
            pid_file=_PID,
            stdout=_LOG,
            stderr=_LOG,
        )
        if self._nsys is not None:
            command = self._under_nsys(self._nsys, command)
        self._process = start_nsys(command, folder)
        self._wait_until_launched(self._process)

    def _under_nsys(self, nsys: NsysTool, command: list[str]) -> list[str]:
        """The command line that profiles the command, and what collects in its session."""
        folder, profile = self.folder, self.spec.profile
        output = folder / "first"
        tool = SessionTool(nsys, self.session, private_environment(folder), self._deadlines.tool)
        how: tuple[str, ...]
        if profile is None:
            how = ("--start-later=true",)
            self._collection = StartStop(tool, self.options)
        else:
            how = range_options(profile)
            first = output.with_suffix(".nsys-rep")
            self._collection = EndpointRange(tool, self.options, profile, self.url, first)
        arguments = (*self.options, *how, f"--session-new={self.session}")
        return profile_command(nsys, output, command, arguments)

    def _wait_until_launched(self, process: subprocess.Popen[bytes]) -> None:
        deadline = own.clock() + self._deadlines.launch
        while self.pid is None:
            if process.poll() is not None and self.pid is None:
                raise self._not_launched(process.returncode)
            if own.clock() > deadline:
                raise DeadlineExceeded(
                    f"nsys did not start the server within {self._deadlines.launch:g} s"
                    + shortage(self.folder),
                    evidence=self.nsys_log() or "nsys printed nothing",
                    remedy="run 'nsys profile true' by hand: it should hang in the same way",
                )
            own.sleep(_POLL_S)

    def _not_launched(self, code: int) -> Exception:
        printed = self.nsys_log()
        if _TAKEN in printed:
            return SessionTaken(
                f"nsys has a session {self.session!r} already",
                evidence=printed,
                remedy=f"end it with 'nsys shutdown --session={self.session}'",
            )
        return refused(
            printed, "correct what is passed through to nsys (nsys_args)"
        ) or not_started("the server", printed, code, self.folder)

    def _ended(self) -> str:
        """How the server, or nsys around it, has ended; "" while both run."""
        if self._process is None or self._stopped:
            return "it was stopped"
        pid = self.pid
        if pid is not None and is_running(pid):
            if self._nsys is None or self._process.poll() is None:
                return ""
            return "the nsys around it ended, and it runs on"
        try:
            code = self._process.wait(timeout=_DEATH_S)
        except subprocess.TimeoutExpired:
            return "its process is gone, and nsys has not ended after it"
        if self._nsys is not None and self.spec.profile is not None:
            return "its process is gone"  # nsys does not tell its exit code in this mode
        if code < 0 and self._nsys is not None:
            return f"the nsys around it was ended by {signal_name(-code)}"
        number = abs(code) % 128
        if (code < 0 or code > 128) and number in set(signal.Signals):
            return f"it was ended by {signal_name(number)}"
        return f"exit code {code}"

    def _failure(
        self, kind: type[ServerError], what: str, *, said: str = "", remedy: str = ""
    ) -> ServerError:
        """An error with the end of the log, and with what its first pattern in the log means."""
        log = self.log()
        failure = first_failure(log, self.spec.failure_patterns)
        meaning = "" if failure is None else f": {failure.meaning}"
        if failure is not None:
            remedy = failure.remedy
        elif not remedy:
            remedy = "see the end of its log above; the same command by hand should fail alike"
        end = last_lines(log) or "(its log is empty)"
        line = "" if failure is None else failure_line(log, failure)
        # What came after it may have pushed the cause out of the end.
        lines = [said, "" if line in end else line, end]
        if self._nsys is not None and (printed := self.nsys_log()):
            lines.append(f"nsys: {last_lines(printed, 5)}")
        want = shortage(self.folder) + _memory_words(self._killed_for_memory)
        return kind(
            f"the server {self.spec.name} {what}{meaning}{want}",
            evidence="\n".join(filter(None, lines)),
            remedy=remedy,
        )

    def _stage(self) -> str:
        """In which stage of its start it is; "" where that is not known."""
        self.startup.look()
        return f", while {self.startup.stage}" if self.startup.stage else ""

    def _stages(self) -> str:
        return f"its start: {time_words(self.startup.times)}" if self.startup.stage else ""

    def _terminate(self) -> bool:
        """Tell the server's own process to end; returns whether it has in its time.

        What it has started is its own business until then: engines end their workers themselves.
        """
        pid = self.pid if self.folder.exists() else None
        if pid is None or not is_running(pid):
            return True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            own.kill(pid, signal.SIGTERM)
        deadline = own.clock() + self._deadlines.stop
        while is_running(pid):
            if own.clock() >= deadline:
                return False
            own.sleep(_POLL_S)
        return True

    def _let_nsys_end(self) -> None:
        """nsys ends by itself after the server, unless it would first write a report."""
        if self._process is None or self.pid is None:
            return
        if self._collection is not None and self._collection.collecting:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=min(_NSYS_ENDS_S, self._deadlines.tool))


def start_server(
    spec: ServerSpec,
    run: RunFolder,
    *,
    nsys: NsysTool | None = None,
    nsys_args: Sequence[str] = (),
    deadlines: ServerDeadlines = ServerDeadlines(),
) -> ServerProcess:
    """Start a server; it is not ready yet (see `ServerProcess.wait_until_ready`).

    What an earlier run has left of its servers is ended first.

    Args:
        spec: what to start.
        run: where its private files go; what was started is ended with it, too.
        nsys: what profiles it; None to start it without.
        nsys_args: arguments of nsys, put over what the server needs.
        deadlines: longest times.

    Raises:
        NsysTooOld: this nsys cannot start and stop.
        NoRunFolder: there is too little space for temporary files.
        CommandMissing: the program is not installed.
        PortTaken: somebody listens on its port.
        NsysUsageError: nsys refused its arguments.
        NsysLaunchFailed: nsys ended without starting the program, three times.
        SessionTaken: nsys has such a session, three names in turn.
        DeadlineExceeded: nsys did not start it in time.
    """
    if nsys is not None:
        demand_sessions(nsys)
    demand_space(run.path)
    end_orphans()
    demand_free(spec.host, spec.port)
    return launch_repeatedly(
        functools.partial(_start_once, spec, run, nsys, nsys_args, deadlines),
        (NsysLaunchFailed, SessionTaken),
    )


def _start_once(
    spec: ServerSpec,
    run: RunFolder,
    nsys: NsysTool | None,
    nsys_args: Sequence[str],
    deadlines: ServerDeadlines,
) -> ServerProcess:
    folder = run.path / session_name(run.next_number())
    server = ServerProcess(spec, folder, nsys, nsys_args, deadlines)
    try:
        server._begin()
    except BaseException:
        server.stop()
        raise
    return server


def _program(word: str, environment: Mapping[str, str], directory: str) -> str:
    """The path of a program, as a shell in that directory would find it.

    Raises:
        CommandMissing: there is none.
    """
    place = Path(directory or ".")
    by_path = "/" in word
    found = own.which(str(place / word) if by_path else word, path=environment.get("PATH"))
    if found is None:
        raise CommandMissing(
            f"there is no program {word!r}",
            evidence="" if by_path else f"PATH={environment.get('PATH', '')}",
            remedy="install the engine into the environment that runs pytest, or give the path "
            "of its program",
        )
    return str(Path(found).absolute())


def _killed_for_memory() -> int:
    """How often the kernel of this machine has ended a process for its memory; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def _memory_words(before: int) -> str:
    if _killed_for_memory() <= before:
        return ""
    return ": the kernel has ended a process on this machine for lack of memory meanwhile"
