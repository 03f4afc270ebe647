"""The site is built of the pages without a warning, and leads where they lead."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.harness import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as "make site" builds it; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return out


def test_the_readme_leads_to_places_on_the_site(site: Path) -> None:
    links = re.findall(r"\(https://pytest-nsys.readthedocs.io/en/latest/([^)#]*)#?(.*?)\)", README)
    assert len(links) > 20
    for name, anchor in links:
        page = (site / name).read_text(encoding="utf-8")
        assert not anchor or f'id="{anchor}"' in page


def test_pages_lead_to_pages_of_the_site_and_to_files_on_github(site: Path) -> None:
    overview = (site / "overview.html").read_text(encoding="utf-8")
    assert 'href="verdicts.html#what-was-not-measured"' in overview
    assert 'src="_images/report.png"' in overview
    assert 'href="changelog.html"' in (site / "public.html").read_text(encoding="utf-8")
    files = "https://github.com/pytest-nsys/pytest-nsys/blob/main/"
    compare = (site / "compare.html").read_text(encoding="utf-8")
    assert f'href="{files}examples/servers"' in compare


def test_the_site_can_be_searched(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"throttl"' in index, "words are there by their stems"


def test_the_first_page_leads_to_every_other() -> None:
    docs = ROOT / "docs"
    first = (docs / "index.md").read_text(encoding="utf-8")
    pages = {*docs.rglob("*.md")} - {*docs.glob("recipes/*.md"), docs / "index.md"}
    linked = {docs / link for link in re.findall(r"\]\(([^):]+)\)", first)}
    assert linked == pages | {docs / "recipes/index.md"}
