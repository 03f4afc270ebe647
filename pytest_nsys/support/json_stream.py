"""JSON files too large to be held: the values in their outermost lists, one after another.

What is read is what Chrome reads of a trace: a comma after the last element, NaN where a number
was to be, and several documents in one file.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pytest_nsys.support.files import open_file

LARGEST = 8 * 2**30
"""Bytes that a packed file unpacks to at most."""

_MOST_TIMES = 100  # traces pack 10 to 20 times smaller, a file of zeros 1000 times
_ALWAYS = 16 * 2**20
_CHUNK = 2**18
_LARGEST_VALUE = 8 * 2**20
"""Characters of one value: an event takes some hundred, with its call stack some thousand."""

_FEW = 1000
_LEAST = 64
"""Characters of an element, on average; the smallest events of profilers have more."""

_LEAST_BRACKET = 16  # as in `json_values`

_GZIP = b"\x1f\x8b"
_SPACE = re.compile(r"[ \t\r\n]*")
_NAN = re.compile(r"[-+]?(nan|inf)", re.IGNORECASE)
_AFTER_KEY = re.compile(r"""(?<!\\)":\s*[-+]?(?:nan|inf(?:inity)?)(?=\s*[,}])""", re.IGNORECASE)
"""NaN as C++ prints it: in a text the quotation mark before the colon has a backslash."""

_UNREADABLE = (OSError, EOFError, zlib.error, ValueError, RecursionError, MemoryError)

_DECODER = json.JSONDecoder(parse_float=str, parse_constant=lambda _: None, strict=False)
"""Fractions stay texts: as floats, times in µs since 1970 would be right to a quarter of one."""


class Unreadable(ValueError):
    """The file is no JSON, is damaged or cut off, or has more in it than it may."""


def begins(path: Path, size: int) -> str:
    """The first characters of a file, unpacked; "" where it cannot be read.

    Args:
        path: the file.
        size: bytes to read.
    """
    try:
        with open_file(path) as file:
            data: bytes = _plain(file).read(size)
            return data.decode("utf-8", "replace")
    except _UNREADABLE:
        return ""


def read_whole(path: Path, most: int) -> Any:
    """The one value of a file, gzipped or not; numbers with a fraction are texts.

    Raises:
        Unreadable: it is of more than ``most`` bytes, next to nothing but brackets, or no JSON.
    """
    try:
        with open_file(path) as file:
            plain = _plain(file)
            if plain is not file:
                most = min(most, _unpacked_most(file))
            data = plain.read(most + 1)
        if len(data) > most:
            raise Unreadable(f"it is larger than {most >> 20} MiB")
        text = data.decode("utf-8-sig", "replace")
        if text.count("[") + text.count("{") > _FEW + len(text) // _LEAST_BRACKET:
            raise Unreadable("it consists of objects and lists with next to nothing in them")
        return _DECODER.decode(text)
    except _UNREADABLE as error:
        raise _unreadable(error) from None


def elements(path: Path) -> Iterator[tuple[str, Any]]:
    """What a JSON file holds, gzipped or not, as it is read; numbers with a fraction are texts.

    Yields:
        Key and value of the objects that are its documents, of a list each element by itself under
        the list's key; elements of documents that are lists under "". After a list that does not
        end, as Chrome allows where it is the document, ``("...", None)``.

    Raises:
        Unreadable: it is no JSON, is damaged or cut off; one value has more than 8 Mi characters;
            elements of a list have next to nothing in them; or it unpacks to more than 8 GiB, or
            to 16 MiB and 100 times its own size.
    """
    try:
        with open_file(path) as file:
            yield from _Scanner(_texts(file)).documents()
    except _UNREADABLE as error:
        raise _unreadable(error) from None


def _unreadable(error: BaseException) -> Unreadable:
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, json.JSONDecodeError):
        return Unreadable(f"{error.msg} at character {error.pos:,}")
    if isinstance(error, RecursionError):
        return Unreadable("it is nested too deeply")
    return Unreadable(str(error) or type(error).__name__)


def _plain(file: BinaryIO) -> Any:
    packed = file.read(2) == _GZIP
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file


def _unpacked_most(file: BinaryIO) -> int:
    """Bytes that a packed file may unpack to."""
    return min(LARGEST, max(_ALWAYS, _MOST_TIMES * os.fstat(file.fileno()).st_size))


def _texts(file: BinaryIO) -> Iterator[str]:
    size = os.fstat(file.fileno()).st_size
    plain = _plain(file)
    most = size if plain is file else _unpacked_most(file)
    decoder = getincrementaldecoder("utf-8-sig")("replace")
    while data := plain.read(_CHUNK):
        most -= len(data)
        if most < 0:
            raise Unreadable(f"it unpacks to more than fits into {size:,} bytes")
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


class _Scanner:
    """A text that is read piece by piece, and the place in it."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self._text = ""
        self._at = 0
        self._before = 0  # characters that were let go

    def documents(self) -> Iterator[tuple[str, Any]]:
        while begin := self._next():
            if begin == "[":
                yield from self._list("", may_end=True)
            elif begin == "{":
                yield from self._object()
            else:
                raise self._wrong("an object or a list should be")

    def _object(self) -> Iterator[tuple[str, Any]]:
        self._at += 1
        while self._next() != "}":
            key = self._value()
            if not isinstance(key, str) or self._next() != ":":
                raise self._wrong("a key should be")
            self._at += 1
            if self._next() == "[":
                yield from self._list(key)
            else:
                yield key, self._value()
            self._separator("}")
        self._at += 1

    def _list(self, key: str, *, may_end: bool = False) -> Iterator[tuple[str, Any]]:
        self._at += 1
        first, count = self._before + self._at, 0
        while (begin := self._next()) != "]":
            if not begin and may_end:
                yield "...", None
                return
            yield key, self._value()
            count += 1
            if count > _FEW + (self._before + self._at - first) // _LEAST:
                raise Unreadable("it consists of elements with next to nothing in them")
            if not (may_end and not self._next()):
                self._separator("]")
        self._at += 1

    def _separator(self, end: str) -> None:
        found = self._next()
        if found == ",":
            self._at += 1
        elif found != end:
            raise self._wrong(f"',' or {end!r} should be")

    def _next(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(1):
                return ""

    def _value(self) -> Any:
        wanted = 1
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                # What ends with the text may go on: a number of which half is there.
                if end < len(self._text) or not self._more(1):
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                where = self._before + error.pos
                if _NAN.match(self._text, error.pos):
                    self._text, mended = _AFTER_KEY.subn('":null', self._text)
                    if mended:
                        continue
                if not self._more(wanted):
                    raise Unreadable(f"{error.msg} at character {where:,}") from None
                # Twice as much each time: or a long value were read again and again.
                wanted = max(wanted, len(self._text))

    def _more(self, wanted: int) -> bool:
        """Read on; returns whether there was anything."""
        if self._at:
            self._before += self._at
            self._text, self._at = self._text[self._at :], 0
        found = []
        length = 0
        for text in self._texts:
            found.append(text)
            length += len(text)
            if length >= wanted:
                break
        if len(self._text) > _LARGEST_VALUE:
            raise Unreadable(f"a value has more than {_LARGEST_VALUE >> 20} Mi characters")
        self._text += "".join(found)
        return length > 0

    def _wrong(self, what: str) -> Unreadable:
        seen = repr(self._text[self._at : self._at + 1]) if self._next() else "the end"
        return Unreadable(f"{seen} where {what}, at character {self._before + self._at:,}")
