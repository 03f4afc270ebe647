"""A worker below nsys that pytest-xdist speaks with: started, followed and ended in a thread."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.run import Deadlines, Listener, Program, WorkerRun, run_worker
from pytest_nsys.capture.starting import launch_repeatedly
from pytest_nsys.capture.workers import (
    CaptureOptions,
    Command,
    make_job,
    nsys_arguments,
    worker_folder,
    writing_temporary_files,
)
from pytest_nsys.errors import CaptureError
from pytest_nsys.plan.batches import PlannedTest
from pytest_nsys.process.guard import end_marked
from pytest_nsys.process.limits import Limits
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.process.shim_command import offer_streams, withdraw_streams
from pytest_nsys.support.own import own
from pytest_nsys.worker.job import Job

_LOOK_S = 0.2


@dataclass(frozen=True)
class Order:
    """What a worker is started for, in plain values: it may be sent to another machine.

    Attributes:
        job: its tests, without the places of its files.
        nsys_args: further arguments of ``nsys profile``.
        timeouts: seconds for each test, by node id.
        deadlines: seconds for the rest.
        limits: what it may use before it is told to stop.
        program: what runs it, and where.
    """

    job: Job
    nsys_args: tuple[str, ...]
    timeouts: Mapping[str, float]
    deadlines: Deadlines
    limits: Limits
    program: Program


def make_order(
    command: Command, tests: Sequence[PlannedTest], maxfail: int, options: CaptureOptions
) -> Order:
    """The order for a worker.

    Args:
        command: how its pytest is started.
        tests: those that it may be told to run.
        maxfail: failures after which it stops by itself; 0 for no limit.
        options: how captures are made.
    """
    return Order(
        make_job(command, tests, Path(), maxfail),
        nsys_arguments(options, tests),
        {test.nodeid: test.spec.timeout_s for test in tests},
        options.deadlines,
        options.limits,
        command.program,
    )


class Worker(Protocol):
    """A worker that was started.

    Attributes:
        giver: the command that pytest-xdist starts in its place (`offer_streams`).
        via: the gateway by which it starts that; "" where that is on this machine.
    """

    @property
    def giver(self) -> str: ...

    @property
    def via(self) -> str: ...

    def result(self) -> WorkerRun:
        """How it ended, once it and its nsys have.

        Raises:
            NsysError: it could not be started, or did not end well (as of `run_worker`).
        """

    def end(self) -> None:
        """End it and its nsys, if they have not ended by themselves."""


class LocalWorker:
    """A worker on this machine, whose nsys is a child of this process.

    Args:
        nsys: what it is below.
        order: what it is started for.
        folder: of the run.
        listener: told of what it does, in another thread.
        on_end: called there when it has ended, or could not be started.
    """

    via = ""

    def __init__(
        self,
        nsys: NsysTool,
        order: Order,
        folder: RunFolder,
        listener: Listener,
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._nsys = nsys
        self._on_end = on_end
        self._order = order
        self._run_folder = folder
        self._listener = listener
        self._ended = False
        self._folder: Path | None = None
        self._run: WorkerRun | None = None
        self._error: BaseException | None = None
        self._streams = folder.path / f"streams-{folder.next_number()}"
        with writing_temporary_files():
            self._streams.mkdir(mode=0o700)
            self.giver = shlex.join(offer_streams(self._streams))
        self._thread = own.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            self._run = launch_repeatedly(self._once)
        except BaseException as error:
            self._error = error
        finally:
            withdraw_streams(self._streams)
            self._on_end()

    def _once(self) -> WorkerRun:
        if self._ended:
            raise CaptureError("the worker was ended before it was started")
        self._folder = worker_folder(self._run_folder)
        order = self._order
        with writing_temporary_files():
            self._folder.mkdir(mode=0o700)
            job = replace(
                order.job,
                events=str(self._folder / order.job.events),
                stop_file=str(self._folder / order.job.stop_file),
                streams=str(self._streams),
            )
            return run_worker(
                self._nsys,
                job,
                self._folder,
                self._listener,
                nsys_args=order.nsys_args,
                timeouts=order.timeouts,
                deadlines=order.deadlines,
                limits=order.limits,
                program=order.program,
            )

    def result(self) -> WorkerRun:
        """How it ended; see `Worker`."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._run is not None
        return self._run

    def end(self) -> None:
        """End it; see `Worker`. Its thread sees that, and may start what belongs to it as well."""
        self._ended = True
        while self._thread.is_alive():
            if self._folder is not None:
                end_marked(str(self._folder))
            self._thread.join(_LOOK_S)
        end_marked(str(self._streams))
