"""What the fixture ``nsys_run`` is: runs a plain command under nsys, as a window of its test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_nsys.capture.command.here import CommandPlan, Taken, Watcher, capture_here
from pytest_nsys.capture.nsys import NsysTool, override, trace_options
from pytest_nsys.errors import CommandFailed, CommandNotFound, DeadlineExceeded
from pytest_nsys.process.environment import marked_environment
from pytest_nsys.process.guard import end_marked
from pytest_nsys.process.processes import Finished, run_program
from pytest_nsys.servers.context import ServerContext, context_of
from pytest_nsys.servers.records import TestCaptures, WindowCapture
from pytest_nsys.servers.server import demand_new
from pytest_nsys.support.own import own

_KEPT = 64 * 1024
_SHOWN = 30


class NsysRun:
    """Runs commands: ``nsys_run(["python", "train.py"])``."""

    def __init__(self, context: ServerContext) -> None:
        """What runs them.

        Args:
            context: what this run of pytest starts programs with.
        """
        self._context = context

    def __call__(
        self,
        command: Sequence[str],
        *,
        name: str = "run",
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float = 1800.0,
        check: bool = True,
    ) -> Finished:
        """Run a command to its end; where the test is measured, all of it is one window.

        Args:
            command: its words.
            name: of the window, unique in the test.
            env: variables put over pytest's.
            cwd: folder that it is started in.
            timeout: seconds after which it is ended, which is an error.
            check: whether another exit code than 0 is an error.

        Returns:
            Its exit code, and the end of what it printed.

        Raises:
            CommandNotFound: there is no such program.
            CommandFailed: it failed.
            DeadlineExceeded: it did not end in time.
            CaptureError: nsys did not capture it.
        """
        captures, nsys = self._context.current, self._context.nsys
        environment = {**os.environ, **(env or {})}
        directory = "" if cwd is None else os.fspath(cwd)
        words = tuple(command)
        if captures is None or nsys is None:
            done = self._plain(words, environment, directory, timeout)
        else:
            demand_new(captures, name)
            plan = CommandPlan(
                words,
                nsys_args=override(self._context.nsys_args, captures.nsys_args),
                environment=environment,
                directory=directory,
            )
            done = self._measured(captures, nsys, plan, name, timeout)
        if check and done.code:
            raise CommandFailed(
                f"the command {words[0]} ended with exit code {done.code}",
                evidence="\n".join(done.printed.splitlines()[-_SHOWN:]),
                remedy="see what it printed; with check=False its exit code is only returned",
            )
        return done

    def _plain(
        self, words: tuple[str, ...], environment: dict[str, str], directory: str, timeout: float
    ) -> Finished:
        place = Path(directory) if directory else None
        marked = marked_environment(self._context.folder.path, environment)
        try:
            done = run_program(words, environment=marked, deadline_s=timeout, directory=place)
        except OSError as error:
            raise CommandNotFound(
                f"the command {words[0]!r} cannot be started",
                evidence=str(error),
                remedy="correct the command",
            ) from None
        if done.code is None:
            raise _late(words[0], timeout, done.printed)
        return done

    def _measured(
        self, captures: TestCaptures, nsys: NsysTool, plan: CommandPlan, name: str, timeout: float
    ) -> Finished:
        context = self._context
        folder = context.folder.path / f"window-{context.folder.next_number()}"
        folder.mkdir(mode=0o700)
        printed = bytearray()
        watcher = Watcher(printed.extend, printed.extend, context.say)
        ended = own.Event()

        def end() -> None:
            ended.set()
            end_marked(str(folder))

        timer = own.Timer(timeout, end)
        timer.daemon = True
        timer.start()
        try:
            taken = capture_here(nsys, plan, folder, watcher, deadline_s=context.deadline_s)
        finally:
            timer.cancel()
            text = bytes(printed[-_KEPT:]).decode("utf-8", "replace")
            if ended.is_set():
                raise _late(plan.command[0], timeout, text) from None
        captures.windows.append(_window(name, plan, taken))
        return Finished(taken.code, text)


def _window(name: str, plan: CommandPlan, taken: Taken) -> WindowCapture:
    return WindowCapture(
        name=name,
        report=taken.export.with_name("report.nsys-rep"),
        rounds=(),
        options=trace_options(plan.nsys_args),
        export=taken.export,
        memory=True,
    )


def _late(program: str, timeout: float, printed: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the command {program} did not end within {timeout:g} s and was ended",
        evidence="\n".join(printed.splitlines()[-_SHOWN:]),
        remedy="give it longer with timeout=, or less to do",
    )


@contextmanager
def nsys_run_of(session: pytest.Session) -> Iterator[NsysRun]:
    """The fixture's value; without a run that measures, its commands run without nsys."""
    with context_of(session) as context:
        yield NsysRun(context)
