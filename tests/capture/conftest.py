"""What the tests of captures share: the real nsys, benches to run workers on, captures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from capture_bench import NAMES, Bench, Captured, nothing_left, old_standin, real, standin
from capture_command import Answer

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.cli.main import main
from pytest_nsys.process.run_folder import RunFolder

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
def nsys(request: pytest.FixtureRequest, alone: None) -> NsysTool:
    """Each of the real nsys in turn."""
    name: str = request.param
    return real(name)


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
def bench(nsys: NsysTool, tmp_path: Path, clean_environment: None) -> Bench:
    """A bench with a real nsys."""
    return Bench(tmp_path / "project", nsys, simulated=False)


@pytest.fixture
def simulated_bench(tmp_path: Path, clean_environment: None) -> Bench:
    """A bench with a stand-in nsys and the simulated GPU."""
    return Bench(tmp_path / "project", old_standin(tmp_path / "bin"), simulated=True)


def _captured(bench: Bench, text: str, *tests: str, device: str | None) -> Iterator[Captured]:
    bench.write(text)
    kept = bench.folder / "kept"
    with _clean_environment(), RunFolder() as folder:
        settings = bench.settings(device=device, keep=kept)
        (result,) = bench.capture(*tests, settings=settings, folder=folder, rounds=2, warmup=1)
        report = max(folder.path.glob("*/report.nsys-rep"))
        yield Captured(bench, result, report, kept)


@pytest.fixture(scope="session", params=NAMES)
def captured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, alone: None
) -> Iterator[Captured]:
    """A capture made by each of the real nsys: NVTX ranges and no GPU."""
    nsys = real(request.param)
    bench = Bench(tmp_path_factory.mktemp("captured") / "project", nsys, simulated=False)
    yield from _captured(bench, PARTS, "test_parts", "test_other", device="cpu")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    """A capture made by the stand-in: something of everything."""
    folder = tmp_path_factory.mktemp("simulated")
    bench = Bench(folder / "project", standin(folder / "bin"), simulated=True)
    yield from _captured(bench, GPU, "test_work", "test_idle", device=None)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing is left, nor a process of it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    with nothing_left(folder):
        yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def capture_command(
    here: Path, temporary: Path, clean_environment: None, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Runs ``pytest-nsys capture``."""

    def run(*arguments: object) -> Answer:
        try:
            code = main(["capture", *map(str, arguments)])
        except SystemExit as error:
            code = int(str(error.code))
        return code, *capsys.readouterr()

    return run
