"""State that lives for one call of a test, made anew before each of its other calls.

A test's body is called in warm-ups and rounds with the same fixtures. What pytest and well-known
plugins keep for the one call that they know of would be that of all calls: messages that are
counted, snapshots that are numbered, patches upon patches. What a project's own fixtures keep is
the project's, and stays; where that is in the way, ``nsys(function)`` measures only the function.
"""

from __future__ import annotations

import contextlib
import logging
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.doctest import DoctestItem

from pytest_nsys.support.own import own
from pytest_nsys.worker.node import plugin_module

Renew = Callable[[], object]
"""Makes a state what it was before the first call."""


class Renewal:
    """The state of one test; made when it is set up, before the first call."""

    def __init__(self, item: pytest.Item) -> None:
        self._clocks = [*_clocks(item)]
        self._states = [*_properties(item), *_of_doctest(item), *_of_plugins(item)]
        for name, value in getattr(item, "funcargs", {}).items():
            self._states += _of_fixture(name, value)

    def before_call(self) -> None:
        """The body is called once more."""
        for renew in (*self._states, *self._clocks):
            renew()

    def before_part(self) -> None:
        """A function that the body has handed over is called once more: the body goes on."""
        for renew in self._clocks:
            renew()


def _properties(item: pytest.Item) -> Iterator[Renew]:
    """``record_property``."""
    properties = item.user_properties
    known = len(properties)

    def renew() -> None:
        del properties[known:]

    yield renew


def _of_doctest(item: pytest.Item) -> Iterator[Renew]:
    """The names of a doctest, which its run forgets."""
    if isinstance(item, DoctestItem) and item.dtest is not None:
        names = item.dtest.globs
        before = dict(names)

        def renew() -> None:
            names.clear()
            names.update(before)

        yield renew


def _clocks(item: pytest.Item) -> Iterator[Renew]:
    """The limit of pytest-timeout, which is for a call."""
    plugin = plugin_module(item.config, "pytest_timeout")
    if hasattr(plugin, "_get_item_settings"):
        settings = plugin._get_item_settings(item)
        if settings.timeout is not None and settings.timeout > 0:

            def renew() -> None:
                item.config.hook.pytest_timeout_cancel_timer(item=item)
                item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)

            yield renew


def _of_plugins(item: pytest.Item) -> Iterator[Renew]:
    """The seeds of pytest-randomly; what Allure has been told."""
    randomly = plugin_module(item.config, "pytest_randomly")
    allure: Any = item.config.pluginmanager.get_plugin("allure_listener")
    if hasattr(randomly, "pytest_runtest_call"):
        yield lambda: randomly.pytest_runtest_call(item)
    result = allure.allure_logger.get_test(None) if allure is not None else None
    if result is not None:
        yield from (_cut(one) for one in (result.steps, result.attachments))


def _cut(entries: list[Any]) -> Renew:
    known = len(entries)

    def renew() -> None:
        del entries[known:]

    return renew


def _of_fixture(name: str, value: Any) -> Iterator[Renew]:
    if isinstance(value, pytest.LogCaptureFixture):
        yield value.clear
        yield _levels(value)
    elif isinstance(value, pytest.CaptureFixture):
        yield value.readouterr
    elif isinstance(value, pytest.WarningsRecorder):
        yield value.clear
        yield _forget_warnings
    elif isinstance(value, pytest.MonkeyPatch):
        yield _patches(value)
    elif name == "tmp_path" and isinstance(value, Path):
        yield _files(value)
    elif _is_mock(value):
        yield from _calls(value)
    else:
        kind = type(value)
        yield from _OF_KINDS.get(f"{kind.__module__}.{kind.__qualname__}", _nothing)(value)


