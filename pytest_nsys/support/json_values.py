"""JSON of unknown origin: read strictly, so that what is wrong is found here and not far away.

`read` makes a value of what its annotations say, and `written` is the way back. The fields of a
dataclass are the keys of an object: who renames one changes the files that it is in.

It imports only the standard library: workers write their records with it, in whatever Python the
tests have. msgspec reads by annotations, too, but it lets keys be there twice, and does not name
those of mappings, of which our files mostly consist (``$.windows[...].samples[...][0]``); with it,
baselines and histories took as many lines as without, and as long to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache, partial
from itertools import pairwise
from sys import intern
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pytest_nsys.support.own import own

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
Reader = Callable[[object], Any]

LARGEST = 2**200
"""No number that is read is larger: its square and its sums are still floats."""

_LONGEST = 80
_FEW = 1000
_LEAST = 16
"""Characters of an object or a list; in what we write, it is 25 at least."""

_MAYBE = "may be missing"


class Misread(ValueError):
    """A value that is not what should be there.

    Attributes:
        problem: what is wrong.
        place: with what, as jq names it: ``.windows.test.samples["wall.time"][0]``.
    """

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.place = place


def load(text: str | bytes) -> object:
    """The value of a JSON text.

    Raises:
        json.JSONDecodeError: it is no JSON; says where.
        ValueError: it is too deep, or an object has a key twice.
    """
    try:
        return own.from_json(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except MemoryError:
        raise ValueError("there is too little memory to read it") from None


def load_written(text: str) -> object:
    """The value of a text in a file that this package is to have written.

    In such a file the numbers and texts are what takes place. Each object and list takes some
    hundred bytes of memory, which a file of these alone would fill.

    Raises:
        json.JSONDecodeError, ValueError: as `load` does; or it is such a file.
    """
    if text.count("[") + text.count("{") > _FEW + len(text) // _LEAST:
        raise ValueError("it consists of objects and lists with next to nothing in them")
    return load(text)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = {intern(key): value for key, value in pairs}  # the same in thousands of objects
    if len(found) < len(pairs):
        keys = sorted(key for key, _ in pairs)
        twice = next(key for key, other in pairwise(keys) if key == other)
        raise Misread(f"the key {twice[:_LONGEST]!r} is there twice")
    return found


class Check(NamedTuple):
    """For ``Annotated``: what else has to hold, and what to say of a value if not: "is odd"."""

    holds: Callable[[Any], object]
    problem: str


def at_least(least: float) -> Check:
    """For ``Annotated``: numbers from there on."""
    return Check(lambda number: number >= least, "is out of range")


def shown(value: object) -> str:
    """A value as an error shows it."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return f"{own.to_json(value):.{_LONGEST}}"


def read(kind: TypeForm[T], value: object) -> T:
    """A JSON value as what a type says: a dataclass, Mapping, tuple, Literal, str, float, int...

    A key may be missing where the field is `Maybe`, or may be None; keys that are no fields are
    left alone. A function in ``Annotated`` reads a value in its own way, and raises `ValueError`.

    Raises:
        Misread: it is something else.
    """
    reader: Callable[[object], T] = _reader(cast("Any", kind))
    return reader(value)


def read_keys(kinds: Mapping[str, Any], value: object) -> dict[str, Any]:
    """Of an object, these keys, each as what its type says.

    Raises:
        Misread: it is something else, or one is missing.
    """
    readers = {name: _reader(kind) for name, kind in kinds.items()}
    return _record(dict, readers, frozenset(), value)


def written(value: object, decimals: int | None = None) -> Any:
    """A value as JSON values; of what `read` can do without, only what is there.

    With ``decimals``, numbers are rounded, and whole ones are whole numbers.
    """
    # What most values are comes first: a large suite has millions.
    if isinstance(value, float):
        if decimals is None:
            return value
        rounded = round(value, decimals)
        return int(rounded) if rounded == int(rounded) else rounded
    if isinstance(value, (tuple, list)):
        return [written(item, decimals) for item in value]
    if is_dataclass(value):
        kind: Any = type(value)
        value = {
            name: item
            for name, item in vars(value).items()
            if item is not None and (item or name not in _maybe(kind))
        }
    if isinstance(value, Mapping):
        return {key: written(item, decimals) for key, item in value.items()}
    return value


