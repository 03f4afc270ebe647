"""JSON of unknown origin: read strictly, so that what is wrong is found here and not far away.

It imports only the standard library: the worker reads its job and its records with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

LARGEST = 2**200
"""No number that is read is larger: its square and its sums are still floats."""


def load(text: str | bytes) -> object:
    """The value of a JSON text.

    Raises:
        json.JSONDecodeError: it is no JSON; says where.
        ValueError: it is too deep, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} is there twice")
        found[key] = value
    return found


def mapping(value: object) -> dict[str, Any]:
    """An object.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where there should be an object")
    return value


def listing(value: object) -> list[Any]:
    """A list.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where there should be a list")
    return value


def text_of(value: object) -> str:
    """A text.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where there should be a text")
    return value


def whole(value: object, least: int = -LARGEST) -> int:
    """A whole number from ``least`` on.

    Raises:
        TypeError: it is none.
        ValueError: it is smaller, or too large to be meant.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where there should be a whole number")
    if not least <= value <= LARGEST:
        raise ValueError("a whole number that is out of range")
    return value


def number(value: object) -> float:
    """A finite number.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite, or too large to be meant.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where there should be a number")
    if not abs(value) <= LARGEST:  # NaN is not, either
        raise ValueError("a number that is not finite")
    return float(value)
