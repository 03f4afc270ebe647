"""What a ``check`` looked at: a window that remembers what was asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_nsys.catalogue import lookup
from pytest_nsys.measure.measurement import Parts, WindowMeasurement
from pytest_nsys.support.units import Unit, format_amount

Seen = dict[str, str]
"""By what was asked, what the answer was, in words."""


class WatchedWindow(WindowMeasurement):
    """The same window; numbers that are asked of it are written down."""

    def __init__(self, window: WindowMeasurement, seen: Seen) -> None:
        super().__init__(**vars(window))
        object.__setattr__(self, "_window", window)
        object.__setattr__(self, "_seen", seen)

    _window: WindowMeasurement
    _seen: Seen

    def __eq__(self, other: object) -> bool:
        return other == self._window

    __hash__ = None  # type: ignore[assignment]

    def get(self, key: str) -> float | None:
        value = self._window.get(key)
        said = "was not measured" if value is None else _is(value, lookup(key).unit)
        self._seen[key] = said
        return value

    def values(self, key: str) -> tuple[float, ...]:
        found = self._window.values(key)
        if found:
            unit = lookup(key).unit
            few, most = (format_amount(value, unit) for value in (min(found), max(found)))
            self._seen[f"values({key!r})"] = f"are {few} to {most}" if few != most else f"are {few}"
        return found

    @property
    def is_empty(self) -> bool:
        self._seen["is_empty"] = f"is {self._window.is_empty}"
        return self._window.is_empty

    @property
    def kernels(self) -> Parts:
        return _WatchedParts(self._window.kernels, "kernels", self._seen)

    @property
    def copies(self) -> Parts:
        return _WatchedParts(self._window.copies, "copies", self._seen)

    @property
    def calls(self) -> Parts:
        return _WatchedParts(self._window.calls, "calls", self._seen)


class _WatchedParts(Parts):
    """The same parts; likewise."""

    def __init__(self, parts: Parts, name: str, seen: Seen) -> None:
        super().__init__(parts.parts, parts.kind)
        object.__setattr__(self, "_parts", parts)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_seen", seen)

    _parts: Parts
    _name: str
    _seen: Seen

    def __eq__(self, other: object) -> bool:
        return other == self._parts

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def __len__(self) -> int:
        self._seen[f"len({self._name})"] = f"is {len(self._parts)}"
        return len(self._parts)

    def count(self, pattern: str = "*") -> float:
        return self._told("count", pattern, self._parts.count(pattern), "1")

    def time(self, pattern: str = "*") -> float:
        return self._told("time", pattern, self._parts.time(pattern), "ns")

    def bytes(self, pattern: str = "*") -> float:
        return self._told("bytes", pattern, self._parts.bytes(pattern), "B")

    def _told(self, what: str, pattern: str, value: float, unit: Unit) -> float:
        asked = "" if pattern == "*" else repr(pattern)
        self._seen[f"{self._name}.{what}({asked})"] = _is(value, unit)
        return value


def _is(value: float, unit: Unit) -> str:
    return f"is {format_amount(value, unit)}"
