"""What the documentation shows of commands is what they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.doc_outputs import PAGES, commands_of, made_anew


@pytest.mark.parametrize("page", [*filter(commands_of, PAGES)], ids=lambda page: page.name)
def test_commands_print_what_the_documentation_shows(page: Path) -> None:
    assert made_anew(page) == page.read_text(encoding="utf-8"), "make docs makes it anew"


def test_there_are_pages_with_outputs() -> None:
    assert any(map(commands_of, PAGES))
