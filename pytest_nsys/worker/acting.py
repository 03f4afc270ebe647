"""A worker that is none of pytest-xdist's, and acts as one for other plugins."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import pytest

from pytest_nsys.support.simple_values import from_json
from pytest_nsys.worker.node import stand_in_for_xdist


class ActsAsNode:
    """Presents this process to other plugins as what it is: a worker.

    ``workerinput`` is the attribute by which pytest itself and its plugins know that reports,
    caches and result files belong to another process.

    Args:
        workerinput: what they find there, by `pytest_nsys.support.simple_values`.
    """

    def __init__(self, workerinput: Mapping[str, Any]) -> None:
        self._workerinput = workerinput

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_parse(self) -> Generator[None, pytest.Config, pytest.Config]:
        """As soon as there is a configuration."""
        config = yield
        config.workerinput = from_json(self._workerinput)  # type: ignore[attr-defined]
        config.workeroutput = {}  # type: ignore[attr-defined]
        stand_in_for_xdist(config)
        return config
