"""What the package imports is what it says that it needs, with the extra that it says it for."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.harness import ROOT
from tests.support.pythons import supported

PROJECT: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: Mapping[str, list[str]] = PROJECT["project"]["optional-dependencies"]

OF_AN_EXTRA = {
    "history": {"storage/history/changes.py"},
    "parquet": {"trace/source.py"},
    "servers": {"servers/load/client.py"},
    "xdist": {
        "controller/distributed.py",
        "controller/checks.py",
        "distribution/capture.py",
        "distribution/nodes.py",
        "distribution/remote.py",
        "distribution/session.py",
    },
}
"""Modules that only do their work with an extra, and say so where it is missing."""

OF_OTHERS = {"cli/completion.py": "shtab", "worker/coverage.py": "coverage"}
"""What is used where others have installed it: to print a completion, beside pytest-cov."""


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


def imported(path: Path) -> Iterator[str]:
    """The packages that a module imports when it runs, wherever in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def test_each_import_is_declared_and_each_declared_one_is_imported() -> None:
    distributions = packages_distributions()
    always = names(PROJECT["project"]["dependencies"])
    used: set[str] = set()
    for path in (ROOT / "pytest_nsys").rglob("*.py"):
        module = path.relative_to(ROOT / "pytest_nsys").as_posix()
        allowed = set(always)
        for extra, modules in OF_AN_EXTRA.items():
            allowed |= names(EXTRAS[extra]) if module in modules else set()
        for package in {*imported(path)} - sys.stdlib_module_names - {"pytest_nsys"}:
            if OF_OTHERS.get(module) == package or path.with_name(f"{package}.py").exists():
                continue  # or a script beside it, which runs where the package is not
            (name,) = {*map(canonicalize_name, distributions.get(package, [package]))}
            assert name in allowed, f"{module} imports {package}"
            used.add(name)
    declared = always.union(*(names(each) for each in EXTRAS.values()))
    assert declared - used <= {"tomli"}, "declared, and not imported (tomli is, by Python 3.10)"


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_extra_is_told_of(extra: str) -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    told = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert re.search(rf"\[{extra}\](?!\()", told)  # and not the link of that name


def test_each_requirement_has_a_lowest_version() -> None:
    for each in itertools.chain(PROJECT["project"]["dependencies"], *EXTRAS.values()):
        assert ">=" in str(Requirement(each).specifier), each


def test_the_supported_pythons_are_those_of_the_classifiers_and_of_the_workflow() -> None:
    oldest = PROJECT["project"]["requires-python"]
    assert oldest == f">=3.{supported()[0]}"
    assert supported() == [*range(supported()[0], supported()[-1] + 1)]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +3\.(\d+)$", workflow, re.MULTILINE)
    assert [*map(int, listed)] == supported()
