"""Errors of servers, shown at the line of the test that met them and not deep in this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import pytest

from pytest_nsys.errors import NsysError

_OURS = "pytest_nsys"
_BETWEEN = ("contextlib", "functools", "threading", "concurrent")
_OF_PYTEST = ("_pytest", "pluggy")


@contextmanager
def short_tracebacks(config: pytest.Config) -> Iterator[None]:
    """In this block, reports show errors of this package without the code that raised them."""
    plugin = _Shortens()
    config.pluginmanager.register(plugin)
    try:
        yield
    finally:
        config.pluginmanager.unregister(plugin)


class _Shortens:
    @pytest.hookimpl(tryfirst=True)  # before pytest makes the report
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        if item.config.getoption("fulltrace", False) or call.excinfo is None:
            return
        if isinstance(call.excinfo.value, NsysError):
            end_in_users_code(call.excinfo.tb)


def end_in_users_code(traceback: TracebackType) -> None:
    """End a traceback at the last call from outside of this package, if there is one of a user's.

    Args:
        traceback: of an error, changed in place.
    """
    users: TracebackType | None = None
    here: TracebackType | None = traceback
    while here is not None and _package(here) != _OURS:
        if _package(here) not in _BETWEEN:
            users = None if _package(here) in _OF_PYTEST else here
        here = here.tb_next
    if here is not None and users is not None:
        users.tb_next = None


def _package(traceback: TracebackType) -> str:
    return str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
