"""How a page is made of its template: one file, nothing fetched, complete without its script.

A page allows only its own script, by its hash, and its own style sheet. Where a viewer forbids
these too, it is plain but whole: drawings are in attributes, and everything folded is in
``details``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from itertools import pairwise, repeat
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pytest_nsys.support.text import visible

_BREAKS = re.compile(r"(?<=\S)(::|[_<,/]+|\.(?=[a-z]))(?=\S)")
"""After what a name may go on in the next line; of other words nobody would see the break."""

_WHOLE = Markup('<span class="whole">{}</span>')
_FOLDER = PackageLoader("pytest_nsys.report.html", "templates")


def fill(template: str, page: Any, *scripts: str) -> str:
    """The page; whatever names are in it, they are text.

    Args:
        template: the file, which extends ``layout.html``.
        page: what the template shows: it has a title and a footer.
        scripts: the files of the page's script.
    """
    environment = _environment()
    source = "".join(_FOLDER.get_source(environment, script)[0] for script in scripts)
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return environment.get_template(template).render(
        page=page, script=Markup(source), script_hash=digest
    )


def breakable(text: str, longer_than: int = 16) -> Markup:
    """Text whose names go on in the next line between their parts, and not within a word.

    Args:
        text: what is shown.
        longer_than: characters of words that fit on every line, and are left whole.
    """
    words = re.split(r"(\s+)", visible(text))
    return Markup("").join(map(_parted, words, repeat(longer_than)))


def _parted(word: str, longer_than: int) -> Markup:
    if len(word) <= longer_than:
        # Browsers end lines behind hyphens.
        return _WHOLE.format(word) if word.startswith(("->", "--")) else escape(word)
    ends = [0, *(found.end() for found in _BREAKS.finditer(word)), len(word)]
    return Markup("<wbr>").join(escape(word[a:b]) for a, b in pairwise(ends))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=_FOLDER,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment
