"""What ``import pytest_nsys`` has: all that users are told of, and nothing else; loaded when asked.

Docs, examples, hooks, docstrings and error messages name public things alone.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import pytest_nsys
from pytest_nsys import errors, hookspecs, plugin
from tests.support.harness import import_all

ROOT = Path(pytest_nsys.__file__).parents[1]
PACKAGE = ROOT / "pytest_nsys"
PUBLIC = frozenset(pytest_nsys.__all__)
PROJECT = Path(__file__).parent / "project"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [p for p in sorted((ROOT / "examples").rglob("*.py")) if p.is_file()]

_NAMED = re.compile(r"\bpytest_nsys(?:\.[A-Za-z_]\w*)+")
_UNDERSTOOD = {"pytest_nsys.__version__", "pytest_nsys.__all__"}


def private(name: str) -> bool:
    """Whether a dotted name is none that users are promised."""
    parts = name.split(".")
    if name in _UNDERSTOOD:
        return False
    if parts[1] == "errors":
        return len(parts) > 2 and not hasattr(errors, parts[2])
    # Of a public class, ``pytest_nsys.Preset.name`` names an attribute.
    return parts[1] not in PUBLIC


def named_in(source: str) -> Iterator[str]:
    """The names of the package that a program imports or uses, in full."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_nsys"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pytest_nsys."))
        elif isinstance(node, ast.Attribute):
            yield from _NAMED.findall(ast.unparse(node))


def test_the_lists_of_public_names_agree() -> None:
    names = pytest_nsys.__all__
    assert names == sorted(names)
    for name in names:
        assert getattr(pytest_nsys, name) is not None
    homes = " ".join(pytest_nsys._HOMES.values()).split()  # type: ignore[attr-defined]
    assert sorted([*homes, "errors"]) == names
    (checked,) = (
        node
        for node in ast.parse((PACKAGE / "__init__.py").read_text()).body
        if isinstance(node, ast.If)
    )
    imported = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(imported) == names
    for home, together in pytest_nsys._HOMES.items():  # type: ignore[attr-defined]
        for name in together.split():
            assert imported[name] == f"pytest_nsys.{home}"


def test_a_name_that_there_is_not_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'pytest_nsys' has no attribute 'Nsyss'"):
        pytest_nsys.Nsyss  # type: ignore[attr-defined] # noqa: B018


def test_the_docstring_and_the_page_list_every_public_name() -> None:
    listed = re.findall(r"`(\w+)`", str(pytest_nsys.__doc__))
    assert sorted(listed) == pytest_nsys.__all__
    page = (ROOT / "docs/public.md").read_text()
    table = page.partition("## Names")[2].partition("\n\n|")[2].partition("\n\n")[0]
    cells = [line.split("|")[1 if line.startswith("|") else 0] for line in table.splitlines()]
    assert {*re.findall(r"`(\w+)`", "".join(cells))} == PUBLIC | {"__version__"}


def test_importing_the_package_loads_nothing() -> None:
    code = """
import sys
before = set(sys.modules)
import pytest_nsys
new = set(sys.modules) - before - {"pytest_nsys"}
assert not {name for name in new if name.startswith("pytest_nsys")}, new
all(hasattr(pytest_nsys, name) for name in dir(pytest_nsys))  # as freezegun asks
assert not {name for name in sys.modules if name.startswith("pytest_nsys.")}
pytest_nsys.Nsys, pytest_nsys.CustomMetric, pytest_nsys.Metric, pytest_nsys.Preset
pytest_nsys.register_preset, pytest_nsys.register_dialect, pytest_nsys.errors.ServerDied
heavy = {"aiohttp", "jinja2", "numpy", "nvtx", "pandas", "psutil", "pynvml", "scipy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
pytest_nsys.Cut
assert "pandas" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_names_public_things_alone(page: Path) -> None:
    # What a directive of Sphinx names is where a thing is, and not what is shown.
    text = re.sub(r"```{eval-rst}.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not [*filter(private, _NAMED.findall(text))]
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        assert not [*filter(private, named_in(block))]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_uses_public_things_alone(example: Path) -> None:
    assert not [*filter(private, named_in(example.read_text()))]


def test_the_users_project_uses_every_public_name() -> None:
    """It is what is type-checked, and run with the wheel."""
    used = {
        name.split(".")[1]
        for path in (PROJECT / "conftest.py", PROJECT / "test_ours.py")
        for name in named_in(path.read_text())
    }
    assert used == PUBLIC


def _sentences() -> Iterator[tuple[str, str]]:
    """The texts in the package that people read: those with spaces, but docstrings."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and " " in value and id(node) not in docstrings:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", value


