"""What is published: it builds, installs and runs, and a user's project type-checks with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import pytest_nsys

ROOT = Path(pytest_nsys.__file__).parents[1]
PROJECT = Path(__file__).parent / "project"

pytestmark = pytest.mark.xdist_group("wheel")


@dataclass(frozen=True)
class Installed:
    """What was built, and an environment that has it.

    Attributes:
        sdist: the source distribution.
        wheel: the wheel, made of the tree.
        again: the wheel, made of the source distribution.
        python: the Python of an environment with it, and with what the tests' own has.
        mypy_cache: of runs of mypy in it.
    """

    sdist: Path
    wheel: Path
    again: Path
    python: Path
    mypy_cache: Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("published")
    for kind in ("sdist", "wheel"):
        _run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder), cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    alone = ("--no-deps", "--no-index", "--no-build-isolation")
    again = folder / "again"
    _run(*pip, "wheel", *alone, "--wheel-dir", str(again), str(sdist), cwd=folder)
    venv.create(folder / "venv")
    python = folder / "venv/bin/python"
    packages = next(folder.glob("venv/lib/python*/site-packages"))
    _run(*pip, "install", *alone, "--target", str(packages), str(wheel), cwd=folder)
    # A folder that is named so is searched last, and finds no editable install.
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (again,) = again.glob("*.whl")
    return Installed(sdist, wheel, again, python, folder / "mypy")


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_wheel_is_the_package_and_nothing_else(installed: Installed) -> None:
    files = _files(installed.wheel)
    assert files == _files(installed.again)
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "pytest_nsys").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in files if ".dist-info/" not in name} == ours
    assert {"pytest_nsys/py.typed", "pytest_nsys/report/html/templates/page.html"} <= ours
    with tarfile.open(installed.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    # hatchling adds .gitignore, by which it leaves things out.
    assert names - ours == {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}


def _files(wheel: Path) -> dict[str, int]:
    """The files in a wheel, with their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {file.filename: file.CRC for file in archive.infolist()}


def test_a_users_project_runs_with_the_wheel(installed: Installed, tmp_path: Path) -> None:
    shutil.copytree(PROJECT, tmp_path, dirs_exist_ok=True)
    where = "import pytest_nsys; print(pytest_nsys.__file__)"
    assert str(installed.python.parents[1]) in _run(
        str(installed.python), "-c", where, cwd=tmp_path
    )
    pytest = (str(installed.python), "-m", "pytest", "-p", "no:asyncio", "-W", "error")
    printed = _run(*pytest, cwd=tmp_path)
    assert re.search(r"3 passed, 1 skipped", printed), printed
    _run(str(installed.python), "-m", "pytest_nsys", "--version", cwd=tmp_path)


def _mypy(installed: Installed, folder: Path, *files: str) -> tuple[int, list[str]]:
    """Type-check files as a user would: mypy finds the plugin where it is installed."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
            *("--python-executable", str(installed.python)),
            *("--cache-dir", str(installed.mypy_cache), "--config-file", ""),
            *files,
        ],
        cwd=folder,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout.splitlines()


def test_a_users_project_is_well_typed(installed: Installed, tmp_path: Path) -> None:
    shutil.copytree(PROJECT, tmp_path, dirs_exist_ok=True)
    assert _mypy(installed, tmp_path, "conftest.py", "test_ours.py") == (0, [])


def test_a_users_mistakes_are_found(installed: Installed, tmp_path: Path) -> None:
    source = (PROJECT / "wrong.py").read_text()
    shutil.copy(PROJECT / "wrong.py", tmp_path)
    code, lines = _mypy(installed, tmp_path, "wrong.py")
    found = {
        (int(match[1]), match[2])
        for line in lines
        if (match := re.match(r"wrong\.py:(\d+): error: .*\[([a-z-]+)\]$", line))
    }
    expected = {
        (number, match[1])
        for number, line in enumerate(source.splitlines(), 1)
        if (match := re.search(r"  # ([a-z-]+)$", line))
    }
    assert code == 1
    assert found == expected, "\n".join(lines)
