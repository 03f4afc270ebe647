"""Environments with other Pythons than that of the tests.

    python -m tests.support.pythons lowest  # the oldest Python, the lowest versions that may be
    python -m tests.support.pythons newest  # the newest Python, the newest versions
    python -m tests.support.pythons wheel   # each Python: the wheel alone, and the demonstration

Those of `classifiers` that are there are taken; none is downloaded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.harness import ROOT

UV = (sys.executable, "-m", "uv")
FOLDERS = (
    "/opt/python/3.{}/usr/bin",  # .ci/install-python
    "~/.pyenv/versions/3.{}.*/bin",
    "~/.local/share/uv/python/cpython-3.{}.*/bin",
    "~/.cache/uv/python/cpython-3.{}.*/bin",
)
"""Where Pythons are beside the PATH, where only one of them may be."""

LOWEST, NEWEST = "lowest", "newest"
_RESOLUTION = {LOWEST: "lowest-direct", NEWEST: "highest"}
_ASK = "import ctypes, platform, sqlite3, ssl, zlib; print(platform.python_version())"
_SEEN = """
import importlib.metadata, pathlib, sys
import pytest_nsys
assert pathlib.Path(pytest_nsys.__file__).is_relative_to(sys.prefix), pytest_nsys.__file__
print(*map(importlib.metadata.version, ("pytest", "pandas", "numpy")))
"""


def supported() -> list[int]:
    """The minor versions that the package says it runs on, the oldest first."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return sorted(map(int, re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', text)))


def there() -> Mapping[str, Path]:
    """The supported Pythons of this machine by their versions, the oldest first."""
    found: dict[str, Path] = {}
    for minor in supported():
        name = f"python3.{minor}"
        candidates = [path for path in (shutil.which(name),) if path]
        for folder in FOLDERS:
            root, pattern = Path("/"), Path(folder.format(minor)).expanduser() / name
            candidates += sorted(map(str, root.glob(str(pattern.relative_to(root)))))
        for candidate in candidates:
            asked = subprocess.run([candidate, "-c", _ASK], capture_output=True, text=True)
            if asked.returncode == 0:  # pyenv has programs for Pythons that are not chosen
                found[asked.stdout.strip()] = Path(candidate)
                break
    return found


def make(kind: str) -> str:
    """Make ``.venv-lowest`` or ``.venv-newest``; returns the version of its Python."""
    pythons = there()
    version = [*pythons][0 if kind == LOWEST else -1]
    extras = ["history", "parquet", "servers", "xdist"]
    if tuple(map(int, version.split(".")[:2])) >= (3, 14):
        extras.remove("history")  # ruptures 1.1.10 has no wheel, and a compiler need not be there
    folder = ROOT / f".venv-{kind}"
    python = _environment(pythons[version], folder)
    wanted = f"{ROOT}[{','.join(extras)}]"
    _install(python, "--resolution", _RESOLUTION[kind], "--editable", wanted)
    _install(python, "--group", f"{ROOT / 'pyproject.toml'}:few")
    (folder / ".installed").touch()
    return version


def try_wheel() -> int:
    """Install the wheel alone with each Python, and run the demonstration.

    Returns:
        How many failed.
    """
    failed = 0
    print(f"{'Python':10}{'pytest':10}{'pandas':10}{'numpy':10}{'installed':>10}  demonstration")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run([sys.executable, *build], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        (wheel,) = folder.glob("*.whl")
        for version, path in there().items():
            began = time.monotonic()
            python = _environment(path, folder / version)
            _install(python, str(wheel))
            took = time.monotonic() - began
            seen = subprocess.run(
                [python, "-c", _SEEN], check=True, capture_output=True, text=True, cwd=folder
            )
            demo = subprocess.run(
                [python, ROOT / "examples/demo.py"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            failed += demo.returncode != 0
            row = "".join(f"{each:10}" for each in (version, *seen.stdout.split()))
            print(f"{row}{took:8.0f} s  {'failed' if demo.returncode else 'as it should be'}")
            if demo.returncode:
                print(demo.stdout)
    missing = {*supported()} - {int(each.split(".")[1]) for each in there()}
    if missing:
        print("not there: " + ", ".join(f"3.{minor}" for minor in sorted(missing)))
    return failed


def _environment(python: Path, folder: Path) -> Path:
    _uv("venv", "--clear", "--python", str(python), str(folder))
    return folder / "bin/python"


def _install(python: Path, *wanted: str) -> None:
    _uv("pip", "install", "--python", str(python), *wanted)


def _uv(*arguments: str) -> None:
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([*UV, *arguments, "--quiet"], check=True, env=environment)


if __name__ == "__main__":
    if sys.argv[1] == "wheel":
        sys.exit(try_wheel())
    print(f"{sys.argv[1]}: Python {make(sys.argv[1])}")
