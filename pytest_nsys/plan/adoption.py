"""``nsys_adopt``: which tests are measured without a mark, for what other tools measure in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pytest_nsys.errors import SettingsError
from pytest_nsys.support.text import suggest

BENCHMARK = "benchmark"
"""Tests that use the fixture of pytest-benchmark or pytest-codspeed are measured."""

DO_BENCH = "do_bench"
"""In measured tests, ``triton.testing.do_bench`` measures as ``nsys(function)`` does."""

_CODSPEED = "pytest_codspeed.plugin"
_PLUGINS = ("pytest_benchmark.plugin", _CODSPEED)
_MARKERS = ("benchmark", "codspeed_benchmark")


def read_adopt(text: str | None) -> tuple[str, ...]:
    """What the ini file names.

    Raises:
        SettingsError: it is nothing that can be adopted.
    """
    words = (text or "").split()
    for word in words:
        if word not in (BENCHMARK, DO_BENCH):
            remedy = suggest(word, [BENCHMARK, DO_BENCH])
            raise SettingsError(f"nsys_adopt names {word!r}", remedy=remedy)
    return tuple(dict.fromkeys(words))


class MarksBenchmarks:
    """A plugin that marks as to be measured whatever is a benchmark."""

    @pytest.hookimpl
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Mark it where it is none of our own yet; before others choose tests by their marks."""
        if item.get_closest_marker("nsys") is None and _is_benchmark(item):
            item.add_marker("nsys")


def _is_benchmark(item: pytest.Item) -> bool:
    """Whether a test uses a fixture of these plugins, or is marked for the one that heeds marks."""
    fixtures = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    if any(map(_is_theirs, fixtures.values())):
        return True
    marked = any(item.get_closest_marker(marker) for marker in _MARKERS)
    plugins = item.config.pluginmanager.get_plugins() if marked else ()
    return any(getattr(plugin, "__name__", None) == _CODSPEED for plugin in plugins)


def _is_theirs(definitions: Sequence[Any]) -> bool:
    """Whether a fixture is one of theirs, or one of the project's own that is made of it."""
    for definition in reversed(definitions):
        if getattr(definition.func, "__module__", None) in _PLUGINS:
            return True
        if definition.argname not in definition.argnames:
            break
    return False
