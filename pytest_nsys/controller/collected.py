"""What a run of pytest collected: by it baselines without a test are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.controller.checks import is_measured
from pytest_nsys.errors import BaselineError
from pytest_nsys.plan.collection import Collection

_WRITER = "pytest_nsys.controller.collecting"
_LOOKED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
_LINES = 20


def collect(args: Sequence[str]) -> Collection:
    """Collect tests in a process of its own, as ``pytest --collect-only`` does.

    Args:
        args: files, folders and options of pytest.

    Raises:
        BaselineError: pytest could not collect what it was to, or not to the end.
    """
    with tempfile.TemporaryDirectory(prefix="pytest-nsys-") as folder:
        target = Path(folder, "collection.json")
        command = [sys.executable, "-m", _WRITER, str(target), *args]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        # What ends early, or has no such file, writes what it saw until then.
        if done.returncode in _LOOKED and target.exists():
            return _read(json.loads(target.read_text(encoding="utf-8")))
    lines = done.stdout.decode("utf-8", "backslashreplace").splitlines()
    raise BaselineError(
        "pytest could not collect the tests, so that nothing is known of the baselines",
        evidence="\n".join(lines[-_LINES:]),
        remedy="name what 'pytest --collect-only' can collect",
    )


def _read(found: dict[str, Any]) -> Collection:
    return Collection(
        Path(found["root"]),
        frozenset(found["nodeids"]),
        frozenset(found["files"]),
        tuple(map(Path, found["folders"])),
        frozenset(found["unmarked"]),
        found["skipped"],
    )


class Collected:
    """Follows a collection, before anything is deselected.

    Attributes:
        failed: the files that could not be collected.
    """

    def __init__(self) -> None:
        self._nodeids: set[str] = set()
        self._files: set[str] = set()
        self._broken: set[str] = set()
        self.failed: set[str] = set()
        self._skipped: dict[str, str] = {}

    @pytest.hookimpl
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember a test; one of no parameters stands for those that had some."""
        self._nodeids.add(item.nodeid)
        callspec = getattr(item, "callspec", None)
        if callspec is not None and any(map(_is_not_set, callspec.params.values())):
            name = item.nodeid.removesuffix(f"[{callspec.id}]")
            self._skipped[f"{name}["] = "Skipped: its set of parameters is empty"

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a file, and whether all of it could be collected."""
        file = report.nodeid.partition("::")[0]
        (self._files if report.passed else self._broken).add(file)
        if report.failed:
            self.failed.add(file)
        if report.skipped:
            said = report.longrepr
            why = str(said[2] if isinstance(said, tuple) else said)
            place = report.nodeid.removesuffix("__init__.py").rstrip("/")
            self._skipped |= {f"{place}::": why, f"{place}/": why}

    def collection(self, session: pytest.Session) -> Collection:
        """What was collected, once that has ended."""
        config = session.config
        root = config.rootpath
        # What is chosen while a file is collected leaves no trace of the rest of it.
        if config.getoption("lf", False) or not self._nodeids:
            return Collection(root, skipped=self._skipped)
        parts = _files_in_part(config)
        folders: list[Path] = []
        for arg in config.args:
            path, chosen = _place(config, arg)
            if not chosen:
                folders += [path] if path.is_dir() else []
            elif not (path.is_relative_to(root) and path.exists()):
                parts |= self._files  # of a module by its name (--pyargs): whichever file that is
        whole = self._files - self._broken - parts
        items = [item for item in session.items if not is_measured(item)]
        return Collection(
            root,
            frozenset(self._nodeids),
            frozenset(file for file in whole if (root / file).is_file()),
            tuple(folders),
            frozenset(item.nodeid for item in items),
            self._skipped,
        )


def others_chosen(config: pytest.Config, nodeids: Sequence[str]) -> list[bool]:
    """Of tests that were not collected, whether node ids chose others: of their files, or alone."""
    parts = _files_in_part(config)
    alone = bool(config.args) and all("::" in arg for arg in config.args)
    return [alone or nodeid.partition("::")[0] in parts for nodeid in nodeids]


def _files_in_part(config: pytest.Config) -> set[str]:
    """The files of which tests were chosen by their node ids, as in node ids."""
    root = config.rootpath
    places = (path for path, chosen in (_place(config, arg) for arg in config.args) if chosen)
    return {
        path.relative_to(root).as_posix()
        for path in places
        if path.is_relative_to(root) and path.exists()
    }


def _place(config: pytest.Config, arg: str) -> tuple[Path, bool]:
    """The file or folder that an argument names, and whether it names tests in it."""
    name, chosen, _ = arg.partition("::")
    path = Path(os.path.normpath(config.invocation_params.dir / name))  # links are kept
    return path, bool(chosen)


def _is_not_set(value: object) -> bool:
    """Whether it is what pytest puts in the place of parameters that there are none of."""
    return type(value).__name__ == "NotSetType"
