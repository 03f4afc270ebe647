"""Captures of tests that several workers share: one nsys, and one capture, for each."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import execnet
import pytest

from pytest_nsys.capture.ahead import Ahead
from pytest_nsys.capture.follow import Event
from pytest_nsys.capture.live import LiveCapture
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.capture.run import Listener, Program, WorkerRun
from pytest_nsys.capture.workers import CaptureOptions, Command, Workers
from pytest_nsys.distribution.division import divide, in_unfinished
from pytest_nsys.distribution.messages import ALIVE_S, Request, version
from pytest_nsys.distribution.nodes import MeasuringNodes, NodeStartFailed, end_nodes, node_config
from pytest_nsys.distribution.remote import RemoteWorker
from pytest_nsys.distribution.session import MeasuringSession
from pytest_nsys.distribution.worker import LocalWorker, Worker, make_order
from pytest_nsys.errors import NsysError, SettingsError, WorkerFailed
from pytest_nsys.gpu.devices import VISIBLE
from pytest_nsys.gpu.shares import shares
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.process.run_folder import RunFolder

_Node: TypeAlias = "tuple[str, str | None]"
"""The spec of a node, and the GPUs that it is shown."""


def is_local(spec: str) -> bool:
    """Whether the node of a spec is on this machine.

    Raises:
        SettingsError: execnet does not know what it means.
    """
    try:
        asked = execnet.XSpec(spec)
        if asked.popen or _machine(asked):
            return bool(asked.popen)
        why = "it names neither popen nor a machine"
    except (ValueError, AttributeError) as error:
        why = str(error)
    raise SettingsError(
        f"--tx={spec:.200} is no spec of a worker",
        evidence=why,
        remedy="give -n for workers on this machine, or name another: --tx ssh=HOST//chdir=FOLDER",
    ) from None


@dataclass(frozen=True)
class Distribution:
    """How a run is distributed.

    Attributes:
        specs: of the nodes, as pytest-xdist has them (``popen``).
        shares: the GPUs that each is shown, as ``CUDA_VISIBLE_DEVICES`` has them; None for all, or
            what the machine says where it is another.
        visible: all of this machine; None if unknown.
        shared: whether workers may share a GPU.
        each: whether every node is to run every test.
        names: of tests as a scheduler is to see them, where they differ from their node ids.
    """

    specs: tuple[str, ...]
    shares: tuple[str | None, ...]
    visible: tuple[str, ...] | None = None
    shared: bool = False
    each: bool = False
    names: Mapping[str, str] | None = None

    def nodes(self, batch: Batch) -> tuple[_Node, ...]:
        """The nodes for a batch: the spec of each, and the GPUs that it is shown.

        Raises:
            NotEnoughGpus: there are fewer than a test asks for.
        """
        gpus = batch.tests[0].spec.gpus
        if gpus > 1:
            local = is_local(self.specs[0])
            given = shares(1, self.visible, gpus=gpus)[0] if local else None
            return ((self.specs[0], given),)
        count = len(self.specs) if self.each else min(len(self.specs), len(batch.tests))
        return tuple(zip(self.specs, self.shares, strict=True))[:count]


@dataclass(frozen=True)
class Hands:
    """What captures are made with.

    Attributes:
        config: of the run.
        nsys: the nsys.
        options: how captures are made.
        folder: for their files.
        listener: told of what workers do, with the name of the node and its GPUs.
        say: told how a batch is shared.
        explain: adds to an error what on this machine may be its cause.
        executable: the nsys that was asked for; "" for the one that is found.
    """

    config: pytest.Config
    nsys: NsysTool
    options: CaptureOptions
    folder: RunFolder
    listener: Callable[[str], Listener]
    say: Callable[[str], None]
    explain: Callable[[NsysError], NsysError]
    executable: str = ""


_PRINTED = "printed"


@dataclass(frozen=True)
class _Ran:
    """How the workers ended that shared tests once.

    Attributes:
        runs: by the names of their nodes.
        crashed: see `MeasuringSession`.
        error: why one of them could not be started or ended; None if all were.
    """

    runs: Mapping[str, WorkerRun]
    crashed: Mapping[str, str]
    error: NsysError | None

    def of(self, name: str) -> _Ran:
        """One of them alone."""
        return replace(self, runs={name: self.runs[name]})


class DistributedCapture:
    """Captures batches in the workers of pytest-xdist.

    Args:
        hands: what captures are made with.
        command: how a worker's pytest is started.
        distribution: how the run is distributed.
    """

    def __init__(self, hands: Hands, command: Command, distribution: Distribution) -> None:
        self._hands = hands
        self._command = command
        self._distribution = distribution
        ours = Listener(_unheard, _unheard, _unheard)
        workers = Workers(hands.nsys, hands.options, command, hands.folder, ours)
        self._live = LiveCapture(workers, Ahead(1), hands.explain, hands.options.commit)

    @property
    def confirmations(self) -> int:
        """How often what is suspected can be measured again."""
        return self._live.confirmations

    def planned(self, test: PlannedTest) -> int:
        """How many processes the test is to have, in each node that runs it."""
        return self._live.planned(test)

    def expect(self, batch: Batch, processes: int) -> None:
        """Nothing is started ahead: as many as may be run at once."""

    def capture(self, batch: Batch, maxfail: int, process: int = 0) -> Iterator[CaptureResult]:
        """Run the batch; one result for each worker that has something to say, in their order.

        What a worker that died had run before, and what it was still to run, is run again (see
        `LiveCapture.capture`), when the others have ended.
        """
        del process  # one is like another
        nodes = self._distribution.nodes(batch)
        if not self._distribution.each:
            yield from self._shared(nodes, batch, maxfail)
            return
        ran = self._distribute(nodes, batch.tests, maxfail)
        for node, name in zip(nodes, [*ran.runs], strict=False):
            results = list(self._results(ran.of(name), batch.tests, batch))
            done = {test.nodeid for result in results for test in result.tests}
            left = tuple(test for test in batch.tests if test.nodeid not in done)
            if left and name in ran.runs:
                results += self._shared([node], Batch(left), maxfail)
            yield from (replace(result, worker=name) for result in results)
        self._raise(ran)

    def _shared(
        self, nodes: Sequence[_Node], batch: Batch, maxfail: int
    ) -> Iterator[CaptureResult]:
        left = list(batch.tests)
        lost_all_ranges = False
        unfinished: frozenset[str] = frozenset()
        while left:
            done: set[str] = set()
            lost_now = False
            ran = self._distribute(nodes[: len(left)], left, maxfail)
            for result in self._results(ran, left, batch, unfinished):
                if result.lost_all_ranges and not lost_all_ranges:
                    lost_now = True  # once: see there
                    continue
                done |= {test.nodeid for test in result.tests}
                yield result
            self._raise(ran)
            lost_all_ranges = lost_all_ranges or lost_now
            before, unfinished = unfinished, unfinished | in_unfinished(ran.runs)
            if not (done or lost_now or unfinished > before):
                raise self._hands.explain(_ran_nothing(ran))
            left = [test for test in left if test.nodeid not in done]

    def _results(
        self,
        ran: _Ran,
        tests: Sequence[PlannedTest],
        batch: Batch,
        unfinished: Container[str] = frozenset(),
    ) -> Iterator[CaptureResult]:
        """What the workers that were started have to say, in their order.

        Args:
            ran: how they ended.
            tests: that they were to run.
            batch: that these are of.
            unfinished: those whose worker has died before, when it had run all of its own: for them
                there is no third try.
        """
        failed = ran.error is not None
        for name, planned in divide(tests, ran.runs, ran.crashed, failed=failed).items():
            run = ran.runs[name]
            if not planned:
                continue  # others were quicker
            result = self._live.analyse(run, planned, batch)
            if run.lost is not None or not run.ended:
                over = unfinished if run.lost is None else ()
                kept = [test for test in result.tests if not test.passed or test.nodeid in over]
                result = replace(result, tests=tuple(kept))
            if result.tests:
                yield result

    def _raise(self, ran: _Ran) -> None:
        if ran.error is not None:
            raise self._hands.explain(ran.error)

    def _distribute(
        self, nodes: Sequence[_Node], tests: Sequence[PlannedTest], maxfail: int
    ) -> _Ran:
        """Share the tests among nodes, once."""
        hands = self._hands
        config = node_config(hands.config, [_spec(*node) for node in nodes])
        listeners: dict[str, Listener] = {}

        def start(place: int, name: str) -> Worker:
            spec, gpus = nodes[place]
            listeners[name] = hands.listener(_called(name, *nodes[place]))
            told = Listener(
                lambda event: session.put(name, event),
                lambda data: session.put(name, {"event": _PRINTED, "data": data}),
                lambda data: session.put(name, {"event": _PRINTED, "data": data}),
            )
            command = self._command_of(name, spec, gpus)
            order = make_order(command, tests, maxfail, hands.options)
            if is_local(spec):
                return LocalWorker(hands.nsys, order, hands.folder, told)
            machine, roots = started.machine(spec, place)
            same = [other for other, (its_spec, _) in enumerate(nodes) if its_spec == spec]
            request = Request(
                version(),
                order,
                same.index(place),
                len(same),
                tests[0].spec.gpus,
                self._distribution.shared,
                hands.executable,
                roots,
                str(hands.config.invocation_params.dir),
                ALIVE_S,
            )
            return RemoteWorker(machine, request, hands.folder, told)

        def on_event(name: str, event: Event) -> None:
            if event["event"] == _PRINTED:
                listeners[name].stderr(event["data"])
            else:
                listeners[name].event(event)

        started = MeasuringNodes(config, start)
        names = self._distribution.names or {}
        session = MeasuringSession(config, started, maxfail, names, on_event)
        hands.say(_shared_by([spec.id or "" for spec in started.specs], nodes))
        error: NsysError | None = None
        unreached: NodeStartFailed | None = None
        runs = {}
        over = False
        try:
            try:
                session.run()
                session.wait(hands.options.deadlines.finish)
            except NodeStartFailed as caught:
                unreached = caught
                started.end_workers()
            except NsysError as caught:
                error = caught
                started.end_workers()
            started.exit_workers()
            for name, worker in started.workers.items():
                try:
                    runs[name] = worker.result()
                except NsysError as caught:
                    error = error or caught
                session.drain()
            over = True
        finally:
            if not over:
                started.end_workers()
                started.exit_workers()
            end_nodes(started)
        if unreached is not None and error is None:
            raise unreached  # and its worker knows of nothing
        return _Ran(runs, session.crashed, error)

    def _command_of(self, name: str, spec: str, gpus: str | None) -> Command:
        command, asked = self._command, execnet.XSpec(spec)
        if not asked.popen:  # the machine knows the rest
            program = Program("", "", _texts(asked))
            return replace(command, program=program, basetemp=None, sys_path=(), coverage=None)
        environment = {} if gpus is None else {VISIBLE: gpus}
        program = replace(
            command.program,
            python=asked.python or command.program.python,
            directory=asked.chdir or command.program.directory,
            environment={**command.program.environment, **environment, **_texts(asked)},
        )
        basetemp = command.basetemp and f"{command.basetemp}-{name}"
        sys_path = () if asked.python else command.sys_path
        return replace(command, program=program, basetemp=basetemp, sys_path=sys_path)


def _ran_nothing(ran: _Ran) -> NsysError:
    said = (f"{name}: {run.reason or 'it ended'}\n{run.stderr}" for name, run in ran.runs.items())
    return WorkerFailed(
        "the workers ended, and had run none of the tests",
        evidence=next(said, "").strip(),
        remedy="see which plugin or hook of the project ends them, with -p no:NAME",
    )


def _spec(spec: str, gpus: str | None) -> str:
    """What pytest-xdist is to see: where the worker is and in which environment; not how."""
    asked = execnet.XSpec(spec)
    environment = {**({} if gpus is None else {VISIBLE: gpus}), **_texts(asked)}
    parts = ["popen", *(f"env:{name}={value}" for name, value in environment.items())]
    return "//".join(parts + [f"nice={asked.nice}"] * bool(asked.nice))


def _texts(spec: execnet.XSpec) -> dict[str, str]:
    """The environment that a spec asks for; execnet takes a variable without a value for True."""
    return {name: str(value) for name, value in spec.env.items()}


def _shared_by(names: Sequence[str], nodes: Sequence[_Node]) -> str:
    called = [_called(name, *node) for name, node in zip(names, nodes, strict=True)]
    return f"{len(nodes)} worker{'s' * (len(nodes) > 1)}: {', '.join(called)}"


def _machine(asked: execnet.XSpec) -> str:
    """The machine that a spec names; "" where it is this one."""
    return str(asked.ssh or asked.socket or asked.vagrant_ssh or "")


def _called(name: str, spec: str, gpus: str | None) -> str:
    asked = execnet.XSpec(spec)
    if machine := _machine(asked):
        return f"{name} on {machine}"
    if gpus is None:
        return name
    return f"{name} (GPU{'s' * (',' in gpus)} {gpus})"


def _unheard(said: object) -> None:
    """Nobody is told."""
