"""A machine on which workers of a run on another are: what runs there, in execnet's gateway.

Nothing of a worker outlives it for long: not where the run ends, nor where the connection does.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.live import installed_versions
from pytest_nsys.capture.nsys import NsysTool, check_nvtx, find_nsys
from pytest_nsys.capture.proof import prove_report
from pytest_nsys.capture.run import Listener, WorkerRun
from pytest_nsys.distribution.messages import (
    Request,
    received_request,
    sent,
    sent_error,
    sent_event,
    sent_run,
    version,
)
from pytest_nsys.distribution.worker import LocalWorker, Order
from pytest_nsys.errors import NsysError, SettingsError
from pytest_nsys.gpu.devices import VISIBLE
from pytest_nsys.gpu.shares import shares, visible_entries
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.storage.recordings.scrub import scrub
from pytest_nsys.support.own import own

_OVER = "over"
_LOST = "lost"
_PIECE = 1 << 16


def serve(channel: Any) -> None:
    """Start a worker, and send what becomes of it; returns when it is gone."""
    _write_whole(channel.gateway._io)
    inbox: Queue[str] = Queue()
    channel.setcallback(inbox.put, endmarker=_LOST)

    def send(kind: str, content: object = "") -> None:
        try:
            channel.send((kind, content))
        except OSError:
            inbox.put(_LOST)

    told = inbox.get()
    try:
        if told != _LOST:
            request = received_request(told)
            _check(request)
            with RunFolder() as folder, _saying(functools.partial(send, "alive"), request.alive_s):
                _serve(request, folder, inbox, send)
    except NsysError as error:
        send("error", sent(sent_error(error)))


@contextmanager
def _saying(alive: Callable[[], object], every_s: float) -> Iterator[None]:
    """Say that the machine is there, as long as the block takes."""
    over = threading.Event()

    def say() -> None:
        while not over.wait(every_s):
            alive()

    own.Thread(target=say, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _check(request: Request) -> None:
    if request.version != version():
        raise SettingsError(
            f"pytest-nsys is {version()} there, and {request.version} here",
            remedy="install the same version on both machines",
        )


def _serve(
    request: Request, folder: RunFolder, inbox: Queue[str], send: Callable[..., None]
) -> None:
    nsys = find_nsys(request.executable or None)
    check_nvtx(nsys)
    given = shares(request.workers, visible_entries(), gpus=request.gpus, shared=request.shared)
    order = _placed(request, given[request.place % len(given)])
    listener = Listener(
        lambda event: send("event", sent_event(event)),
        lambda data: send("printed", data),
        lambda data: send("printed", data),
    )
    worker = LocalWorker(nsys, order, folder, listener, lambda: inbox.put(_OVER))
    send("begun", worker.giver)
    if inbox.get() != _OVER:  # the run is over, or out of reach
        worker.end()
        return
    run = worker.result()
    export, problem = _export(run, nsys, order)
    if export is not None:
        with export.open("rb") as file:
            while piece := file.read(_PIECE):
                send("capture", piece)
    told = {
        "run": sent_run(run),
        "nsys": nsys.version_text,
        "versions": installed_versions(),
        "problem": None if problem is None else sent_error(problem),
    }
    send("run", sent(told))


def _placed(request: Request, gpus: str | None) -> Order:
    """The order with the paths of this machine, and its Python."""
    here = Path.cwd()
    directory, args = str(here), request.order.job.args
    for root, name in (request.roots or {}).items():
        if Path(request.folder).is_relative_to(root):
            directory = str(here / name / Path(request.folder).relative_to(root))
        args = tuple(arg.replace(root, str(here / name)) for arg in args)
    path = os.environ.get("PYTHONPATH", "")
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, (directory, path)))}
    if gpus is not None:
        environment[VISIBLE] = gpus
    asked = request.order.program
    program = replace(
        asked,
        python=sys.executable,
        directory=directory,
        environment={**environment, **asked.environment},
    )
    job = replace(request.order.job, args=args, sys_path=(directory, *filter(None, sys.path)))
    return replace(request.order, job=job, program=program)


def _export(run: WorkerRun, nsys: NsysTool, order: Order) -> tuple[Path | None, NsysError | None]:
    """The scrubbed export of the capture, or why there is none where there should be."""
    if run.lost is not None or not run.ended:
        return None, None
    try:
        prove_report(run.report, run.nsys_output)
        folder = run.report.parent
        export = export_report(nsys, run.report, folder, deadline_s=order.deadlines.export)
        target = folder / "capture.sqlite.xz"
        scrub(export, target)
    except NsysError as error:
        return None, error
    return target, None


def _write_whole(io: Any) -> None:
    """Have threads that write to the same connection wait for each other, which execnet does not.

    What several send at once by a socket would mix where it is longer than the system's buffers.
    """
    if getattr(io, "_nsys_lock", None) is None:
        lock = io._nsys_lock = threading.Lock()
        write = io.write

        def whole(data: bytes) -> None:
            with lock:
                write(data)

        io.write = whole
