"""What programs are started with: the few variables that nsys needs, and a mark to find them by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_nsys.process.guard import MARK

# What nsys itself needs. Everything it is started with is stored in every report it writes, so
# the worker's real environment is restored below it, by the exec shim.
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


_given: Mapping[str, str] | None = None


def give_environment(given: Mapping[str, str] | None) -> None:
    """Say what environment this process was started with, before the user's code changed its own.

    Args:
        given: that environment; None for the present one, whatever it is.
    """
    global _given
    _given = given


def given_environment() -> Mapping[str, str]:
    """The environment that this process was started with, as far as anybody has said."""
    return os.environ if _given is None else _given


def minimal_environment(full: Mapping[str, str] | None = None) -> dict[str, str]:
    """The few variables that nsys is started with."""
    full = given_environment() if full is None else full
    return {name: full[name] for name in _ENVIRONMENT if name in full}


def private_environment(folder: Path) -> dict[str, str]:
    """What an nsys that works for a folder is started with.

    It puts what it records into a folder inside, so that its size can be seen and all of it goes
    when the folder does; and what it starts can be found by the folder.
    """
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    return {**marked_environment(folder, minimal_environment()), "TMPDIR": str(temporary)}


def marked_environment(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment by which what is started with it is found, as belonging to the folder."""
    return {**environment, MARK: str(folder)}
