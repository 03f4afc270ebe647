"""What the probes look at: a machine, the nsys that will be used on it, and where its parts are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from pytest_nsys.capture.nsys import Nsys
from pytest_nsys.doctor.finding import Finding
from pytest_nsys.doctor.machine import Machine

_PROGRAM = re.compile(r"/[^\s'\"$:]+/nsys\b")
_SEARCHED = re.compile(r"LD_LIBRARY_PATH=(\S.*)")
_FOLDER = re.compile(r"/[^\s'\"$:{}]+")


@dataclass(frozen=True)
class Seen:
    """A machine and the nsys that is used on it, if there is one."""

    machine: Machine
    nsys: Nsys | None


Probe = Callable[[Seen], list[Finding]]
"""Looks at one thing of what is seen; changes nothing and makes no capture."""


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


def installation(seen: Seen) -> Installation | None:
    """The parts of the nsys; None where there is no nsys, or no telling where its parts are."""
    if seen.nsys is None:
        return None
    machine = seen.machine
    program = machine.resolve(str(seen.nsys.path))
    searched: tuple[str, ...] = ()
    script = machine.read(program)
    if script is not None and script.startswith("#!"):
        named = [path for path in _PROGRAM.findall(script) if machine.exists(path)]
        if not named:
            return None
        searched = tuple(
            folder for line in _SEARCHED.findall(script) for folder in _FOLDER.findall(line)
        )
        program = machine.resolve(named[-1])
    folder = PurePosixPath(program).parent
    if folder.name == "bin":
        beside = machine.glob(f"{folder.parent}/target-linux-*/nsys")
        if beside:
            program = beside[-1]
            folder = PurePosixPath(program).parent
    if not folder.name.startswith("target-"):
        return None
    importers = machine.glob(f"{folder.parent}/*/QdstrmImporter")
    return Installation(
        program, str(folder), importers[-1] if importers else None, searched=searched
    )
