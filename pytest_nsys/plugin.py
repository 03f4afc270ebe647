"""The pytest plugin: options, the marker, the fixture, and which role this process has.

It is loaded in every run of a project that has it installed, so it imports next to nothing; what
measures and judges is imported when a run asks for it.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nsys.plan.options import (
    MARKER_LINE,
    add_options,
    check_flags,
    check_ini,
    ini_value,
    is_active,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_nsys.fixture import Nsys
    from pytest_nsys.servers.command import NsysRun
    from pytest_nsys.servers.factory import NsysServer

_ENVIRONMENT = pytest.StashKey[dict[str, str]]()
_FORGET_METRICS = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options and their ini twins."""
    add_options(parser)
    _import_as_usual(pluginmanager)


def _import_as_usual(pluginmanager: pytest.PytestPluginManager) -> None:
    """Have Python import the modules of this package, as all others.

    pytest rewrites the assertions of plugins, which helps those that assert for tests. It has no
    use for what Python compiled at the installation, and in a fresh container compiles all anew.
    """
    hook = getattr(pluginmanager, "rewrite_hook", None)
    marked = getattr(hook, "_must_rewrite", None)
    if isinstance(marked, set):
        marked.discard(__name__.partition(".")[0])
        getattr(hook, "_marked_for_rewrite_cache", {}).clear()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the extension points."""
    from pytest_nsys import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Iterator[None]:
    """Remember the environment that pytest was given, before conftest files and fixtures; after
    them, which may declare options, refuse what is nobody's."""
    early_config.stash[_ENVIRONMENT] = dict(os.environ)
    yield
    check_flags(parser, args)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker and become the controller of a run that measures, or stay idle.

    First, because other plugins look now for what a controller has.
    """
    config.addinivalue_line("markers", MARKER_LINE)
    check_ini(config)
    if adopted := ini_value(config, "nsys_adopt"):
        _adopt(config, adopted)
    if not hasattr(config, "workerinput") and is_active(config):
        _become_controller(config)


def _adopt(config: pytest.Config, text: str) -> None:
    """Mark what is measured without a mark of its own; so that -m knows it, in plain runs too."""
    from pytest_nsys.errors import SettingsError
    from pytest_nsys.plan.adoption import BENCHMARK, MarksBenchmarks, read_adopt

    try:
        adopt = read_adopt(text)
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    if BENCHMARK in adopt:
        config.pluginmanager.register(MarksBenchmarks(), "nsys-marks-benchmarks")


def _become_controller(config: pytest.Config) -> None:
    from pytest_nsys.controller import Controller, check_conflicts
    from pytest_nsys.errors import NsysError
    from pytest_nsys.plan.settings import read_settings
    from pytest_nsys.process.environment import give_environment
    from pytest_nsys.worker.node import distributes, distributes_nothing, stand_in_for_xdist

    try:
        _add_metrics(config)
        settings = read_settings(config)
        if settings.active:
            check_conflicts(config, replay=bool(settings.replay))
            if settings.capture == "cupti" and not settings.replay:
                from pytest_nsys.controller.here import check_here

                check_here(config, settings)
    except NsysError as error:
        from pytest_nsys.support.text import fit_to_print

        raise pytest.UsageError(fit_to_print(error)) from None
    if settings.active:
        give_environment(config.stash.get(_ENVIRONMENT, None))
        config.add_cleanup(functools.partial(give_environment, None))
        stand_in_for_xdist(config)
        if settings.replay:
            distributes_nothing(config)  # its tests are judged in this process, whatever -n says
        elif distributes(config):
            from pytest_nsys.controller.distributed import PlainFirst

            config.pluginmanager.register(PlainFirst(config), "nsys-plain-first")
        config.pluginmanager.register(Controller(config, settings), "nsys-controller")


def _add_metrics(config: pytest.Config) -> None:
    """Ask the hooks for metrics of the project's own, until the end of this run.

    Asked again after collection, which may have found more of them in ``conftest.py`` files.
    """
    if config.hook.pytest_nsys_metrics.get_hookimpls():
        from pytest_nsys.metrics.custom import register

        if _FORGET_METRICS in config.stash:
            config.stash[_FORGET_METRICS]()
        else:
            config.add_cleanup(lambda: config.stash[_FORGET_METRICS]())
        config.stash[_FORGET_METRICS] = lambda: None
        config.stash[_FORGET_METRICS] = register(config.hook.pytest_nsys_metrics())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the marks of every collected test, whether it will be measured or not."""
    if hasattr(config, "workerinput"):
        return
    marked = [item for item in items if "nsys" in item.keywords and item.get_closest_marker("nsys")]
    if not marked:
        return
    from pytest_nsys.errors import NsysError
    from pytest_nsys.plan.marker import read_spec
    from pytest_nsys.plan.settings import read_settings

    try:
        _add_metrics(config)
        settings = read_settings(config)
        for item in marked:
            read_spec(item, settings)
    except NsysError as error:
        from pytest_nsys.support.text import fit_to_print

        raise pytest.UsageError(fit_to_print(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist that measures nothing, leave out what others measure."""
    measured = getattr(session.config, "workerinput", {}).get("nsys_measured", ())
    if measured:
        known = {*measured}  # xdist may have added a group to an id
        session.items[:] = [
            item
            for item in session.items
            if known.isdisjoint((item.nodeid, item.nodeid.rpartition("@")[0]))
        ]


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """For ``-n auto`` in a run that measures: a worker for each GPU."""
    if not is_active(config) or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    from pytest_nsys.gpu.shares import visible_entries

    return len(visible_entries() or ()) or 1


@pytest.fixture
def nsys(request: pytest.FixtureRequest) -> Nsys:
    """Names parts of a measured test, its units, or the one call to measure; inert elsewhere."""
    from pytest_nsys.fixture import nsys_of

    return nsys_of(request.node)


@pytest.fixture(scope="session")
def nsys_server(request: pytest.FixtureRequest) -> Iterator[NsysServer]:
    """Starts inference servers, under nsys where the run measures, and sends them load."""
    from pytest_nsys.servers.factory import nsys_server_of

    with nsys_server_of(request.session) as factory:
        yield factory


@pytest.fixture(scope="session")
def nsys_run(request: pytest.FixtureRequest) -> Iterator[NsysRun]:
    """Runs plain commands, under nsys where the run measures."""
    from pytest_nsys.servers.command import nsys_run_of

    with nsys_run_of(request.session) as run:
        yield run
