"""What is published: it builds, installs and runs, and a user's project type-checks with it."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email.message import Message
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


def test_a_source_distribution_is_all_that_git_has(installed: Installed) -> None:
    with tarfile.open(installed.sdist) as archive:
        files = {
            one.name.partition("/")[2]: one.size for one in archive.getmembers() if one.isfile()
        }
    assert {"tests/conftest.py", "docs/index.md", "examples/demo.py", "Makefile"} <= {*files}
    assert not [name for name in files if "__pycache__" in name or "venv" in name]
    # Recordings are what is large in it: the largest file has 2 MB.
    assert max(files.values()) < 3_000_000
    assert sum(files.values()) < 25_000_000
    if (ROOT / ".git").exists():
        # With files that are new and not yet added; without those that were removed.
        listed = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        known = {name for name in listed.splitlines() if (ROOT / name).exists()}
        assert {*files} - {"PKG-INFO"} == known


def test_what_is_published_is_shown_as_it_should_be(installed: Installed) -> None:
    """Also renders the README as PyPI does."""
    check = (sys.executable, "-m", "twine", "check", "--strict")
    printed = _run(*check, str(installed.sdist), str(installed.wheel), cwd=ROOT)
    assert printed.count("PASSED") == 2, printed
    metadata = _metadata(installed.wheel)
    assert metadata["Name"] == "pytest-nsys"
    assert metadata["Version"] == pytest_nsys.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Requires-Python"] == ">=3.10"
    labels = {url.partition(",")[0] for url in metadata.get_all("Project-URL", [])}
    assert {"Documentation", "Source", "Issues", "Changelog"} <= labels
    # What developers need is no extra of what users install.
    assert metadata.get_all("Provides-Extra") == ["history", "parquet", "servers", "xdist"]
    # Of PyPI's page, where links from one file to another lead nowhere.
    links = re.findall(r"\]\(([^)\s]+)\)", str(metadata.get_payload()))
    assert [link for link in links if not re.match("https://|#", link)] == []


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


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
