"""A worker on another machine: asked for, followed, and its capture brought here."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import execnet

from pytest_nsys.capture.follow import Event
from pytest_nsys.capture.run import Brought, Listener, WorkerRun
from pytest_nsys.distribution import host
from pytest_nsys.distribution.messages import (
    Request,
    received_error,
    received_event,
    sent,
)
from pytest_nsys.errors import FetchFailed, NsysError
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.support.json_values import load
from pytest_nsys.support.own import own
from pytest_nsys.support.xz import unpack

_SOURCE = f"from {host.__name__} import serve\nserve(channel)"
_ENDING_S = 60.0

_SILENT = 24
"""A machine is out of reach that did not say so many times that it is there. They are counted, and
no time is measured: that goes on where this process is suspended."""


class RemoteWorker:
    """A worker that was asked for; see `pytest_nsys.distribution.worker.Worker`.

    Args:
        machine: a gateway to the machine.
        request: what is asked for.
        folder: of the run, here.
        listener: told of what it does, in another thread.

    Raises:
        NsysError: it cannot be started there.
    """

    def __init__(
        self, machine: execnet.Gateway, request: Request, folder: RunFolder, listener: Listener
    ) -> None:
        self.via = str(machine.id)
        self.giver = ""
        self._where = str(machine.spec.ssh or machine.spec.socket or machine.spec.vagrant_ssh)
        self._listener = listener
        self._events: list[Event] = []
        self._folder = folder.path / f"worker-{folder.next_number()}"
        self._folder.mkdir(mode=0o700)
        self._packed = self._folder / "capture.sqlite.xz"
        self._told: Any = None
        self._error: NsysError | None = None
        self._heard, self._silent_s = False, 0.0
        self._begun, self._over = threading.Event(), threading.Event()
        try:
            self._channel = machine.remote_exec(_SOURCE)
        except OSError as error:
            raise self._unreached(str(error)) from None
        self._channel.setcallback(self._receive, endmarker=None)
        with contextlib.suppress(OSError):  # it is closed where pytest-nsys cannot be imported
            self._channel.send(sent(request))
        self._begun.wait(request.order.deadlines.start)
        if not self.giver:
            self.end()
            raise self._error or self._lost()
        own.Thread(target=self._listen, args=(machine._io, request.alive_s), daemon=True).start()

    def _receive(self, message: tuple[str, Any] | None) -> None:
        """A message, in execnet's thread, which must not end."""
        self._heard = True
        try:
            if message is None:
                self._begun.set()
                self._over.set()
            else:
                self._take(*message)
        except (NsysError, OSError, ValueError) as error:
            self._error = self._error or FetchFailed(
                f"what {self._where} sends cannot be understood or kept",
                evidence=str(error),
                remedy="check that both machines have the same pytest-nsys, and space in TMPDIR",
            )

    def _listen(self, io: Any, every_s: float) -> None:
        """Hang up where the machine is silent: nobody says that a connection is broken for long."""
        silent = 0
        while not self._over.wait(every_s):
            silent = 0 if self._heard else silent + 1
            self._heard = False
            if silent >= _SILENT:
                self._silent_s = silent * every_s
                process = getattr(io, "popen", None)  # that of ssh
                if process is None:
                    io.close_read()
                else:
                    process.kill()
                return

    def _take(self, kind: str, content: Any) -> None:
        if kind == "event":
            event = received_event(content)
            self._events.append(event)
            self._listener.event(event)
        elif kind == "printed":
            self._listener.stderr(content)
        elif kind == "begun":
            self.giver = content
            self._begun.set()
        elif kind == "capture":
            with self._packed.open("ab") as file:
                file.write(content)
        elif kind == "run":
            self._told = load(content)
        elif kind == "error":
            told: Any = load(content)
            self._error = self._error or received_error(told, self._where)

    def result(self) -> WorkerRun:
        """How it ended; see `Worker`."""
        self._over.wait()
        if self._error is not None:
            raise self._error
        if self._told is None:
            raise self._lost()
        problem = self._told["problem"]
        brought = Brought(
            self._unpacked(),
            self._told["nsys"],
            self._told["versions"],
            None if problem is None else received_error(problem, self._where),
        )
        report = self._folder / "report.nsys-rep"
        return WorkerRun(tuple(self._events), report, **self._told["run"], brought=brought)

    def _unpacked(self) -> Path | None:
        if not self._packed.exists():
            return None
        export = self._folder / "export.sqlite"
        unpack(self._packed, export)
        return export

    def _lost(self) -> NsysError:
        if self._silent_s:
            return self._unreached(f"nothing was heard of it for {self._silent_s:g} s")
        try:
            self._channel.waitclose(0)
            why = "the connection was closed"
        except Exception as error:  # execnet says it as the other side's traceback
            why = str(error).strip()
        return self._unreached("\n".join(why.splitlines()[-10:]))

    def _unreached(self, why: str) -> FetchFailed:
        return FetchFailed(
            f"{self._where} does not answer, or has ended without saying how its worker did",
            evidence=why,
            remedy="check the connection, and that pytest-nsys[xdist] is installed there for the "
            "Python that the spec names (--tx ssh=HOST//python=FILE)",
        )

    def end(self) -> None:
        """End it; see `Worker`."""
        with contextlib.suppress(OSError):  # it ends there when the connection is gone
            self._channel.send("end")
            self._over.wait(_ENDING_S)
