"""Good files made bad: values exchanged, left out and doubled, bytes flipped, cut and inserted."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from pytest_nsys.errors import NsysError

Path = tuple[str | int, ...]

STRANGE: tuple[Any, ...] = (
    None,
    True,
    "",
    "text",
    "\0",
    "../../etc/passwd",
    "\ud800",
    "\x1b[2J",
    [],
    [[]],
    {},
    {"a": 1},
    0,
    -1,
    1.5,
    2**63,
    10**400,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
)
"""Values that a file may hold anywhere, and that are nowhere expected or everywhere dangerous."""


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where in a JSON value there is a value, itself first."""
    yield path
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        yield from paths(child, (*path, key))


def _place(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def changed(draw: st.DrawFn, value: Any, most: int = 3) -> Any:
    """The JSON value with up to ``most`` of its parts changed."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        strange = copy.deepcopy(draw(st.sampled_from(STRANGE)))
        every = [path for path in paths(value) if path]
        if not every:
            break
        path = draw(st.sampled_from(every))
        parent, key = _place(value, path[:-1]), path[-1]
        how = draw(st.sampled_from(["exchange", "delete", "move", "grow"]))
        if how == "delete":
            del parent[key]
        elif how == "move":
            parent[key] = copy.deepcopy(_place(value, draw(st.sampled_from(every))))
        elif how == "grow" and isinstance(parent, list):
            parent.insert(draw(st.integers(0, len(parent))), strange)
        elif how == "grow" and isinstance(parent, dict):
            parent[draw(st.text(max_size=3))] = strange
        else:
            parent[key] = strange
    return value


def changed_json(value: Any) -> st.SearchStrategy[bytes]:
    """The text of a changed value."""
    return changed(value).map(lambda new: json.dumps(new, ensure_ascii=True).encode())


@st.composite
def changed_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with bytes flipped, cut out, cut off, put in, doubled, or followed by others."""
    changing = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(changing)))
        end = min(len(changing), place + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(["flip", "cut out", "cut off", "put in", "double", "append"]))
        if how == "flip" and place < len(changing):
            changing[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut out":
            del changing[place:end]
        elif how == "cut off":
            del changing[place:]
        elif how == "put in":
            changing[place:place] = draw(st.binary(max_size=20))
        elif how == "double":
            changing[place:place] = changing[place:end]
        elif how == "append":
            changing += draw(st.sampled_from([b"\0", b"\n", b"}", data]))
    return bytes(changing)


DEEP = b"[" * 100_000 + b"]" * 100_000
HUGE_NUMBER = b"9" * 100_000
"""Texts on which readers of JSON have failed."""


def check_refusal(error: NsysError, start: str = "", most: int = 2000) -> None:
    """A refusal says what is wrong and what to do, and no more of what it was given than helps."""
    check_start(error, start)
    assert error.remedy
    assert len(str(error)) < most


def check_start(error: NsysError, start: str) -> None:
    """A refusal names what is wrong at its start."""
    assert error.what.startswith(start)
