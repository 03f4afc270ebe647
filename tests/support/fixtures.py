"""Fixtures that several folders ask for: the real nsys, benches to run workers on, captures, and
the command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.workers import CaptureOptions
from pytest_nsys.cli.main import main
from pytest_nsys.process.run_folder import RunFolder
from tests.support.capture_bench import (
    NAMES,
    Bench,
    Captured,
    old_standin,
    real,
    standin,
)

PARTS = """
    import subprocess, sys, time
    import nvtx
    import pytest

    def test_parts(nsys):
        with nsys.range("one"):
            time.sleep(0.02)
        with nvtx.annotate("mine", domain="user"):
            pass
        nsys.units(tokens=4)

    def test_other():
        code = "import nvtx\\nwith nvtx.annotate('in a child'): pass"
        subprocess.run([sys.executable, "-c", code], check=True)
"""

GPU = """
    import simgpu
    import pytest

    def test_work(nsys):
        address = simgpu.malloc(1 << 20)
        with nsys.range("copies"):
            simgpu.copy("h2d", 4096, pageable=True)
            simgpu.copy("d2d", 512)
        simgpu.memset(4096)
        for number in range(3):
            simgpu.launch(f"gemm<{number}>", 20 + number, stream=7 + number)
        simgpu.graph_launch([("first", 5), ("second", 6), ("third", 7)])
        simgpu.synchronize()
        simgpu.free(address)

    def test_idle():
        pass
"""


@pytest.fixture(scope="module", params=NAMES)
def each_nsys(request: pytest.FixtureRequest, alone: None) -> NsysTool:
    """Each of the real nsys in turn."""
    name: str = request.param
    return real(name)


def with_nsys(name: str) -> pytest.MarkDecorator:
    """Has a test run with one real nsys alone: where what it does is not nsys's own affair."""
    return pytest.mark.parametrize("each_nsys", [name], indirect=True)


@contextmanager
def _clean_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PYTEST_", "NSYS_"))]:
            patch.delenv(name)
        yield


@pytest.fixture
def clean_environment() -> Iterator[None]:
    """An environment without what speaks of the pytest that runs these tests."""
    with _clean_environment():
        yield


@pytest.fixture
def worker_bench(each_nsys: NsysTool, tmp_path: Path, clean_environment: None) -> Bench:
    """A bench with a real nsys."""
    return Bench(tmp_path / "project", each_nsys, simulated=False)


@pytest.fixture
def simulated_bench(tmp_path: Path, clean_environment: None) -> Bench:
    """A bench with a stand-in nsys and the simulated GPU."""
    return Bench(tmp_path / "project", old_standin(tmp_path / "bin"), simulated=True)


def _captured(bench: Bench, text: str, *tests: str, needs_gpu: bool) -> Iterator[Captured]:
    bench.write(text)
    kept = bench.folder / "kept"
    with _clean_environment(), RunFolder() as folder:
        options = CaptureOptions(needs_gpu=needs_gpu, keep=kept)
        (result,) = bench.capture(*tests, options=options, folder=folder, rounds=2, warmup=1)
        report = max(folder.path.glob("*/report.nsys-rep"))
        yield Captured(bench, result, report, kept)


@pytest.fixture(scope="session", params=NAMES)
def captured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, alone: None
) -> Iterator[Captured]:
    """A capture made by each of the real nsys: NVTX ranges and no GPU."""
    nsys = real(request.param)
    bench = Bench(tmp_path_factory.mktemp("captured") / "project", nsys, simulated=False)
    yield from _captured(bench, PARTS, "test_parts", "test_other", needs_gpu=False)


@pytest.fixture(scope="session")
def simulated_capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    """A capture made by the stand-in: something of everything."""
    folder = tmp_path_factory.mktemp("simulated")
    bench = Bench(folder / "project", standin(folder / "bin"), simulated=True)
    yield from _captured(bench, GPU, "test_work", "test_idle", needs_gpu=True)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs ``pytest-nsys``; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
