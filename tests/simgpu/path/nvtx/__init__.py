"""A stand-in for the ``nvtx`` package that writes the simulated event log.

It has the calls of the real package that a profiling tool uses, with their signatures: the module
functions and ``annotate`` of every version, the domain objects' own methods of 0.2.12 and later.
When no capture is running, all of it does nothing.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import TypeVar

import _simlog
from _simlog import own

_F = TypeVar("_F", bound=Callable[..., object])
_COLORS = {
    None: 0x0000FF,
    "green": 0x008000,
    "blue": 0x0000FF,
    "yellow": 0xFFFF00,
    "purple": 0x800080,
    "rapids": 0x7400FF,
    "cyan": 0x00FFFF,
    "red": 0xFF0000,
    "white": 0xFFFFFF,
    "darkgreen": 0x006400,
    "orange": 0xFFA500,
}
_ENABLED = not os.environ.get("NVTX_DISABLE")
_range_ids = count(1)


class RegisteredString:
    """A message that a domain knows."""

    def __init__(self, string: str | None = None) -> None:
        self.string = string


class EventAttributes:
    """What an event carries; changed by assigning to it, as the real one is."""

    def __init__(
        self,
        message: RegisteredString | None = None,
        color: str | int | None = None,
        category: int | None = None,
        payload: int | float | None = None,
    ) -> None:
        self.message = message
        self.color = color
        self.category = category
        self.payload = payload

    def fields(self) -> dict[str, object]:
        """The attributes as the log has them."""
        if not isinstance(self.payload, (int, float, type(None))):
            raise RuntimeError("Payload must be int or float")
        if not isinstance(self.color, int) and self.color not in _COLORS:
            raise TypeError(f"Invalid color {self.color}.")
        return {
            "text": self.message.string if self.message else None,
            "color": self.color if isinstance(self.color, int) else _COLORS[self.color],
            "category": self.category,
            "payload": self.payload,
        }


class Domain:
    """A named set of events. Get one from ``get_domain``."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.categories: dict[str, int] = {}
        if name is not None:
            self._emit("domain")

    @functools.cache  # noqa: B019 - as in the real package; domains live for ever
    def get_registered_string(self, string: str | None) -> RegisteredString:
        """The domain's one copy of a message."""
        return RegisteredString(string)

    @functools.cache  # noqa: B019
    def get_category_id(self, name: str) -> int:
        """The number of a category, which is new on first use."""
        number = self.categories[name] = len(self.categories) + 1
        self._emit("category", text=name, category=number)
        return number

    def get_event_attributes(
        self,
        message: str | RegisteredString | None = None,
        color: str | int | None = None,
        category: str | int | None = None,
        payload: int | float | None = None,
    ) -> EventAttributes:
        """Attributes to use with this domain's events, as often as wanted."""
        if isinstance(category, str):
            category = self.get_category_id(category)
        if isinstance(message, str):
            message = self.get_registered_string(message)
        return EventAttributes(message, color, category, payload)

    def mark(self, attributes: EventAttributes | None = None, **kwargs: object) -> None:
        """An event without a duration."""
        self._emit("mark", **self._fields(attributes, kwargs))

    def push_range(self, attributes: EventAttributes | None = None, **kwargs: object) -> None:
        """Open a range of this thread."""
        self._emit("push", **self._fields(attributes, kwargs))

    def pop_range(self) -> None:
        """Close this thread's innermost range."""
        self._emit("pop")

    def start_range(self, attributes: EventAttributes | None = None, **kwargs: object) -> int:
        """Open a range of the process; returns what ``end_range`` takes."""
        number = next(_range_ids)
        self._emit("start", range=number, **self._fields(attributes, kwargs))
        return number

    def end_range(self, range_id: int) -> None:
        """Close a range of the process, from any thread."""
        self._emit("end", range=range_id)

    def _fields(
        self, attributes: EventAttributes | None, changes: dict[str, object]
    ) -> dict[str, object]:
        if attributes is None:
            attributes = self.get_event_attributes(**changes)  # type: ignore[arg-type]
        else:
            made = self.get_event_attributes(**changes)  # type: ignore[arg-type]
            for name in changes:
                setattr(attributes, name, getattr(made, name))
        return attributes.fields()

    def _emit(self, event: str, **fields: object) -> None:
        if enabled():
            _simlog.emit("nvtx", event=event, time=own.clock_ns(), domain=self.name, **fields)


@functools.cache
def get_domain(name: str | None = None) -> Domain:
    """The domain of that name; the default domain without one."""
    return Domain(name)


class annotate:  # noqa: N801  (its name in the real package)
    """A range around a ``with`` block or a function."""

    def __init__(
        self,
        message: str | None = None,
        color: str | int | None = None,
        domain: str | None = None,
        category: str | int | None = None,
        payload: int | float | None = None,
    ) -> None:
        self.domain = get_domain(domain)
        self.attributes = self.domain.get_event_attributes(message, color, category, payload)

    def __enter__(self) -> annotate:
        self.domain.push_range(self.attributes)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.domain.pop_range()

    def __call__(self, func: _F) -> _F:
        """Put the range around every call of ``func``, under its name unless it has one."""
        if self.attributes.message is None:
            self.attributes.message = self.domain.get_registered_string(func.__name__)

        @functools.wraps(func)
        def inner(*args: object, **kwargs: object) -> object:
            with self:
                return func(*args, **kwargs)

        return inner  # type: ignore[return-value]


def mark(
    message: str | None = None,
    color: str | int | None = "blue",
    domain: str | None = None,
    category: str | int | None = None,
    payload: int | float | None = None,
) -> None:
    """An event without a duration."""
    owner = get_domain(domain)
    owner.mark(owner.get_event_attributes(message, color, category, payload))


def push_range(
    message: str | None = None,
    color: str | int | None = "blue",
    domain: str | None = None,
    category: str | int | None = None,
    payload: int | float | None = None,
) -> None:
    """Open a range of this thread."""
    owner = get_domain(domain)
    owner.push_range(owner.get_event_attributes(message, color, category, payload))


def pop_range(domain: str | None = None) -> None:
    """Close this thread's innermost range in that domain."""
    get_domain(domain).pop_range()


def start_range(
    message: str | None = None,
    color: str | int | None = "blue",
    domain: str | None = None,
    category: str | int | None = None,
    payload: int | float | None = None,
) -> tuple[int, Domain]:
    """Open a range of the process; returns what ``end_range`` takes."""
    owner = get_domain(domain)
    return owner.start_range(owner.get_event_attributes(message, color, category, payload)), owner


def end_range(range_id: tuple[int, Domain]) -> None:
    """Close a range of the process, from any thread."""
    number, owner = range_id
    owner.end_range(number)


def enabled() -> bool:
    """Whether the package is in use: true, unless NVTX_DISABLE is set."""
    return _ENABLED
