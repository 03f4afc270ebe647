"""Values of Python's own types, to and from JSON without a change.

JSON has no tuples, sets or bytes, and only text as a key. What passes between pytest and its
workers may hold them: this is what execnet sends, which pytest-xdist uses.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

_TYPE = "$type"


def to_json(value: Any) -> Any:
    """The value as `json` writes it, from which `from_json` makes it again.

    Raises:
        TypeError: it is, or holds, something else than None, truths, numbers, text, bytes, lists,
            tuples, sets and dicts; a subclass of them is something else.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [to_json(one) for one in value]
    if kind is dict:
        if all(type(key) is str for key in value) and _TYPE not in value:
            return {key: to_json(one) for key, one in value.items()}
        return {_TYPE: "dict", "of": [[to_json(k), to_json(v)] for k, v in value.items()]}
    if kind in (tuple, set, frozenset):
        return {_TYPE: kind.__name__, "of": [to_json(one) for one in value]}
    if kind is bytes:
        return {_TYPE: "bytes", "of": base64.b64encode(value).decode("ascii")}
    if kind is complex:
        return {_TYPE: "complex", "of": [value.real, value.imag]}
    raise TypeError(f"{value!r:.200} is a {kind.__name__}, not a simple value")


def from_json(value: Any) -> Any:
    """The inverse of `to_json`."""
    if isinstance(value, list):
        return [from_json(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    kind: Any
    of: Any
    kind, of = value.get(_TYPE), value.get("of", ())
    if kind is None:
        return {key: from_json(one) for key, one in value.items()}
    if kind == "bytes":
        return base64.b64decode(of)
    if kind == "complex":
        real, imaginary = of
        return complex(real, imaginary)
    members = from_json(of)
    if kind == "dict":
        return dict(members)
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](members)


def as_shown(value: Any) -> Any:
    """The value, if JSON can have it without a change; else the text that ``str`` makes of it."""
    for kind in (int, float):
        # Those of numpy, and enumerations, as long as they are shown as the number that they are.
        if isinstance(value, kind) and type(value) is not bool and str(value) == str(kind(value)):
            return kind(value)
    try:
        return value if to_json(value) == value else str(value)
    except TypeError:
        return str(value)
