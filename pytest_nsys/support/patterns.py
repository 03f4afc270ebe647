"""Patterns for names that are full of brackets: node ids and metric keys."""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches: ``*`` and ``?`` are wild, brackets are brackets, case counts."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))