def test_messages_name_public_things_alone() -> None:
    named = [(where, name) for where, text in _sentences() for name in _NAMED.findall(text)]
    assert len(named) > 5
    # A template's example of what the package itself does is none for users.
    assert not [(where, name) for where, name in named if private(name)]


def _members(thing: type) -> Iterator[tuple[str, Any]]:
    """What a public class has for users: its functions, those behind its properties."""
    for name, member in vars(thing).items():
        if name.startswith("_") and name not in ("__call__", "__getitem__", "__iter__"):
            continue
        if isinstance(member, property):
            member = member.fget
        elif isinstance(member, cached_property):
            member = member.func
        if inspect.isroutine(member):
            yield f"{thing.__name__}.{name}", inspect.unwrap(member)


def _documented() -> Iterator[tuple[str, Any]]:
    """Whatever users may ask for help on."""
    for name in pytest_nsys.__all__:
        thing = getattr(pytest_nsys, name)
        yield name, thing
        if inspect.isclass(thing):
            yield from _members(thing)
    for module in (hookspecs, plugin):
        for name, thing in vars(module).items():
            if name.startswith(("pytest_nsys", "nsys")) and callable(thing):
                yield name, thing


def test_docstrings_name_public_things_alone() -> None:
    for where, thing in _documented():
        text = inspect.getdoc(thing) or ""
        assert not [*filter(private, _NAMED.findall(text))], where
        # A name in single backticks can be asked for; classes are those in capitals.
        for name in re.findall(r"(?<!`)`([A-Z][a-z]\w*)`(?!`)", text):
            assert name in PUBLIC or hasattr(errors, name), f"{where}: {name}"


UNPROMISED = {
    "Dialect.path_of",
    "Dialect.request",
    "Measurement.counters",
    "Measurement.timeline",
    "Metric.ratio",
    "Part.launched",
    "Trace.configurations",
    "Window.rounds",
}
"""What of public classes is not public; the page says so."""


def test_what_public_things_take_and_give_is_public() -> None:
    import_all()
    assert {*_annotated_privately()} == UNPROMISED - {"Dialect.path_of"}
    page = (ROOT / "docs/public.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("- Not public")]
    named = re.findall(r"`(?:\w*\.)(\w+)`", line)
    assert {*named} == {name.partition(".")[2] for name in UNPROMISED}


def _annotated_privately() -> Iterator[str]:
    """Functions and fields of what is public whose types have classes of ours that are not."""
    modules = {name: vars(module) for name, module in sys.modules.items() if _is_ours(name)}
    ours = {
        name
        for home, names in modules.items()
        for name, thing in names.items()
        if inspect.isclass(thing) and thing.__module__ == home
    }
    for where, home, annotation in _annotations():
        for name in re.findall(r"(?<![\w.])[A-Za-z_]\w*", str(annotation)):
            # What is imported for type checkers alone is not there: any class of that name.
            thing = modules[home].get(name)
            there = inspect.isclass(thing) and _is_ours(thing.__module__)
            if (there or (thing is None and name in ours)) and name not in PUBLIC:
                yield where


def _is_ours(module: str) -> bool:
    return module.startswith("pytest_nsys.")


def _annotations() -> Iterator[tuple[str, str, object]]:
    """Of functions and fields of what is public: name, module, and a type as it is written."""
    for where, thing in _documented():
        if inspect.isroutine(thing):
            for annotation in thing.__annotations__.values():
                yield where, thing.__module__, annotation
        elif dataclasses.is_dataclass(thing):
            for field in dataclasses.fields(thing):
                yield f"{where}.{field.name}", str(thing.__module__), field.type
