"""JSON texts in lines: large ones are made piece by piece, and a diff shows what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence


def json_lines(value: object, levels: int, indent: str = "") -> Iterator[str]:
    """A JSON text, in pieces.

    Args:
        value: JSON values; lists in the upper levels may be iterators, of which one item is there
            at a time.
        levels: of so many objects and lists in each other every item has lines of its own; what is
            below them is on one line.
        indent: what each of its lines but the first begins with.
    """
    inner = f"{indent} "
    if not levels or not isinstance(value, (Mapping, Sequence, Iterator)) or isinstance(value, str):
        yield json.dumps(value, separators=(",", ":"))
    elif isinstance(value, Mapping):
        named = ((f"{json.dumps(key)}: ", item) for key, item in value.items())
        yield from _enclosed("{", named, "}", levels - 1, inner)
    else:
        yield from _enclosed("[", (("", item) for item in value), "]", levels - 1, inner)


def _enclosed(
    begin: str, items: Iterable[tuple[str, object]], end: str, levels: int, indent: str
) -> Iterator[str]:
    before = begin
    for name, item in items:
        yield f"{before}\n{indent}{name}"
        yield from json_lines(item, levels, indent)
        before = ","
    yield f"\n{indent[1:]}{end}" if before == "," else begin + end
