"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_nsys.cli.main import main
from pytest_nsys.plan.adoption import ADOPT
from pytest_nsys.plan.options import OPTIONS
from pytest_nsys.plan.settings import CLOCK
from tests.support.harness import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = {option.name for option in OPTIONS} | {ADOPT, CLOCK, "nsys_server", "nsys_run"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_and_ini_values_that_a_page_names(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    options = re.findall(r"--nsys[a-z0-9-]*", text)
    values = re.findall(r"(?<![\w.])nsys_[a-z0-9_]+(?![\w(])", text)
    named = {option.strip("-").replace("-", "_") for option in options} | {*values}
    assert named - NAMES == set()


def test_commands_that_pages_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    helped = capsys.readouterr().out
    for page in PAGES:
        for command in re.findall(
            r"(?:^    |`|\$ )pytest-nsys ([a-z]+)", page.read_text("utf-8"), re.M
        ):
            assert re.search(rf"^    {command}\b", helped, re.M), f"{page.name}: {command}"
