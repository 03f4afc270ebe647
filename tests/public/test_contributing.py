"""What contributors are told: the map of the house, the files of the recipes, and links."""

from __future__ import annotations

import inspect
import os
import re
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

import pytest_nsys
from tests.support.harness import import_all

ROOT = Path(pytest_nsys.__file__).parents[1]
PACKAGE = ROOT / "pytest_nsys"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")]
FOLDERS = {f"{path.relative_to(PACKAGE)}/" for path in (p.parent for p in PACKAGE.rglob("*.py"))}


def test_the_map_has_every_package_and_no_other() -> None:
    (listing,) = re.findall(r"## The map.*?```text\n(.*?)```", CONTRIBUTING, re.DOTALL)
    mapped = [line.split()[0] for line in listing.splitlines() if line]
    modules = {path.name for path in PACKAGE.glob("*.py")}
    assert sorted(mapped) == sorted(modules | FOLDERS - {"./"})


@pytest.mark.parametrize("text", [CONTRIBUTING, ARCHITECTURE], ids=["contributing", "architecture"])
def test_the_files_and_names_that_are_told_of_are_there(text: str) -> None:
    told = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    paths = [each for each in told if re.fullmatch(r"[\w.-]*/[\w./-]*|\w+\.(py|md|toml)", each)]
    folders = [ROOT, PACKAGE, PACKAGE / "doctor", PACKAGE / "report/html"]
    for path in paths:
        assert any((folder / path).exists() for folder in folders), path
    import_all()
    names = {
        name
        for module in [*sys.modules.values()]
        if module.__name__.startswith(("pytest_nsys", "tests."))
        for name, thing in vars(module).items()
        if inspect.isclass(thing) or name.isupper()
    }
    named = [each for each in told if re.fullmatch(r"_?[A-Z]\w+", each)]
    assert len(paths) > 20
    assert len(named) > 5
    assert not {*named} - names - {"TraceBuilder"}


def _relative(link: str, folder: Path) -> str:
    """A link to this repository or its site, as one of a page in ``folder``."""
    urls = dict(url.split(", ", 1) for url in metadata("pytest-nsys").get_all("Project-URL") or ())
    site, source = f"{urls['Documentation']}/en/latest/", f"{urls['Source']}/blob/main/"
    raw = source.replace("github", "raw.githubusercontent").replace("blob/", "")
    for address, root in ((site, ROOT / "docs"), (source, ROOT), (raw, ROOT)):
        if link.startswith(address):
            path = os.path.relpath(root / link[len(address) :], folder)
            return path.replace(".html", ".md") if address == site else path
    return link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    if page.name == "README.md" and page.parent == ROOT:  # PyPI shows it, too
        assert not [link for link in links if not link.startswith("https:")]
    for link in (_relative(link, page.parent) for link in links):
        if link.startswith("https:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
            assert anchor in anchors, link
