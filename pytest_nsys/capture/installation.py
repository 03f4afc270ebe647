"""Where the parts of an nsys are: behind links and wrapper scripts, and beside the program."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from pytest_nsys.capture.nsys import NsysTool

_PROGRAM = re.compile(r"/[^\s'\"$:]+/nsys\b")
_SEARCHED = re.compile(r"LD_LIBRARY_PATH=(\S.*)")
_FOLDER = re.compile(r"/[^\s'\"$:{}]+")
_TEXT_LIMIT = 1 << 16


class Files(Protocol):
    """The files of a machine. No method raises, and none changes anything."""

    def glob(self, pattern: str) -> list[str]:
        """Files and folders by an absolute glob pattern."""

    def resolve(self, path: str) -> str:
        """The path without symbolic links."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""

    def read(self, path: str) -> str | None:
        """The beginning of a text file (64 KiB); None if it cannot be read or is no text."""


class FilesHere:
    """The `Files` of this machine."""

    def glob(self, pattern: str) -> list[str]:
        try:
            return sorted(map(str, Path("/").glob(pattern.lstrip("/"))))
        except OSError:
            return []

    def resolve(self, path: str) -> str:
        return os.path.realpath(path)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)  # noqa: PTH110 (Path.exists raises where it may not look)

    def read(self, path: str) -> str | None:
        try:
            with Path(path).open("rb") as file:
                return file.read(_TEXT_LIMIT).decode()
        except (OSError, UnicodeDecodeError):
            return None


@dataclass(frozen=True)
class Installation:
    """Where the parts of an nsys are.

    Attributes:
        program: nsys itself, behind links and wrapper scripts.
        target: the folder that it is in, with the libraries that go into the profiled program.
        importer: the program that makes reports of raw events; None if there is none.
        searched: the folders that a wrapper script adds to LD_LIBRARY_PATH.
    """

    program: str
    target: str
    importer: str | None
    searched: tuple[str, ...] = ()


def find_installation(nsys: NsysTool, files: Files) -> Installation | None:
    """The parts of the nsys; None where there is no telling where they are."""
    program = files.resolve(str(nsys.path))
    searched: tuple[str, ...] = ()
    script = files.read(program)
    if script is not None and script.startswith("#!"):
        named = [path for path in _PROGRAM.findall(script) if files.exists(path)]
        if not named:
            return None
        searched = tuple(
            folder for line in _SEARCHED.findall(script) for folder in _FOLDER.findall(line)
        )
        program = files.resolve(named[-1])
    folder = PurePosixPath(program).parent
    if folder.name == "bin":
        beside = files.glob(f"{folder.parent}/target-linux-*/nsys")
        if beside:
            program = beside[-1]
            folder = PurePosixPath(program).parent
    if not folder.name.startswith("target-"):
        return None
    importers = files.glob(f"{folder.parent}/*/QdstrmImporter")
    return Installation(
        program, str(folder), importers[-1] if importers else None, searched=searched
    )
