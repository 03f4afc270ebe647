"""The errors: one tree, which its docstring shows, and one voice."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest_nsys
from pytest_nsys import errors
from pytest_nsys.errors import NsysError
from tests.support.harness import import_all

PACKAGE = Path(pytest_nsys.__file__).parent
CLASSES = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}


def _below(error: type[NsysError], indent: str = "    ") -> Iterator[str]:
    yield indent + error.__name__
    for subclass in error.__subclasses__():
        yield from _below(subclass, indent + "    ")


def test_the_docstring_shows_all_errors_that_there_are() -> None:
    import_all()
    shown = str(errors.__doc__).partition("::\n\n")[2].rstrip().splitlines()
    ours = [line for line in _below(NsysError) if line.strip() in CLASSES]
    assert shown == ours
    defined = {line.strip() for line in _below(NsysError)}
    assert defined == set(CLASSES), "an error is defined somewhere else"


def _texts() -> Iterator[tuple[str, str, str]]:
    """Where an error is made, which of its parts, and the text of it as far as it is written."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in CLASSES:
                continue
            parts = [("what", argument) for argument in node.args[:1]]
            parts += [(word.arg or "", word.value) for word in node.keywords]
            for name, value in parts:
                for text in _written(value) if name in ("what", "remedy") else ():
                    yield f"{path.relative_to(PACKAGE)}:{value.lineno}", name, text


def _written(value: ast.expr) -> list[str]:
    if isinstance(value, ast.Constant):
        return [str(value.value)]
    if isinstance(value, ast.IfExp):
        return [*_written(value.body), *_written(value.orelse)]
    if isinstance(value, ast.BinOp):
        return [*_written(value.left), *_written(value.right)]
    if isinstance(value, ast.JoinedStr):
        pieces = [str(v.value) if isinstance(v, ast.Constant) else "\0" for v in value.values]
        return ["".join(pieces)]
    return []


def test_errors_have_one_voice() -> None:
    """A clause, which begins with a small letter and ends without a full stop."""
    texts = [*_texts()]
    assert len(texts) > 200
    for where, part, text in texts:
        word = text.split(maxsplit=1)[0] if text.strip() else ""
        assert not word.istitle(), f"{where}: {part} begins with a capital: {text!r}"
        assert text[-3:] == "..." or not text.endswith("."), f"{where}: {part} has a full stop"
        sentences = re.search(r"[a-z]{2}[.?!] ", text)
        assert not sentences, f"{where}: {part} is more than one sentence: {text!r}"
