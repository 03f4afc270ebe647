"""Patterns for names that are full of brackets: node ids and metric keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

_WORD = re.compile(r"[A-Za-z0-9]+")
_LONGEST = 400
_ALIKE = 0.5


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches: ``*`` and ``?`` are wild, brackets are brackets, case counts."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def nearest(pattern: str, names: Iterable[str], most: int) -> list[str]:
    """The names that a pattern which matches none of them is like, the likest first.

    The words of a name are looked at, too, and not its case: a kernel's name is long, and a pattern
    mostly has one word of it.
    """
    wanted = [word.lower() for word in _WORD.findall(pattern)]
    found = {name: _likeness(wanted, name[:_LONGEST].lower()) for name in names}
    alike = [name for name, likeness in found.items() if likeness >= _ALIKE * len(wanted)]
    return sorted(alike, key=lambda name: -found[name])[:most]


def _likeness(wanted: list[str], name: str) -> float:
    words = [name, *dict.fromkeys(_WORD.findall(name))]
    return sum(
        max(1.0 if part in name else 0.0, *(_ratio(part, word) for word in words))
        for part in wanted
    )


def likeness(one: str, other: str) -> float:
    """How alike two names are, from 0 to 1."""
    return _ratio(one[-_LONGEST:], other[-_LONGEST:])


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
