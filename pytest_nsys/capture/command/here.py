"""One command under nsys on this machine, from its start to an exported capture."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.follow import Tail
from pytest_nsys.capture.importing import import_again
from pytest_nsys.capture.nsys import NsysTool, override, profile_command
from pytest_nsys.capture.proof import prove_report
from pytest_nsys.capture.starting import (
    end_nsys,
    launch_repeatedly,
    not_started,
    printed_by_nsys,
    read_pid,
    refused,
    start_nsys,
)
from pytest_nsys.errors import (
    CaptureMissing,
    CommandNotFound,
    DeadlineExceeded,
    NsysError,
)
from pytest_nsys.process.limits import demand_space, shortage
from pytest_nsys.process.processes import is_running
from pytest_nsys.process.shim_command import write_shim_command
from pytest_nsys.support.own import own

_POLL_S = 0.02
_PID_FILE = "command.pid"
_SLACK_S = 2.0  # what nsys takes to begin and to end
_LONGEST_NAME = 200

REFUSED = "correct --nsys-args; an nsys that is too old knows less of them: use a newer one"
"""What to do where nsys refuses its arguments."""

AGAIN = "ending the collection; Ctrl-C again gives the capture up"


@dataclass(frozen=True)
class CommandPlan:
    """What is to be captured.

    Attributes:
        command: the program and its arguments.
        warmup_s: whole seconds from its start until nsys begins to collect.
        duration_s: whole seconds for which it collects, after which it ends the command; None for
            as long as the command runs.
        nsys_args: further arguments of ``nsys profile``.
        environment: of the command, where it runs here; None for this process's.
        directory: where it is started, where it runs here; "" for the current one.
    """

    command: tuple[str, ...]
    warmup_s: int = 0
    duration_s: int | None = None
    nsys_args: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    directory: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """All arguments of ``nsys profile`` that are not everybody's."""
        own = []
        if self.warmup_s:
            own.append(f"--delay={self.warmup_s}")
        if self.duration_s is not None:
            own.append(f"--duration={self.duration_s}")
        return override(own, self.nsys_args)

    def is_over(self, seconds: float) -> bool:
        """Whether nsys ends the command by itself, which has run for so long."""
        return self.duration_s is not None and seconds >= self.warmup_s + self.duration_s

    def exit_code(self, code: int, seconds: float) -> int:
        """That of the command, which ran for so long under nsys; 0 if nsys ended it as planned."""
        if self.is_over(seconds):
            return 0
        return code if code >= 0 else 128 - code


@dataclass(frozen=True)
class Taken:
    """A capture that was made.

    Attributes:
        export: the exported capture, in a private folder.
        code: exit code of the command; 0 if it was ended when its time was over.
        nsys: the one that made it.
    """

    export: Path
    code: int
    nsys: NsysTool


@dataclass(frozen=True)
class Watcher:
    """Who watches while a command runs.

    Attributes:
        stdout: is given what the command prints.
        stderr: is given what it prints to its stderr.
        say: is told what happens besides.
    """

    stdout: Callable[[bytes], object]
    stderr: Callable[[bytes], object]
    say: Callable[[str], object]


def capture_here(
    nsys: NsysTool, plan: CommandPlan, folder: Path, watcher: Watcher, *, deadline_s: float
) -> Taken:
    """Run the command under nsys on this machine, with its own environment and working directory.

    Its environment is not in the report: see `pytest_nsys.process.exec_shim`. It has nothing to
    read. An interrupt (Ctrl-C) ends the collection and the command, a second one everything.

    Args:
        nsys: the nsys to use.
        plan: what to run.
        folder: a private, empty folder for this capture's files.
        watcher: who watches.
        deadline_s: the longest time for nsys to start the command, to end after it, and to export
            its report, each.

    Raises:
        CommandNotFound: there is no such program, or it is none that can be run.
        NsysError: there is no capture, or none that can be used.
    """
    demand_space(folder)
    program = _program(plan.command[0])
    attempts = itertools.count(1)
    return launch_repeatedly(
        lambda: _Here(
            nsys, plan, program, _made(folder, next(attempts)), watcher, deadline_s
        ).take()
    )


def _made(folder: Path, attempt: int) -> Path:
    """A folder for one attempt; what the one before has left is removed."""
    own.remove_tree(folder / f"capture-{attempt - 1}", ignore_errors=True)
    place = folder / f"capture-{attempt}"
    place.mkdir(mode=0o700)
    return place


def _program(name: str) -> str:
    found = own.which(name)
    if found is None:
        raise no_program(name)
    begin = b""
    with contextlib.suppress(OSError), Path(found).open("rb") as file:  # may be for running only
        begin = file.read(4)
    if begin and begin != b"\x7fELF" and not begin.startswith(b"#!"):
        raise CommandNotFound(
            f"{found} is not a program that can be started by itself",
            remedy="begin the script with a line such as #!/bin/sh, or put its interpreter before "
            "it after --",
        )
    return str(Path(found).absolute())