def _levels(caplog: pytest.LogCaptureFixture) -> Renew:
    """Set the levels back that the body has set, and leave what fixtures have."""
    before = dict(caplog._initial_logger_levels)
    levels = {name: logging.getLogger(name).level for name in before}
    handler, handler_before = caplog.handler.level, caplog._initial_handler_level
    disabled = logging.root.manager.disable

    def renew() -> None:
        for name, level in {**caplog._initial_logger_levels, **levels}.items():
            logging.getLogger(name).setLevel(level)
        caplog._initial_logger_levels = dict(before)
        caplog.handler.setLevel(handler)
        caplog._initial_handler_level = handler_before
        logging.disable(disabled)

    return renew


def _forget_warnings() -> None:
    """Python shows a warning once in a place, until something changes its filters."""
    with warnings.catch_warnings():
        pass


def _nothing(value: Any) -> Iterator[Renew]:
    del value
    return iter(())


def _patches(patch: pytest.MonkeyPatch) -> Renew:
    """Undo what the body has patched, and leave what fixtures have."""
    attributes, items, paths, folder = (
        len(patch._setattr),
        len(patch._setitem),
        patch._savesyspath,
        patch._cwd,
    )

    def renew() -> None:
        of_call = pytest.MonkeyPatch()
        of_call._setattr[:] = patch._setattr[attributes:]
        of_call._setitem[:] = patch._setitem[items:]
        del patch._setattr[attributes:], patch._setitem[items:]
        if paths is None:
            of_call._savesyspath, patch._savesyspath = patch._savesyspath, None
        if folder is None:
            of_call._cwd, patch._cwd = patch._cwd, None
        of_call.undo()

    return renew


def _files(folder: Path) -> Renew:
    """Remove what the body has made in ``tmp_path``."""
    known = {*_entries(str(folder))}

    def renew() -> None:
        for entry in {*_entries(str(folder))} - known:
            own.remove_tree(entry, ignore_errors=True)
            with contextlib.suppress(OSError):
                own.unlink(entry)

    return renew


def _entries(folder: str) -> Iterator[str]:
    """What is in a folder, and in those that are in it."""
    for name in own.listdir(folder):
        entry = f"{folder}/{name}"
        yield entry
        if stat.S_ISDIR(own.lstat(entry).st_mode):
            yield from _entries(entry)


def _mocks(mocker: Any) -> Iterator[Renew]:
    """pytest-mock: stop the body's patches, and leave those of fixtures."""
    made = mocker._mock_cache.cache
    known = len(made)

    def renew() -> None:
        for one in reversed(made[known:]):
            if one.patch is not None:
                one.patch.stop()
        del made[known:]

    if isinstance(made, list):
        yield renew
        for one in made:
            yield from _calls(one.mock)


def _calls(mock: Any) -> Iterator[Renew]:
    """A mock that nobody has called yet: what the body calls is counted anew."""
    if _is_mock(mock) and not mock.mock_calls:
        yield mock.reset_mock


def _is_mock(value: Any) -> bool:
    """Whether it is a mock: then `unittest.mock`, which takes time, is imported already."""
    module = sys.modules.get("unittest.mock")
    return module is not None and isinstance(value, module.NonCallableMock)


def _snapshots(snapshot: Any) -> Iterator[Renew]:
    """syrupy: number the snapshots from the first."""

    def renew() -> None:
        snapshot._executions = 0
        snapshot._execution_results.clear()
        getattr(snapshot, "_execution_name_index", {}).clear()

    yield renew


def _attributes(**values: Any) -> Callable[[Any], Iterator[Renew]]:
    def of(value: Any) -> Iterator[Renew]:
        def renew() -> None:
            vars(value).update(values)

        yield renew

    return of


_OF_KINDS: dict[str, Callable[[Any], Iterator[Renew]]] = {
    "pytest_mock.plugin.MockerFixture": _mocks,
    "syrupy.assertion.SnapshotAssertion": _snapshots,
    "pytest_benchmark.fixture.BenchmarkFixture": _attributes(_mode=None, has_error=False),
    "pytest_codspeed.plugin.BenchmarkFixture": _attributes(_called=False),
}
"""What plugins' fixtures keep, by their types: those plugins need not be installed."""
