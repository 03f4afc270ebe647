"""What the documentation shows of commands is what they print, and of files what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.doc_outputs import EXAMPLES, PAGES, made_anew, shown_of


@pytest.mark.parametrize("page", [*filter(shown_of, PAGES)], ids=lambda page: page.stem)
def test_the_documentation_shows_what_is_there(page: Path) -> None:
    assert made_anew(page) == page.read_text(encoding="utf-8"), "make docs makes it anew"


def test_files_of_a_page_are_there_for_its_commands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- file: test_new.py -->\n"
        "```python\ndef test_of_the_page(): ...\n```\n"
        "<!-- output: pytest -v test_new.py | tail -3 -->\n```\nas it was\n```\n"
    )
    made = made_anew(page)
    assert "```python\ndef test_of_the_page(): ...\n```\n" in made
    assert "test_new.py::test_of_the_page PASSED" in made
    assert not (EXAMPLES / "test_new.py").exists()


def test_there_are_pages_with_outputs() -> None:
    assert any(map(shown_of, PAGES))
