"""What the tests share: projects run by pytest with a stand-in or a real nsys, and captures."""

from __future__ import annotations

import lzma
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import is_hypothesis_test

from tests.simgpu.standin import write_standin
from tests.support.harness import REAL_NSYS, SIMGPU, TESTS, Project, real_nsys_path

pytest_plugins = [
    "pytester",
    "tests.support.examples",
    "tests.support.fixtures",
    "tests.support.together",
]


def pytest_configure() -> None:
    """Have Ctrl-C mean something to what tests start: a shell's background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_COVERED = ("tests.capture.test_live", "tests.capture.test_run", "tests.worker.")
"""Modules whose tests start workers that are measured for coverage."""


@pytest.fixture(autouse=True)
def coverage_of_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """What tests start is measured for coverage in some modules, and not in all.

    It makes a process half as slow again, and all run the same code.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not request.module.__name__.startswith(_COVERED):
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(autouse=True)
def no_coverage_by_chance(request: pytest.FixtureRequest) -> Iterator[None]:
    """Examples that hypothesis draws are not measured for coverage.

    They would make it a matter of chance, and being measured takes them twice as long.
    """
    measured = None
    if is_hypothesis_test(request.function):
        coverage = sys.modules.get("coverage")
        measured = coverage and coverage.Coverage.current()
    if measured:
        measured.stop()
    yield
    if measured:
        measured.start()


@pytest.fixture(scope="session")
def alone() -> None:
    """What records with a real nsys asks for this: two at once lose each other's ranges."""


@pytest.fixture(autouse=True)
def no_broken_registry(request: pytest.FixtureRequest) -> None:
    """A real nsys finds no table of running ones that a killed one has left locked.

    All nsys of a version share it. Where one is killed while it writes there, no other starts
    again ("Agent launcher failed") until the table is removed.
    """
    # By the program: the stand-in's is Python.
    running = (
        Path(process.info["exe"] or "").name == "nsys" for process in psutil.process_iter(["exe"])
    )
    if "alone" not in request.fixturenames or any(running):
        return
    for table in Path("/dev/shm").glob("NSys-*"):
        table.unlink(missing_ok=True)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without any nsys."""
    # pytest shows more where it sees a CI; the tests are to see the same everywhere.
    for name in list(os.environ):
        if name.startswith(("PYTEST_", "NSYS_", "GITHUB_")) or name in ("CI", "BUILD_NUMBER"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", _path_without_nsys())
    return Project(pytester)


def _path_without_nsys() -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not (Path(folder) / "nsys").exists())


@pytest.fixture
def install(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a stand-in nsys (with the faults asked for) and the simulated GPU in place."""
    monkeypatch.setenv("PATH", str(project.path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(SIMGPU / "path"))

    def put(*faults: str, **options: Any) -> Path:
        (project.path / "bin").mkdir(exist_ok=True)
        # One of before the exports to Parquet: they take longer to make and to read.
        options.setdefault("version", "2023.3.1")
        return Path(write_standin(project.path / "bin", faults=faults, **options))

    return put


@pytest.fixture
def simulated(project: Project, install: Callable[..., Path]) -> Project:
    """A project with a stand-in nsys and ``import simgpu``."""
    install()
    return project


@pytest.fixture(params=sorted(REAL_NSYS))
def real_nsys(request: pytest.FixtureRequest, alone: None) -> Path:
    """Each of the real nsys in turn; a machine without them fails, it does not skip."""
    return real_nsys_path(request.param)


@pytest.fixture
def profiled(project: Project, real_nsys: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a real nsys on a machine without a GPU.

    The device is named, so that captures without a GPU are accepted.
    """
    monkeypatch.setenv("PATH", str(real_nsys.parent), prepend=os.pathsep)
    project.ini("nsys_device = cpu")
    return project


class Captures(Mapping[str, Path]):
    """The real captures by name, unpacked when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        packed = sorted((TESTS / "captures").glob("*.sqlite.xz"))
        self._packed = {path.name.removesuffix(".sqlite.xz"): path for path in packed}

    def __getitem__(self, name: str) -> Path:
        unpacked = self._folder / f"{name}.sqlite"
        if not unpacked.exists():
            with lzma.open(self._packed[name]) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target)
        return unpacked

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The real captures, unpacked, by name."""
    return Captures(tmp_path_factory.mktemp("captures"))
