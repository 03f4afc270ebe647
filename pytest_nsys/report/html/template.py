"""How a page is made of its template: one file, nothing fetched, complete without its script.

A page allows only its own script, by its hash, and its own style sheet. Where a viewer forbids
these too, it is plain but whole: drawings are in attributes, and everything folded is in
``details``.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_nsys.support.text import visible

_FOLDER = PackageLoader("pytest_nsys.report.html", "templates")


def fill(template: str, script: str, page: Any) -> str:
    """The page; whatever names are in it, they are text.

    Args:
        template: the file, which extends ``layout.html``.
        script: the file of the page's script.
        page: what the template shows: it has a title and a footer.
    """
    environment = _environment()
    source, _, _ = _FOLDER.get_source(environment, script)
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return environment.get_template(template).render(
        page=page, script=Markup(source), script_hash=digest
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=_FOLDER,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
