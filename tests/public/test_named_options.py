"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_nsys.cli.main import main
from pytest_nsys.plan.options import OPTIONS
from tests.support.harness import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIXTURES = {"nsys_server", "nsys_run"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_and_ini_values_that_a_page_names(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    options = {name.strip("-") for name in re.findall(r"--nsys[a-z0-9-]*", text)}
    values = {*re.findall(r"(?<![\w.])nsys_[a-z0-9_]+(?![\w(])", text)}
    there = [option.name for option in OPTIONS if not option.ini_only]
    assert options - {name.replace("_", "-") for name in there} == set()
    assert values - {option.name for option in OPTIONS} - FIXTURES == set()


def test_commands_that_pages_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    helped = capsys.readouterr().out
    for page in PAGES:
        for command in re.findall(
            r"(?:^    |`|\$ )pytest-nsys ([a-z]+)", page.read_text("utf-8"), re.M
        ):
            assert re.search(rf"^    {command}\b", helped, re.M), f"{page.name}: {command}"
