"""What passes between a run and the machines on which its workers are, by execnet's channels.

Each message is a kind and its content: a text of JSON, or bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_nsys import errors
from pytest_nsys.capture.follow import Event, read_event
from pytest_nsys.capture.run import WorkerRun
from pytest_nsys.distribution.worker import Order
from pytest_nsys.support.json_values import load, read, written

ALIVE_S = 5.0
"""So often a machine says that it is there, whatever else there is to say."""


@dataclass(frozen=True)
class Request:
    """What is asked of a machine: one worker.

    Attributes:
        version: of this package.
        order: what the worker is started for.
        place: its place among the workers of the run that are on the machine, from 0.
        workers: how many these are.
        gpus: how many GPUs it is to have.
        shared: whether workers may share GPUs.
        executable: the nsys to use; "" for the one that is found there.
        roots: the folders that were sent there: the name that each has there, by its path here.
        folder: where the run was started, here.
        alive_s: so often, in seconds, the machine is to say that it is there.
    """

    version: str
    order: Order
    place: int
    workers: int
    gpus: int = 1
    shared: bool = False
    executable: str = ""
    roots: Mapping[str, str] | None = None
    folder: str = ""
    alive_s: float = ALIVE_S


def version() -> str:
    """Of this package."""
    return importlib.metadata.version("pytest-nsys")


def sent(value: object) -> str:
    """A value, to be sent."""
    return json.dumps(written(value), default=repr)


def received_request(text: str) -> Request:
    """The inverse of `sent`."""
    return read(Request, load(text))


def sent_event(event: Event) -> str:
    """An event as the worker wrote it."""
    if event["event"] == "window":
        event = {"event": "window", **written(event["record"])}
    return json.dumps(event, default=repr)


def received_event(text: str) -> Event:
    """The inverse of `sent_event`."""
    return read_event(text.encode("utf-8", "backslashreplace"))


_TOLD = ("ended", "lost", "reason", "limit", "nsys_output", "stderr")


def sent_run(run: WorkerRun) -> dict[str, Any]:
    """How a worker ended, without its events, which are sent before."""
    return {**{name: getattr(run, name) for name in _TOLD}, "wall_s": {**run.wall_s}}


def sent_error(error: errors.NsysError) -> dict[str, str]:
    """An error, which a user can act on."""
    kind = type(error).__name__
    return {"kind": kind, "what": error.what, "evidence": error.evidence, "remedy": error.remedy}


def received_error(told: Mapping[str, str], where: str) -> errors.NsysError:
    """The inverse of `sent_error`, which says where it happened."""
    kind = getattr(errors, told["kind"], errors.CaptureError)
    evidence = f"on {where}\n{told['evidence']}"
    error: errors.NsysError = kind(told["what"], evidence=evidence, remedy=told["remedy"])
    return error
