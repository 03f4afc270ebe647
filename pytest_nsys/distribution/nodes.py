"""pytest-xdist's nodes, whose workers run below nsys."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import execnet
import pytest
import xdist.remote
from execnet.gateway_bootstrap import HostNotFound
from execnet.gateway_io import Popen2IOMaster
from execnet.gateway_socket import SocketIO
from xdist.workermanage import NodeManager, WorkerController

from pytest_nsys.distribution.worker import Worker
from pytest_nsys.errors import FetchFailed, WorkerFailed
from pytest_nsys.worker import distributed

_NOT_TOLD = ("_cov", "terminaldistreporter", "nsys-plain-first")
"""pytest-cov expects nodes only where all tests are theirs, and workers are covered without it;
xdist's own report of nodes that come and go would be in the way of ours; and ours of those that
measure nothing is not meant."""


_FOLDER = "pyexecnetcache"
"""Where xdist's workers are on other machines, as long as nothing else is said."""


class NodeStartFailed(Exception):
    """The worker of a node could not be reached: it says why (`Worker.result`)."""


class _Over:
    """An object with some of its attributes replaced, and one left out."""

    def __init__(self, of: object, without: str = "", **given: object) -> None:
        self.__dict__.update(given, _of=of, _without=without)

    def __getattr__(self, name: str) -> Any:
        if name == self._without:
            raise AttributeError(name)
        return getattr(self._of, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._of, name, value)


class _Hooks:
    """The hooks of a run without some of its plugins."""

    def __init__(self, config: pytest.Config) -> None:
        self._manager = config.pluginmanager

    def __getattr__(self, name: str) -> Any:
        plugins = map(self._manager.get_plugin, _NOT_TOLD)
        left_out = [plugin for plugin in plugins if plugin is not None]
        return self._manager.subset_hook_caller(name, remove_plugins=left_out)


def node_config(config: pytest.Config, specs: Sequence[str]) -> Any:
    """The run's configuration as nodes and their scheduler see it: with as many as there are.

    Args:
        config: the run's.
        specs: of the nodes.
    """

    def getvalue(name: str, *default: Any) -> Any:
        return [*specs] if name == "tx" else config.getvalue(name, *default)

    def getplugin(name: str) -> Any:
        # xdist shows by it how many nodes have come how far.
        return None if name == "terminalreporter" else config.pluginmanager.get_plugin(name)

    manager = _Over(config.pluginmanager, getplugin=getplugin)
    # xdist would make a folder for all workers, which each that needs one makes for itself.
    without = "_tmp_path_factory"
    return _Over(config, without, hook=_Hooks(config), getvalue=getvalue, pluginmanager=manager)


