"""Distributing the tests of a batch: pytest-xdist's session, whose nodes measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from queue import Empty
from typing import Any

from xdist.dsession import DSession
from xdist.workermanage import WorkerController

from pytest_nsys.capture.follow import Event
from pytest_nsys.capture.live import SAME_TESTS
from pytest_nsys.distribution.nodes import MeasuringNodes
from pytest_nsys.errors import FetchFailed, WorkerFailed

_SHOWN = 10


class MeasuringSession(DSession):
    """Has tests run where its scheduler says, and knows which node was lost with which.

    Args:
        config: of `node_config`.
        nodes: what starts the nodes.
        maxfail: failures, in all nodes together, after which no further test is begun; 0 for no
            limit.
        names: of tests as the scheduler is to see them, where they differ from their node ids.
        on_event: told of what a worker did, with the name of its node.

    Attributes:
        stop: why the session was stopped before its end; "" if it was not.
        crashed: by the names of nodes that died, the test that xdist takes for the one it died in.
    """

    def __init__(
        self,
        config: Any,
        nodes: MeasuringNodes,
        maxfail: int,
        names: Mapping[str, str],
        on_event: Callable[[str, Event], None],
    ) -> None:
        super().__init__(config)
        self.maxfail = maxfail
        self.stop = ""
        self.crashed: dict[str, str] = {}
        self._nodes = nodes
        self._names = names
        self._nodeids = {name: nodeid for nodeid, name in names.items()}
        self._on_event = on_event
        self._collected: dict[WorkerController, frozenset[str]] = {}
        self._all: list[WorkerController] = []

    def run(self) -> None:
        """Run the tests; returns when the last node has ended its session.

        Raises:
            NodeStartFailed: a node could not be started.
            WorkerFailed: it could not, or nodes have collected different tests.
        """
        config, log = self.config, self.log
        sched = config.hook.pytest_xdist_make_scheduler(config=config, log=log)
        self.sched = sched or self.pytest_xdist_make_scheduler(config, log)
        self.shouldstop = False
        self._active_nodes.update(self._nodes.setup_nodes(self.queue.put))
        self._all += self._active_nodes
        while self._active_nodes:
            self.loop_once()
            if self.shouldstop:
                self.stop = self.stop or str(self.shouldstop)
                self.triggershutdown()

    def wait(self, deadline_s: float) -> None:
        """Wait until the workers have nothing more to do for xdist, which then gives them 5 s."""
        for node in self._all:
            try:
                node.channel.waitclose(deadline_s)
            except Exception:  # whatever became of the worker, it says itself
                continue

    def put(self, node: str, event: Event) -> None:
        """A worker has done something: told in this thread, from any."""
        self.queue.put(("nsys_event", {"name": node, "event": event}))

    def drain(self) -> None:
        """Pass on what workers have done since the last node ended its session."""
        while True:
            try:
                what, values = self.queue.get_nowait()
            except Empty:
                return
            if what == "nsys_event":
                self.worker_nsys_event(**values)

    def worker_nsys_event(self, name: str, event: Event) -> None:
        """Pass it on, and count failures, of which xdist is not told."""
        if event["event"] == "report" and event["data"]["outcome"] == "failed":
            self.countfailures += 1
            if self.maxfail and self.countfailures >= self.maxfail and not self.shouldstop:
                self.shouldstop = f"stopping after {self.countfailures} failures"
        self._on_event(name, event)

    def worker_collectionfinish(self, node: WorkerController, ids: Sequence[str]) -> None:
        """Schedule the tests once all nodes have collected them.

        A scheduler knows them by their numbers: one node must not have others than the rest.
        """
        first = next(iter(self._collected), node)
        self._collected[node] = frozenset(ids)
        if not self._each:
            self._compare(first, node)
        if self.shuttingdown:
            return
        self.config.hook.pytest_xdist_node_collection_finished(node=node, ids=ids)
        assert self.sched is not None
        self.sched.add_node_collection(node, [self._names.get(one, one) for one in ids])
        if self.sched.collection_is_completed:
            self.sched.schedule()

    def worker_workerfinished(self, node: WorkerController) -> None:
        """A node has ended its session: by itself, or since something asked it to."""
        self.config.hook.pytest_testnodedown(node=node, error=None)
        output = node.workeroutput
        self.shouldstop = self.shouldstop or output["shouldfail"] or output["shouldstop"]
        if output["exitstatus"] == 2 and not self.shouldstop:
            self.shouldstop = f"{node} was interrupted"
        self._removed(node)

    def worker_internal_error(self, node: WorkerController, formatted_error: str) -> None:
        """An error in pytest or a plugin: the worker's events have it, and it ends its session."""
        self.shouldstop = self.shouldstop or f"internal error in {node}:\n{formatted_error}"

    def worker_errordown(self, node: WorkerController, error: object | None) -> None:
        """A worker has died: another takes its place, if there is still something to be run.

        Not where its machine is gone: then the others do what is left.
        """
        self.config.hook.pytest_testnodedown(node=node, error=error)
        name = self._removed(node)
        self.crashed[node.gateway.id] = self._nodeids.get(name, name)
        assert self.sched is not None
        over = self.shouldstop or self.sched.tests_finished
        if over or self._each or node not in self._collected:
            self.triggershutdown()  # what is then left is left for later
        else:
            self.shuttingdown = False
            try:
                new = self._nodes.again(node.gateway.spec, self.queue.put)
            except FetchFailed:
                return  # the worker that died says why
            self._active_nodes.add(new)
            self._all.append(new)

    def _compare(self, *nodes: WorkerController) -> None:
        first, second = (self._collected[node] for node in nodes)
        if first == second:
            return
        alone = zip(nodes, (first - second, second - first), strict=True)
        lines = [f"{node.gateway.id} alone: {test}" for node, of in alone for test in sorted(of)]
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise WorkerFailed(
            "the workers did not collect the same tests",
            evidence="\n".join([*lines[:_SHOWN], *more]),
            remedy=SAME_TESTS,
        )

    @property
    def _each(self) -> bool:
        return bool(self.config.getvalue("dist") == "each")

    def _removed(self, node: WorkerController) -> str:
        """Forget a node; gives the test that it was to run next, if any."""
        self._active_nodes.discard(node)
        assert self.sched is not None
        return self.sched.remove_node(node) or "" if node in self.sched.nodes else ""