def _exactly(kinds: tuple[type, ...], what: str, value: object) -> Any:
    if type(value) not in kinds:  # true is an int, too
        raise Misread(f"{shown(value)} where there should be {what}")
    return value


def _number(kinds: tuple[type, ...], what: str, value: Any) -> Any:
    if type(value) in kinds and -LARGEST <= value <= LARGEST:
        return kinds[0](value)
    raise Misread(f"{shown(_exactly(kinds, what, value))} is out of range")  # NaN, too


def _checked(reader: Reader, check: Check, value: object) -> Any:
    found = reader(value)
    if check.holds(found):
        return found
    raise Misread(f"{shown(value)} {check.problem}")


_object = partial(_exactly, (dict,), "an object")
_list = partial(_exactly, (list,), "a list")

_PLAIN: Mapping[Any, Reader] = {
    Any: lambda value: value,
    bool: partial(_exactly, (bool,), "true or false"),
    float: partial(_number, (float, int), "a number"),
    int: partial(_number, (int,), "a whole number"),
    str: partial(_exactly, (str,), "a text"),
}

Maybe = Annotated[T, _MAYBE]
"""A field whose key may be missing; its default is false, and then not written."""

Count = Annotated[int, at_least(0)]
Positive = Annotated[int, at_least(1)]
Amount = Annotated[float, at_least(0)]


@cache
def _reader(kind: Any) -> Reader:
    origin, args = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if hasattr(kind, "__dataclass_fields__"):
        hints = get_type_hints(kind, include_extras=True)
        readers = {name: _reader(hint) for name, hint in hints.items()}
        optional = {name for name, hint in hints.items() if NoneType in get_args(hint)}
        return partial(_record, kind, readers, _maybe(kind) | optional)
    if origin is Annotated:
        reader = None
        for mark in args[1:]:
            if isinstance(mark, Check):
                reader = partial(_checked, reader or _reader(args[0]), mark)
            elif callable(mark):
                reader = mark
        return reader or _reader(args[0])
    if origin is Literal:
        return partial(_one_of, args)
    if origin is tuple:
        several = args[-1] is ...
        return partial(_row, several, tuple(map(_reader, args[:1] if several else args)))
    if NoneType in args:  # a field of a dataclass: its key is missing, and never null
        return _reader(args[0])
    return partial(_items, *map(_reader, args))


@cache
def _maybe(kind: Any) -> frozenset[str]:
    """The fields of a class that are `Maybe`."""
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _MAYBE in get_args(hint))


def _inside(step: str | int, error: ValueError) -> Misread:
    """The same error of the value that has the misread one under a key or an index."""
    problem, place = getattr(error, "problem", str(error)), getattr(error, "place", "")
    plain = isinstance(step, str) and step.isascii() and step.isidentifier()
    return Misread(problem, (f".{step:.{_LONGEST}}" if plain else f"[{shown(step)}]") + place)


def _record(
    kind: Callable[..., T], readers: Mapping[str, Reader], optional: frozenset[str], value: object
) -> T:
    data, found, name = _object(value), {}, ""
    try:
        for name, reader in readers.items():
            if name in data:
                found[name] = reader(data[name])
            elif name not in optional:
                raise Misread("it is missing")
    except ValueError as error:
        raise _inside(name, error) from None
    return kind(**found)


def _items(key: Reader, reader: Reader, value: object) -> dict[Any, Any]:
    data, found, name = _object(value), {}, ""
    try:
        for name, item in data.items():
            found[key(name)] = reader(item)
    except ValueError as error:
        raise _inside(name, error) from None
    return found


def _row(several: bool, readers: tuple[Reader, ...], value: object) -> tuple[Any, ...]:
    items, found = _list(value), []
    if several:
        readers *= len(items)
    if len(items) != len(readers):
        raise Misread(f"{len(items)} values where there should be {len(readers)}")
    try:
        for reader, item in zip(readers, items, strict=True):
            found.append(reader(item))
    except ValueError as error:
        raise _inside(len(found), error) from None
    return tuple(found)


def _one_of(allowed: Sequence[str], value: object) -> Any:
    if value not in allowed:
        raise Misread(f"{shown(value)} where there should be one of {', '.join(allowed)}")
    return value
