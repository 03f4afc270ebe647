"""What runs in a process with code under test calls nothing that such code replaces."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pytest_nsys

PACKAGE = Path(pytest_nsys.__file__).parent

BESIDE_TESTS = sorted(
    path
    for folder in ("worker", "servers", "capture", "gpu", "process")
    for path in (PACKAGE / folder).rglob("*.py")
    # Programs of their own, what runs before any test, and what only reads files of its own.
    if path.name not in ("__main__.py", "exec_shim.py", "stream_giver.py", "installation.py")
    and path.relative_to(PACKAGE).as_posix() not in ("gpu/lock.py", "process/guard.py")
)

# What changes nothing and waits for nothing, whatever it is replaced by.
HARMLESS = {
    "os.register_at_fork",
    "os.fsdecode",
    "os.fspath",
    "os.access",
    "os.scandir",
    "subprocess._args_from",
}
REPLACED = {"os", "time", "json", "subprocess", "shutil", "tempfile", "threading", "select", "gc"}


def replaceable(tree: ast.AST) -> list[str]:
    """Calls of functions that tests replace: ``os.x(``, ``open(`` and their like."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "open":
            found.append(f"{node.lineno}: open")
        elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            name = f"{called.value.id}.{called.attr}"
            known = called.value.id in REPLACED or name in ("nvtx.start_range", "nvtx.end_range")
            if known and not any(name.startswith(harmless) for harmless in HARMLESS):
                found.append(f"{node.lineno}: {name}")
    return found


def test_calls_that_tests_replace_are_found() -> None:
    text = "open(a)\nos.write(b)\nself.os.write(c)\nown.write(d)\nos.environ.get(e)\nos.fspath(f)"
    assert replaceable(ast.parse(text)) == ["1: open", "2: os.write"]


@pytest.mark.parametrize("path", BESIDE_TESTS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_runs_beside_tests_has_functions_of_its_own(path: Path) -> None:
    assert replaceable(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_the_worker_reads_no_file_through_what_pyfakefs_replaces() -> None:
    """``Path`` is replaced in every module's globals; the controller alone writes jobs with it."""
    for name in ("events", "recorder", "device", "release"):
        tree = ast.parse((PACKAGE / f"worker/{name}.py").read_text(encoding="utf-8"))
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "Path"], name