class _OurModule:
    """Has a node run xdist's module as we want it to."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_getremotemodule(self) -> str:
        """What is sent to the worker."""
        source = inspect.getsource(xdist.remote)
        return f"from {distributed.__name__} import join\njoin(channel, {source!r})"


@contextmanager
def _our_module(config: Any) -> Iterator[None]:
    module = _OurModule()
    config.pluginmanager.register(module)
    try:
        yield
    finally:
        config.pluginmanager.unregister(module)


@contextmanager
def _nothing_left_open() -> Iterator[None]:
    """Close what execnet leaves open of a connection that it could not use."""
    try:
        yield
    except BaseException as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            for value in frame.f_locals.values():
                if isinstance(value, SocketIO):
                    value.sock.close()
                elif isinstance(value, Popen2IOMaster):
                    value.kill()
                    value.wait()
                    value.infile.close()
                    with suppress(OSError):  # what was written last is lost
                        value.outfile.close()
        raise


def end_nodes(manager: NodeManager) -> None:
    """End all nodes, and close their connections: execnet does so with pipes, and with no socket.

    Args:
        manager: started them.
    """
    connections = [gateway._io for gateway in manager.group]
    NodeManager.teardown_nodes(manager)
    for connection in connections:
        if isinstance(connection, SocketIO):
            connection.sock.close()


def _said(error: Exception) -> str:
    """Why execnet has no gateway to a machine."""
    if isinstance(error, AssertionError):
        return "what it says first is not what was asked for: does a shell there print something?"
    if isinstance(error, execnet.RemoteError):  # the other side's traceback
        return str(error).strip().splitlines()[-1]
    return f"{type(error).__name__}: {error}"


class MeasuringNodes(NodeManager):
    """Starts the nodes of a batch, each with a worker below an nsys of its own.

    Args:
        config: of `node_config`.
        start: starts the worker of a node, by the node's place among the specs and its name.

    Attributes:
        workers: by the names of their nodes, in the order in which they were started.
    """

    def __init__(self, config: Any, start: Callable[[int, str], Worker]) -> None:
        super().__init__(config)
        self.workers: dict[str, Worker] = {}
        self._start = start
        self._machines: dict[int, tuple[execnet.Gateway, Mapping[str, str]]] = {}
        self._places = {spec.id: place for place, spec in enumerate(self.specs)}

    def setup_nodes(
        self, putevent: Callable[[tuple[str, dict[str, Any]]], None]
    ) -> list[WorkerController]:
        """Start all nodes: every nsys first, which takes as long for several as for one."""
        for spec in self.specs:
            self._begin(spec)
        return super().setup_nodes(putevent)

    def _begin(self, spec: execnet.XSpec) -> Worker:
        assert spec.id is not None
        worker = self._start(self._places[spec.id], spec.id)
        self.workers[spec.id] = worker
        return worker

    def setup_node(
        self, spec: execnet.XSpec, putevent: Callable[[tuple[str, dict[str, Any]]], None]
    ) -> WorkerController:
        """Start one node, and its worker if that has not been.

        Raises:
            NodeStartFailed: its worker did not begin.
            WorkerFailed: a plugin put in ``workerinput`` what cannot be sent.
        """
        assert spec.id is not None
        worker = self.workers.get(spec.id) or self._begin(spec)
        via = f"//via={worker.via}" if worker.via else ""
        begun = execnet.XSpec(
            f"execmodel=main_thread_only//popen//python={worker.giver}//id={spec.id}{via}"
        )
        begun.nice, begun.env = spec.nice, spec.env
        try:
            with _our_module(self.config), _nothing_left_open():
                return super().setup_node(begun, putevent)
        except execnet.DumpError as error:
            raise WorkerFailed(
                "workerinput cannot be sent to the worker",
                evidence=str(error),
                remedy="see what pytest_configure_node puts there: pytest-xdist cannot send it "
                "either",
            ) from None
        except (EOFError, OSError, AssertionError) as error:
            raise NodeStartFailed(spec.id) from error

    def machine(self, spec: str, place: int) -> tuple[execnet.Gateway, Mapping[str, str]]:
        """A gateway to the machine of a spec, on which a worker is to be started; the same for one
        that takes another's place.

        As xdist does it: in the folder that the spec names, to which the project is copied where
        ``--rsyncdir`` says so.

        Args:
            spec: of a node.
            place: of the node among the specs.

        Returns:
            It, and the folders that were copied: the name that each has there, by its path here.

        Raises:
            FetchFailed: it cannot be reached.
        """
        if place in self._machines:
            return self._machines[place]
        # Several things are asked of it at once.
        asked = execnet.XSpec(f"execmodel=thread//id=machine-{place}//{spec}")
        asked.chdir = asked.chdir or _FOLDER
        try:
            with _nothing_left_open():
                gateway = self.group.makegateway(asked)
            roots = [Path(root).resolve() for root in self._copied()]
            for root in roots:
                self.rsync(gateway, root, **self.rsyncoptions)
        except (OSError, EOFError, HostNotFound, AssertionError, execnet.RemoteError) as error:
            raise FetchFailed(
                f"the machine of {spec} cannot be reached",
                evidence=_said(error),
                remedy="check the name, and that the same command line works without --nsys",
            ) from None
        self._machines[place] = gateway, {str(root): root.name for root in roots}
        return self._machines[place]

    def _copied(self) -> Sequence[str]:
        """The project's folders; xdist would copy pytest, too, which is there as we are."""
        return [*self.config.option.rsyncdir, *map(str, self.config.getini("rsyncdirs"))]

    def end_workers(self) -> None:
        """End all workers and their nsys."""
        for worker in self.workers.values():
            worker.end()

    def exit_workers(self) -> None:
        """Let the workers' processes end, and keep the machines that they are on.

        execnet would wait for them by way of the machines, when these are gone as well.
        """
        ended = [gateway for gateway in self.group if gateway.id in self.workers]
        for gateway in ended:
            gateway.exit()
        for gateway in ended:
            gateway.join(self.EXIT_TIMEOUT)
            if not gateway.spec.via:
                gateway._io.wait()
            self.group._gateways_to_join.remove(gateway)

    def again(
        self, spec: execnet.XSpec, putevent: Callable[[tuple[str, dict[str, Any]]], None]
    ) -> WorkerController:
        """Start a node in the place of one whose worker has died."""
        assert spec.id is not None
        new = execnet.XSpec("popen")
        new.nice, new.env = spec.nice, spec.env
        self.group.allocate_id(new)
        assert new.id is not None
        self._places[new.id] = self._places[spec.id]
        return self.setup_node(new, putevent)
