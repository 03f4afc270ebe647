"""What the tests of servers share: a bench to start them on, and the nsys that serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.process.run_folder import RunFolder
from tests.support.capture_bench import real
from tests.support.server_bench import Bench


@pytest.fixture(scope="module")
def serving_nsys(alone: None) -> NsysTool:
    """The real nsys that serves."""
    return real("2023")


@pytest.fixture(params=["under nsys", "without nsys"])
def profiler(request: pytest.FixtureRequest) -> NsysTool | None:
    """A server's nsys, or none."""
    if request.param == "without nsys":
        return None
    found: NsysTool = request.getfixturevalue("serving_nsys")
    return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench; whatever a test did, nothing of its servers is left."""
    with RunFolder() as run:
        bench = Bench(run, tmp_path)
        try:
            yield bench
        finally:
            bench.stop_all()
        assert bench.left() == []
    assert not run.path.exists()
