"""The reference says what the code says, and all of it."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace

import pytest

import pytest_nsys
from pytest_nsys import errors, hookspecs
from pytest_nsys.plan.options import OPTIONS, Option
from pytest_nsys.plan.settings import read_settings
from tests.support.harness import ROOT
from tests.support.reference import PAGES, default_of

API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
NO_VALUES = ("neither", "no limit", "searched for", "the GPU's", "this one")
"""Of defaults, those that nobody could give; with a semicolon they depend on others."""
PUBLIC = (ROOT / "docs/public.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_those_that_the_code_makes(name: str) -> None:
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    assert PAGES[name]() == page, "make docs makes it anew"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_defaults_are_those_that_are_told(option: Option, pytester: pytest.Pytester) -> None:
    told, _ = default_of(option)
    if ";" in told or told in ("", *NO_VALUES):
        return
    both = ((), ("-o", f"{option.name}={told}"))
    plain, given = (read_settings(pytester.parseconfig(*args)) for args in both)
    assert replace(given, overriding=plain.overriding) == plain


def test_every_error_says_what_to_do() -> None:
    said = {
        name: str(error.__doc__) for name, error in vars(errors).items() if inspect.isclass(error)
    }
    told = {name for name, text in said.items() if "\n\n    What to do: " in text}
    assert told | {name for name, text in said.items() if text.startswith("Base of")} == {*said}


def test_the_api_has_all_that_is_public() -> None:
    names = re.findall(r"auto(?:class|data|function):: (?:pytest_nsys\.hookspecs\.)?(\w+)", API)
    hooks = [name for name in vars(hookspecs) if name.startswith("pytest_nsys")]
    assert sorted([*names, "errors"]) == sorted([*pytest_nsys.__all__, *hooks])


def test_the_api_shows_how_to_make_what_users_make() -> None:
    (line,) = re.findall(r"^- (.*) are made by\n", PUBLIC, re.MULTILINE)
    shown = re.findall(r"autoclass:: (\w+)$", API, re.MULTILINE)
    assert sorted(shown) == sorted(re.findall(r"`(\w+)`", line))
