"""What the tests of parity share: real captures, loaded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from pytest_nsys.trace import Trace, load_trace


class Loaded(Mapping[str, Trace]):
    """The traces of captures by name, each loaded when it is first asked for."""

    def __init__(self, captures: Mapping[str, Path]) -> None:
        self._captures = captures
        self._load = cache(lambda name: load_trace(captures[name]))

    def __getitem__(self, name: str) -> Trace:
        return self._load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._captures)

    def __len__(self) -> int:
        return len(self._captures)


@pytest.fixture(scope="session")
def traces(captures: Mapping[str, Path]) -> Mapping[str, Trace]:
    """The traces of the real captures."""
    return Loaded(captures)
