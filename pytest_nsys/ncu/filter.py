"""The regular expression by which ncu knows kernels that nsys has named.

The two demangle alike but for casts of constants (``(int)4`` and ``4``), anonymous namespaces
(``(anonymous namespace)`` and ``<unnamed>``) and lambdas. So the words of a name are looked for, in
their order, with anything between them that is no word; up to a lambda, and from behind an
anonymous namespace on. Of a canonical name, up to the first argument that it leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNNAMED = re.compile(r"\(anonymous namespace\)::|<unnamed>::")
_TEMPLATE = re.compile(r"<(?!unnamed>)")
_OPEN = re.compile(r"\{|\[|lambda|'|(?<![\w>] )\*")
"""Where a name goes on in another way: a lambda, or what a canonical name leaves open."""
_CAST = re.compile(r"\((?:unsigned |signed )?(?:int|long|long long|short|char|bool)\)(?=-?\d)")
_WORD = re.compile(r"\w+")
_BETWEEN = r"\W+(?:\([a-z ]+\))?"
_RETURNS = "void"
_MOST = 12
_FIRST = r"(?:^|\W)"


def name_filter(names: Iterable[str]) -> str:
    """For ``--kernel-name`` with ``--kernel-name-base demangled``; any where no name has a word.

    Args:
        names: demangled, as nsys has them, or canonical.
    """
    found = dict.fromkeys(filter(None, map(_expression, names)))
    return f"regex:{'|'.join(found) or '.'}"


def _expression(name: str) -> str:
    template = _TEMPLATE.search(name)
    end = template.start() if template else len(name)
    before = [found.end() for found in _UNNAMED.finditer(name) if found.start() < end]
    text = name[before[-1] :] if before else name
    later = _UNNAMED.search(text)
    text = _without_parameters(text[: later.start()] if later else text)
    stop = _OPEN.search(text)
    words = _WORD.findall(_CAST.sub("", text[: stop.start()] if stop else text))
    if words[:1] == [_RETURNS]:
        words = words[1:]
    if not words:
        return ""
    ends = r"(?:\W|$)" if stop is None and later is None and len(words) <= _MOST else ""
    return _FIRST + _BETWEEN.join(words[:_MOST]) + ends


def _without_parameters(text: str) -> str:
    """A name up to its list of parameters: the first parenthesis outside of all brackets."""
    depth = 0
    for place, one in enumerate(text):
        if one == "<":
            depth += 1
        elif one == ">":
            depth -= 1
        elif one == "(" and depth == 0 and place:
            return text[:place]
    return text