class _Here:
    """One attempt to run the command under nsys on this machine."""

    def __init__(
        self,
        nsys: NsysTool,
        plan: CommandPlan,
        program: str,
        folder: Path,
        watcher: Watcher,
        deadline_s: float,
    ) -> None:
        self._nsys = nsys
        self._plan = plan
        self._folder = folder
        self._watcher = watcher
        self._deadline_s = deadline_s
        self._report = folder / "report.nsys-rep"
        self._pid_file = folder / _PID_FILE
        shim = write_shim_command(
            folder,
            [program, *plan.command[1:]],
            environment=os.environ if plan.environment is None else plan.environment,
            directory=plan.directory,
            pid_file=_PID_FILE,
        )
        command = profile_command(nsys, folder / "report", shim, plan.arguments)
        self._started = own.clock()
        self._process = start_nsys(command, folder)

    def take(self) -> Taken:
        interrupted = False
        late: DeadlineExceeded | None = None
        try:
            interrupted = self._follow()
        except DeadlineExceeded as error:
            late = error
        finally:
            code = self._end_everything()
        if self._pid() is None:
            raise KeyboardInterrupt if interrupted else self._not_started(late)
        if late is not None:
            raise late
        self._prove(code)
        export = export_report(self._nsys, self._report, self._folder, deadline_s=self._deadline_s)
        return Taken(export, self._plan.exit_code(code, self._seconds), self._nsys)

    def _follow(self) -> bool:
        return follow(
            self._process,
            self._folder,
            self._watcher,
            over=lambda: self._is_alone() or self._plan.is_over(own.clock() - self._started),
            interrupt=lambda: self._process.send_signal(signal.SIGINT),
            deadline_s=self._deadline_s,
        )

    def _is_alone(self) -> bool:
        """Whether the command has ended, or has not been started yet."""
        pid = self._pid()
        return pid is None or not is_running(pid)

    def _pid(self) -> int | None:
        return read_pid(self._pid_file)

    def _end_everything(self) -> int:
        """End what is left of nsys, its agent, the command and all that it started."""
        self._seconds = own.clock() - self._started
        well = self._process.poll() is not None and self._is_alone()
        end_nsys(self._process, self._folder, well=well)
        return self._process.returncode if self._process.returncode is not None else 0

    def _prove(self, code: int) -> None:
        printed = import_again(
            self._nsys, self._report, printed_by_nsys(self._folder), deadline_s=self._deadline_s
        )
        try:
            prove_report(self._report, printed)
        except CaptureMissing as error:
            raise nothing_collected(self._plan, error, code, self._seconds) from None

    def _not_started(self, late: DeadlineExceeded | None) -> NsysError:
        printed = printed_by_nsys(self._folder)
        if refusal := refused(printed, REFUSED):
            return refusal
        if late is not None:
            return DeadlineExceeded(
                f"nsys did not start the command within {self._deadline_s:g} s"
                + shortage(self._folder),
                evidence=printed or "nsys printed nothing",
                remedy="run 'nsys profile true' by hand: it should hang in the same way",
            )
        return not_started("the command", printed, self._process.returncode, self._folder)


def follow(
    process: subprocess.Popen[bytes],
    folder: Path,
    watcher: Watcher,
    *,
    over: Callable[[], bool],
    interrupt: Callable[[], object],
    deadline_s: float,
) -> bool:
    """Wait for a process, and show what is written to ``stdout`` and ``stderr`` in the folder.

    Args:
        process: what is waited for.
        folder: a private folder.
        watcher: is shown it.
        over: whether the process should end by itself now.
        interrupt: called at the first interrupt, after which the process should end too.
        deadline_s: how long that may take.

    Returns:
        Whether there was an interrupt.

    Raises:
        DeadlineExceeded: it took longer.
        KeyboardInterrupt: the second interrupt.
    """
    tails = (
        (Tail(folder / "stdout"), watcher.stdout),
        (Tail(folder / "stderr"), watcher.stderr),
    )
    patient_since = own.clock()
    interrupted = False
    try:
        while True:
            try:
                # Looked at before reading: what was printed before the end is read after it.
                ended = process.poll() is not None
                for tail, show in tails:
                    piece = tail.read()
                    if piece:
                        show(piece)
                if ended:
                    return interrupted
                if not interrupted and not over():
                    patient_since = own.clock()
                elif own.clock() - patient_since > deadline_s:
                    raise DeadlineExceeded(
                        f"nsys did not end within {deadline_s:g} s of the command",
                        evidence=f"process {process.pid}",
                        remedy="run again; a smaller capture is written faster (--duration), and "
                        "--tool-timeout sets how long it may take",
                    )
                own.sleep(_POLL_S)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                watcher.say(AGAIN)
                interrupt()
    finally:
        for tail, _ in tails:
            tail.close()


def no_program(name: str, where: str = "", printed: str = "") -> CommandNotFound:
    """There is no program of this name."""
    return CommandNotFound(
        f"there is no program {name[:_LONGEST_NAME]!r} {where}".rstrip(),
        evidence=printed,
        remedy="correct the command after --",
    )


def nothing_collected(
    plan: CommandPlan, error: CaptureMissing, code: int, seconds: float
) -> CaptureMissing:
    """The error for a command that left no report, as far as it is known why."""
    if not plan.warmup_s or seconds > plan.warmup_s + _SLACK_S:
        return error
    return CaptureMissing(
        f"nothing was collected: the command ended before its warm-up of {plan.warmup_s} s",
        evidence=f"it ran for about {seconds:.0f} s; exit code {code}\n{error.evidence}",
        remedy="see why it ended, or make --warmup shorter",
    )


def words_of(command: Sequence[str]) -> tuple[str, ...]:
    """A command without the ``--`` that may stand before it."""
    return tuple(command[1:] if command[:1] == ["--"] else command)
