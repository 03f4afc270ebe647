"""The site, built by Sphinx of the pages in this folder: ``make site``."""

from __future__ import annotations

import os
import re
from importlib.metadata import metadata
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

import pytest_nsys
from pytest_nsys import errors

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_URLS = dict(line.split(", ", 1) for line in metadata("pytest-nsys").get_all("Project-URL") or ())

project = "pytest-nsys"
author = "the authors of pytest-nsys"
release = version = pytest_nsys.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(_pytest|collections|contextlib|numpy|os|pandas|pathlib|typing)\..*"),
    ("py:.*", r"Floats|.*\.T|tuple\[str"),
    # The types of what docs/public.md says is not public.
    ("py:.*", r"(.*\.)?(Configuration|KernelCounters|Launched|Load|Ratio|SentRound|Timeline)"),
]
highlight_language = "text"
smartquotes = False
default_role = "py:obj"
autodoc_default_options = {"members": True, "special-members": "__call__, __getattr__, __getitem__"}
napoleon_use_ivar = True
add_module_names = False
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
myst_heading_anchors = 4  # as GitHub makes them, so that links hold there and here

html_theme = "furo"
html_title = f"pytest-nsys {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_theme_options = {
    "source_repository": _URLS["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
}

# Pages that are files above this folder: on GitHub the page is a link to the file.
_ABOVE = {ROOT / "README.md": "overview", ROOT / "CHANGELOG.md": "changelog"}

_SOURCE = f"{_URLS['Source']}/blob/main/"
_OURS = {
    f"{_URLS['Documentation']}/en/latest/": (DOCS, ".html"),
    _SOURCE: (ROOT, ""),
    f"{_URLS['Source'].replace('github.com', 'raw.githubusercontent.com')}/main/": (ROOT, ""),
}
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)")


def read(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Put files from above into their pages, and make each link lead to a page if there is one.

    Links in pages are relative, as GitHub wants them, those in the README absolute, as PyPI does.
    """
    place = folder = (DOCS / docname).parent
    for path, page in _ABOVE.items():
        if page == docname:
            source[0] = path.read_text(encoding="utf-8")
            folder = path.parent
    source[0] = _LINK.sub(lambda found: _target(found[1], folder, place), source[0])


def _target(link: str, folder: Path, place: Path) -> str:
    """A link of a file in ``folder``, as a page in ``place`` is to have it."""
    for address, (root, ending) in _OURS.items():
        if link.startswith(address):
            target = root / link[len(address) :]
            target = target.with_suffix(".md") if ending and target.suffix == ending else target
            break
    else:
        if re.match(r"[a-z]+:", link):
            return link
        target = Path(os.path.normpath(folder / link))
    if target in _ABOVE:
        target = DOCS / f"{_ABOVE[target]}.md"
    if target.is_relative_to(DOCS):
        return os.path.relpath(target, place)
    return f"{_SOURCE}{target.relative_to(ROOT)}"


def anchor(_app: Sphinx, page: nodes.document) -> None:
    """Give headings the anchors that they have on GitHub, which the README's links name."""
    for section in page.findall(nodes.section):
        if section.get("slug", section["ids"][0]) not in section["ids"]:
            section["ids"].append(section["slug"])


def shorten(_app: Sphinx, page: nodes.document) -> None:
    """Say of where a class is no more than its name, and no dashes that are two hyphens."""
    for text in [*page.findall(nodes.Text)]:
        short = ": " if text == " -- " else _PRIVATE.sub("", text)
        if short != text:
            text.parent.replace(text, nodes.Text(short))


_PRIVATE = re.compile(r"^pytest_nsys\.(?!errors)[\w.]+\.(?=[A-Z]\w*$)")


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.reference | None:
    """Find a class by the public one of its names, and an error on its page."""
    name = node["reftarget"].rpartition(".")[2]
    if name in vars(errors):
        return make_refnode(app.builder, node["refdoc"], "errors", name.lower(), shown)
    if name in pytest_nsys.__all__:
        public = f"pytest_nsys.{name}"
        domain = env.domains.python_domain
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, shown)
    return None


def setup(app: Sphinx) -> None:
    """Have pages read, and names resolved, as above."""
    app.connect("source-read", read)
    app.connect("doctree-read", anchor)
    app.connect("doctree-read", shorten)
    app.connect("missing-reference", resolve)
