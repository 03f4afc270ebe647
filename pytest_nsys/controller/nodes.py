"""Workers as pytest-xdist shows them to plugins: nodes, with hooks when they begin and end."""

from __future__ import annotations

import platform
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.errors import WorkerFailed
from pytest_nsys.support.simple_values import from_json, to_json
from pytest_nsys.worker.node import WORKER_ID, new_workerinput


class WorkerNode:
    """What plugins touch of an ``xdist.workermanage.WorkerController``.

    Attributes:
        config: the controller's.
        gateway: has an ``id`` and a ``spec``.
        nodemanager: has the run's ``testrunuid``, ``specs``, and ``roots``.
        workerinput: what the worker finds as ``config.workerinput``; to be filled in.
        workerinfo: the worker's Python and machine.
    """

    def __init__(self, config: pytest.Config, testrunuid: str) -> None:
        spec = SimpleNamespace(
            id=WORKER_ID, popen=True, ssh=None, socket=None, python=None, chdir=None, env={}
        )
        self.config = config
        self.gateway = SimpleNamespace(id=WORKER_ID, spec=spec)
        self.nodemanager = SimpleNamespace(
            config=config, testrunuid=testrunuid, specs=[spec], roots=[]
        )
        self.workerinput = new_workerinput(testrunuid)
        self.workerinfo = {
            "id": WORKER_ID,
            "version": sys.version,
            "version_info": tuple(sys.version_info),
            "sysplatform": sys.platform,
            "platform": platform.platform(),
            "executable": sys.executable,
            "cwd": str(Path.cwd()),
            "spec": spec,
        }
        self.shutting_down = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.gateway.id}>"


class Nodes:
    """Tells plugins of the run's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._testrunuid = uuid.uuid4().hex

    def begin(self) -> KnownNode:
        """A worker is about to be started.

        Raises:
            WorkerFailed: a plugin put into ``workerinput`` what cannot be sent.
        """
        return KnownNode(self._config, self._testrunuid)


class KnownNode:
    """A worker that plugins know of.

    Attributes:
        sent: what it is to find as ``workerinput``, as JSON.
    """

    def __init__(self, config: pytest.Config, testrunuid: str) -> None:
        self._config = config
        self._node = WorkerNode(config, testrunuid)
        self._call("pytest_configure_node")
        self.sent: dict[str, Any] = {}
        # A plugin may have put a dictionary of its own there.
        given = {**new_workerinput(testrunuid), **self._node.workerinput}
        for name, value in given.items():
            try:
                self.sent[name] = to_json(value)
            except TypeError as error:
                raise WorkerFailed(
                    f"workerinput[{name!r}] cannot be sent to the worker",
                    evidence=str(error),
                    remedy="see what pytest_configure_node puts there: pytest-xdist cannot send "
                    "it either",
                ) from None

    def event(self, event: Mapping[str, Any]) -> None:
        """Something happened in the worker."""
        if event["event"] == "collected":
            self._call("pytest_testnodeready")
        elif event["event"] == "end":
            self._node.workeroutput = from_json(event["workeroutput"])  # type: ignore[attr-defined]

    def end(self, error: str) -> None:
        """The worker is over; ``error`` says why, if it did not end by itself."""
        if not self._node.shutting_down:
            self._node.shutting_down = True
            self._call("pytest_testnodedown", error=error or None)

    def _call(self, name: str, **arguments: Any) -> None:
        manager = self._config.pluginmanager
        # pytest-cov expects nodes only where all tests are theirs; workers are covered without it.
        left_out = [manager.get_plugin("_cov")] if manager.has_plugin("_cov") else []
        hook = manager.subset_hook_caller(name, remove_plugins=left_out)
        hook(node=self._node, **arguments)
