"""What pytest-xdist gives other plugins, given in its place: workers here are like one of its own.

Plugins of pytest know of workers by what pytest-xdist does: hooks in the controller that fill in
``config.workerinput`` of a worker, and options that say whether tests are distributed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

WORKER_ID = "gw0"
"""The first worker's of pytest-xdist. Projects read a number out of it, and choose a GPU by it."""

MEASURED = "nsys_measured"
"""In ``workerinput`` of a worker that measures nothing: the tests that are not to run there."""

_PLUGIN = "xdist"
_OPTIONS: Mapping[str, Any] = {
    "numprocesses": None,
    "maxprocesses": None,
    "dist": "no",
    "tx": [],
    "distload": False,
    "loadgroup": False,
    "looponfail": False,
}
"""Its options as they are where nothing is distributed."""


RETRYING: Mapping[str, str] = {
    "pytest_rerunfailures": "pytest-rerunfailures",
    "flaky.flaky_pytest_plugin": "flaky",
    "pytest_retry.retry_plugin": "pytest-retry",
}
"""Plugins that run a test again when it fails: their modules, and what they are called."""


class _StandIn:
    """A plugin of that name, which implements nothing."""


class _Hooks:
    """The hooks that it declares. Ours fire the three of nodes."""

    def pytest_configure_node(self, node: Any) -> None:
        """A worker is about to be started; ``node.workerinput`` can be filled in."""

    def pytest_testnodeready(self, node: Any) -> None:
        """A worker has collected its tests."""

    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """A worker is over; ``node.workeroutput`` is what it has left, if it reached its end."""

    def pytest_xdist_setupnodes(self, config: Any, specs: Any) -> None:
        """Not fired."""

    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """Not fired."""

    def pytest_xdist_rsyncstart(self, source: Any, gateways: Any) -> None:
        """Not fired."""

    def pytest_xdist_rsyncfinish(self, source: Any, gateways: Any) -> None:
        """Not fired."""

    def pytest_xdist_getremotemodule(self) -> None:
        """Not fired."""

    def pytest_xdist_node_collection_finished(self, node: Any, ids: Any) -> None:
        """Not fired."""

    def pytest_xdist_make_scheduler(self, config: Any, log: Any) -> None:
        """Not fired."""

    def pytest_xdist_auto_num_workers(self, config: Any) -> None:
        """Not fired."""

    def pytest_handlecrashitem(self, crashitem: Any, report: Any, sched: Any) -> None:
        """Not fired."""


def stand_in_for_xdist(config: pytest.Config) -> None:
    """Where pytest-xdist is not loaded, have ``hasplugin("xdist")`` say that it is.

    Many plugins register what fills in ``workerinput`` only then, and read it in every worker.
    """
    manager = config.pluginmanager
    if manager.hasplugin(_PLUGIN):
        return
    if manager.is_blocked(_PLUGIN):  # "-p no:xdist": of the real one
        if not hasattr(manager, "unblock"):
            return  # pluggy before 1.4
        manager.unblock(_PLUGIN)
    if plugin_module(config, "xdist.plugin") is None:  # "-p xdist.plugin" gives it that name
        manager.add_hookspecs(_Hooks)
    manager.register(_StandIn(), _PLUGIN)
    for name, value in _OPTIONS.items():
        if not hasattr(config.option, name):
            setattr(config.option, name, value)


def plugin_module(config: pytest.Config, name: str) -> Any:
    """The plugin that is this module, whatever ``-p`` or its entry point call it; else None."""
    plugins = config.pluginmanager.get_plugins()
    return next((one for one in plugins if getattr(one, "__name__", None) == name), None)


def distributes(config: pytest.Config) -> bool:
    """Whether pytest-xdist is to distribute the tests of this run."""
    # --dist alone distributes nothing.
    return config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))


def distributes_nothing(config: pytest.Config) -> None:
    """In a worker: its options say that it runs its tests itself."""
    for name, value in _OPTIONS.items():
        setattr(config.option, name, value)


def new_workerinput(testrunuid: str = "") -> dict[str, Any]:
    """What a worker of pytest-xdist finds as ``config.workerinput``, before plugins add to it."""
    return {
        "workerid": WORKER_ID,
        "workercount": 1,
        "testrunuid": testrunuid,
        "mainargv": list(sys.argv),
    }


def worker_variables(workerinput: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables by which code knows a worker of pytest-xdist."""
    return {
        "PYTEST_XDIST_WORKER": str(workerinput["workerid"]),
        "PYTEST_XDIST_WORKER_COUNT": str(workerinput["workercount"]),
        "PYTEST_XDIST_TESTRUNUID": str(workerinput["testrunuid"]),
    }
