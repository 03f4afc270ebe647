"""Searching what a run leaves for words that should not be in it, however they are packed."""

from __future__ import annotations

import base64
import bz2
import gzip
import html
import io
import json
import lzma
import sqlite3
import tempfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

_SQLITE = b"SQLite format 3\0"
_DEEPEST = 4


def forms(word: str) -> set[bytes]:
    """The ways in which a word may be written in a file."""
    plain = word.encode()
    found = {
        plain,
        plain.lower(),
        plain.upper(),
        word.encode("utf-16-le"),
        word.encode("utf-16-be"),
        plain.hex().encode(),
        plain[::-1],
        urllib.parse.quote(word, safe="").encode(),
        html.escape(word).encode(),
        json.dumps(word)[1:-1].encode(),
    }
    # In base64 a word looks different at each of three places; its ends depend on what is beside.
    for before in range(3):
        packed = base64.b64encode(b"\0" * before + plain).rstrip(b"=")
        found.add(packed[4 if before else 0 : len(packed) // 4 * 4 - 4])
    return found


def layers(name: str, data: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The data itself and, one inside the other, what is packed in it."""
    yield name, data
    if depth == _DEEPEST:
        return
    for inner, unpacked in _unpacked(data):
        yield from layers(f"{name}!{inner}", unpacked, depth + 1)


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(b"\xfd7zXZ\0"):
        yield "xz", lzma.decompress(data)
    elif data.startswith(b"\x1f\x8b"):
        yield "gzip", gzip.decompress(data)
    elif data.startswith(b"BZh"):
        yield "bzip2", bz2.decompress(data)
    elif data.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield member, archive.read(member)
    elif data.startswith(_SQLITE):
        yield "values", b"\n".join(_values(data))
    else:
        yield from _streams(data)


def _streams(data: bytes) -> Iterator[tuple[str, bytes]]:
    """zlib streams anywhere in the data, as in nsys's own reports."""
    for magic in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
        place = data.find(magic)
        while place >= 0:
            try:
                unpacked = zlib.decompressobj().decompress(data[place:])
            except zlib.error:
                unpacked = b""
            if len(unpacked) > 16:
                yield f"zlib@{place}", unpacked
            place = data.find(magic, place + 1)


def _values(data: bytes) -> Iterator[bytes]:
    """Every value of every table: long ones are in pieces in the file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield from _rows(file.name)


def _rows(path: str) -> Iterator[bytes]:
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f'SELECT * FROM "{table.decode()}"'):
                for value in row:
                    yield value if isinstance(value, bytes) else str(value).encode()


def files(place: Path) -> list[Path]:
    """The file, or all files in the folder."""
    return [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())


def find(words: Mapping[str, str], data: bytes, name: str = "") -> set[tuple[str, str]]:
    """Which words are in the data, and where: pairs of key and place."""
    written = {key: forms(word) for key, word in words.items()}
    return {
        (key, place)
        for place, content in layers(name, data)
        for key, ways in written.items()
        if any(way in content for way in ways)
    }


def leaked(words: Mapping[str, str], place: Path) -> dict[str, list[str]]:
    """The keys of the words that are in a file or folder, names of files included, with where."""
    found: dict[str, set[str]] = {}
    for path in files(place):
        name = str(path.relative_to(place.parent))
        for key, where in find(words, path.read_bytes(), name) | find(words, name.encode(), name):
            found.setdefault(key, set()).add(where)
    return {key: sorted(where) for key, where in found.items()}
