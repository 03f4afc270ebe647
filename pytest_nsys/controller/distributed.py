"""A run that pytest-xdist distributes (``-n``): in two phases, what is not measured first.

Those are xdist's affair, as they are in any run: its session is held back until they are known, and
is not started where there are none. Measured tests then run in workers of their own, which start
when no other runs any more (`pytest_nsys.distribution`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from xdist.workermanage import parse_tx_spec_config

from pytest_nsys.capture.follow import Event
from pytest_nsys.capture.run import Listener
from pytest_nsys.capture.workers import Command
from pytest_nsys.controller.checks import is_measured, only_looks
from pytest_nsys.controller.launch import Launch
from pytest_nsys.controller.reports import pass_on_warning
from pytest_nsys.controller.runner import CaptureSource
from pytest_nsys.controller.sources import MakeSource, make_explain
from pytest_nsys.distribution.capture import (
    DistributedCapture,
    Distribution,
    Hands,
    is_local,
)
from pytest_nsys.distribution.nodes import end_nodes
from pytest_nsys.errors import NotEnoughGpus, SettingsError
from pytest_nsys.gpu.devices import VISIBLE
from pytest_nsys.gpu.shares import shares, visible_entries
from pytest_nsys.plan.batches import Batch
from pytest_nsys.plan.settings import Settings
from pytest_nsys.process.environment import given_environment
from pytest_nsys.worker.node import MEASURED

GROUP_NAMES = pytest.StashKey[Mapping[str, str]]()
_DSESSION = "dsession"


def distribute(
    config: pytest.Config, settings: Settings, launch: Launch
) -> tuple[MakeSource, Callable[[Batch], Mapping[str, str]]]:
    """What captures in several workers at once, as xdist's options say; and the environment by
    which CUDA shows the GPUs that those of a batch use.

    Args:
        config: of the run.
        settings: of the run.
        launch: what they are started with.

    Raises:
        NotEnoughGpus: there are fewer GPUs than workers.
        SettingsError: there can be no such workers.
    """
    distribution = _distribution(config, settings)
    progress, explain = launch.progress, make_explain(launch.nsys)

    def listener(worker: str) -> Listener:
        def on_event(event: Event) -> None:
            progress.event(event, worker)
            if event["event"] == "warning":
                pass_on_warning(config, event)

        return Listener(on_event, progress.stdout, progress.stderr)

    def source(command: Command, commit: str) -> CaptureSource:
        options = replace(launch.workers.options, commit=commit)
        folder, say = launch.folder, progress.waiting
        executable = settings.executable or ""
        hands = Hands(config, launch.nsys, options, folder, listener, say, explain, executable)
        return DistributedCapture(hands, command, distribution)

    def environ_of(batch: Batch) -> Mapping[str, str]:
        used: list[str | None] = []
        with suppress(NotEnoughGpus):  # told of when it is measured
            used = [gpus for _, gpus in distribution.nodes(batch)]
        shown = ",".join(filter(None, used))
        return {**given_environment(), VISIBLE: shown} if shown else given_environment()

    return source, environ_of


def _distribution(config: pytest.Config, settings: Settings) -> Distribution:
    specs = tuple(parse_tx_spec_config(config))
    if settings.against is not None and not all(map(is_local, specs)):
        raise SettingsError(
            "--nsys-against measures on this machine: the other revision is checked out here",
            remedy="give -n, or leave out --nsys-against",
        )
    visible = visible_entries(given_environment())
    local = [*filter(is_local, specs)]
    given = iter(shares(len(local), visible, shared=settings.share_gpu))
    return Distribution(
        specs,
        tuple(next(given) if is_local(spec) else None for spec in specs),
        visible,
        shared=settings.share_gpu,
        each=config.getoption("dist") == "each",
        names=config.stash.get(GROUP_NAMES, {}),
    )


def _group_names(config: pytest.Config, items: Sequence[pytest.Item]) -> Mapping[str, str]:
    """Tests by the names by which ``--dist=loadgroup`` sees their groups; without it, none.

    xdist 3.8 writes them into the ids of tests, where pytest 9.2 no longer sees them.
    """
    if config.getoption("dist") != "loadgroup":
        return {}
    named = {}
    for item in items:
        marks = [*item.iter_markers("xdist_group")]
        groups = {str((*m.args, m.kwargs.get("name", "default"))[0]) for m in marks}
        if groups:
            named[item.nodeid] = f"{item.nodeid}@{'_'.join(sorted(groups))}"
    return named


class PlainFirst:
    """Has xdist run the tests that are not measured, before those that are.

    Args:
        config: of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._held: Any = None
        self._measured: list[str] = []

    @pytest.hookimpl
    def pytest_plugin_registered(self, plugin: object, manager: pytest.PytestPluginManager) -> None:
        """Hold xdist's session back, which prevents this process from collecting tests."""
        if self._held is None and manager.get_name(plugin) == _DSESSION:
            self._held = plugin
            manager.unregister(plugin)

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Know the groups of tests before the run is prepared."""
        self._config.stash[GROUP_NAMES] = _group_names(self._config, session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell xdist's workers which tests are none of theirs."""
        node.workerinput[MEASURED] = self._measured

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Have the tests run that are not measured, and leave the others to pytest's own loop."""
        config = self._config
        broken = session.testsfailed and not config.getoption("continue_on_collection_errors")
        if self._held is None or broken or only_looks(config):
            return
        measured = [item for item in session.items if is_measured(item)]
        collected = session.testscollected
        if len(measured) < len(session.items):
            self._measured = [item.nodeid for item in measured]
            config.pluginmanager.register(self._held, _DSESSION)
            self._held.pytest_sessionstart(session)
            try:
                self._held.pytest_runtestloop()
            finally:
                # Now, and not at the end of the run: what its workers have of the GPUs goes.
                end_nodes(self._held.nodemanager)
            # pytest's loop takes what has failed before it for errors of collection.
            config.option.continue_on_collection_errors = True
        session.testscollected = collected
        session.items[:] = measured
