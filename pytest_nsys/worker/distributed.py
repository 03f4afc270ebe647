"""A worker of pytest-xdist below nsys: xdist's own, in which a `WorkerSession` runs the tests."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from pytest_nsys.worker.job import Job

if TYPE_CHECKING:
    import pytest

    from pytest_nsys.worker.session import WorkerSession

_PLUGINS = "PYTEST_PLUGINS"
_PLUGIN = "pytest_nsys.worker.joining"
_OUR_OWN = ("testreport", "logstart", "logfinish", "collectreport", "warning_recorded")
"""What `WorkerSession` tells by the file of events: xdist would send it once more, and does not
know how to send all that reports may hold."""

_served: tuple[Job, WorkerSession] | None = None


def serve(job: Job, session: WorkerSession) -> int:
    """Serve execnet by the standard streams until its other end is gone, as its own worker does.

    Args:
        job: of this process.
        session: the plugin that does it, in the session that xdist starts.
    """
    global _served
    _served = job, session
    exec(eval(sys.stdin.readline()), {"__name__": "__main__"})  # the whole protocol begins so
    return 0


def join(channel: Any, module: str) -> None:
    """Run xdist's module for workers with what the job says.

    Args:
        channel: of execnet.
        module: its source.
    """
    assert _served is not None
    job, _ = _served
    workerinput, _, _, _ = channel.receive()
    begin = (workerinput, [*job.args], {"basetemp": job.basetemp}, [*sys.path])
    given = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = ",".join(filter(None, (_PLUGIN, given)))
    exec(module, {"__name__": "__channelexec__", "channel": _Channel(channel, begin)})


def add_session(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the session to the pytest that xdist configures, which has loaded our plugin."""
    rest = os.environ[_PLUGINS].partition(",")[2]
    if rest:
        os.environ[_PLUGINS] = rest
    else:
        del os.environ[_PLUGINS]
    assert _served is not None
    pluginmanager.register(_served[1])


class _Channel:
    """The channel of xdist's worker, without what we send in a way of our own.

    Args:
        channel: that of execnet.
        begin: what the worker receives first.
    """

    def __init__(self, channel: Any, begin: object) -> None:
        self._channel = channel
        self._begin = begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def receive(self) -> object:
        """What the worker is to do; all that follows comes by a callback."""
        return self._begin

    def send(self, event: tuple[str, dict[str, object]]) -> None:
        """Send what xdist needs to know to distribute tests."""
        if event[0] not in _OUR_OWN:
            self._channel.send(event)
