"""A worker below nsys that pytest-xdist speaks with: started, followed and ended in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.run import Listener, WorkerRun, run_worker
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
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.process.shim_command import offer_streams, withdraw_streams
from pytest_nsys.support.own import own

_LOOK_S = 0.2


@dataclass(frozen=True)
class Order:
    """What a worker is started for.

    Attributes:
        command: how its pytest is started.
        tests: those that it may be told to run.
        maxfail: failures after which it stops by itself; 0 for no limit.
    """

    command: Command
    tests: Sequence[PlannedTest]
    maxfail: int


class Worker(Protocol):
    """A worker that was started.

    Attributes:
        giver: the command that pytest-xdist starts in its place (`offer_streams`).
    """

    @property
    def giver(self) -> Sequence[str]: ...

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
        options: how captures are made.
        order: what it is started for.
        folder: of the run.
        listener: told of what it does, in another thread.
    """

    def __init__(
        self,
        nsys: NsysTool,
        options: CaptureOptions,
        order: Order,
        folder: RunFolder,
        listener: Listener,
    ) -> None:
        self._nsys = nsys
        self._options = options
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
            self.giver = offer_streams(self._streams)
        self._thread = own.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            self._run = launch_repeatedly(self._once)
        except BaseException as error:
            self._error = error
        finally:
            withdraw_streams(self._streams)

    def _once(self) -> WorkerRun:
        if self._ended:
            raise CaptureError("the worker was ended before it was started")
        self._folder = worker_folder(self._run_folder)
        order = self._order
        with writing_temporary_files():
            self._folder.mkdir(mode=0o700)
            job = make_job(order.command, order.tests, self._folder, order.maxfail)
            return run_worker(
                self._nsys,
                replace(job, streams=str(self._streams)),
                self._folder,
                self._listener,
                nsys_args=nsys_arguments(self._options, order.tests),
                timeouts={test.nodeid: test.spec.timeout_s for test in order.tests},
                deadlines=self._options.deadlines,
                limits=self._options.limits,
                program=order.command.program,
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
