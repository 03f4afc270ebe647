"""What the tests of captures share: the real nsys, and benches to run workers on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from capture_bench import NAMES, Bench, real, standin

from pytest_nsys.capture.nsys import Nsys


@pytest.fixture(scope="module", params=NAMES)
def nsys(request: pytest.FixtureRequest) -> Nsys:
    """Each of the real nsys in turn."""
    name: str = request.param
    return real(name)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without what speaks of the pytest that runs these tests."""
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "NSYS_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def bench(nsys: Nsys, tmp_path: Path, clean_environment: None) -> Bench:
    """A bench with a real nsys."""
    return Bench(tmp_path / "project", nsys, simulated=False)


@pytest.fixture
def simulated_bench(tmp_path: Path, clean_environment: None) -> Bench:
    """A bench with a stand-in nsys and the simulated GPU."""
    return Bench(tmp_path / "project", standin(tmp_path / "bin"), simulated=True)


@pytest.fixture(scope="module")
def module_environment() -> Iterator[None]:
    """As `clean_environment`, for fixtures of a module."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PYTEST_", "NSYS_"))]:
            patch.delenv(name)
        yield
