"""A SQLite file of unknown origin: read so that it ends, and takes memory as it has bytes.

SQLite runs what a file says: views and virtual tables compute rows, and pages that are there once
may be used many times, so that a few kB are rows without end. Here ordinary tables are read, in
their own order, and all that can be said of them is held against the size of the file: a row takes
some bytes of it, and so does each character. What is more than that is damage.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError, MemoryError)
"""What sqlite3 raises on damaged files; its own messages may quote undecodable bytes of them."""

_PLAIN = "CREATE TABLE "
"""How SQLite itself writes down an ordinary table, and nothing else."""

_LEAST_ROW = 5
"""Bytes of a row without its columns: where it is, its length, number and header; a column takes
one more at least."""

_STEPS = 1000
"""Steps of SQLite's machine between two looks at what it does; a row takes some ten or hundred."""

_SCHEMA_LOOKS = 1000
"""Looks while the list of tables is read: a million steps."""

_STEPS_OF_A_BYTE = 8

_PATIENCE_S = 4.0
_STEP_S = 20e-6
"""Longest time that a step may take, on average: a hundred times what one takes that does not
follow a chain of pages."""

_ROWS_OF_A_BLOCK = 2**14
_LONGEST_NUMBER = 25  # of a 64 bit integer, or a float; with a comma
_BEFORE_ALL = -(2**63)
"""A row of that number would be left out, and be missing in their count."""

_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)
_ASKS = ("table_info", "trusted_schema", "cell_size_check", "query_only")


class TooMuch(Exception):
    """The file gives more than it can hold."""


class Database:
    """A SQLite file, as it is: what lies beside it is not looked at.

    Args:
        path: the file.
        size: its bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._size = size
        self._characters = 0
        self._looks = 0
        self._seconds = 0.0
        self._most = 0
        self._stopped = ""
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._connection = sqlite3.connect(uri, uri=True)
        self._connection.text_factory = self._text
        self._connection.set_authorizer(_allowed)
        self._connection.set_progress_handler(self._look, _STEPS)

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def ordinary_tables(self) -> dict[str, bool]:
        """What can be read from, by name, and whether it is an ordinary table.

        Raises:
            TooMuch, `UNREADABLE`: the file is damaged.
        """
        with self._limited(_SCHEMA_LOOKS):
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            rows = self._connection.execute(
                "SELECT name, type = 'table' AND rootpage > 0 AND substr(sql, 1, ?) = ? "
                "FROM sqlite_master WHERE type IN ('table', 'view')",
                (len(_PLAIN), _PLAIN),
            ).fetchall()
        return {name: bool(plain) for name, plain in rows}

    def columns(self, name: str) -> list[str]:
        """The columns of a table, without those that are computed.

        Raises:
            TooMuch, `UNREADABLE`: the file is damaged.
        """
        with self._limited(_SCHEMA_LOOKS):
            rows = self._connection.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
        return [row[1] for row in rows]

    @contextmanager
    def rows(self, name: str, listed: Sequence[str]) -> Iterator[Iterator[tuple[Any, ...]]]:
        """The rows of an ordinary table, one after another.

        Args:
            name: of the table.
            listed: an expression for each value of a row.

        Raises:
            TooMuch, `UNREADABLE`: the file is damaged.
        """
        most = self._size // (_LEAST_ROW + len(listed))
        text = f"SELECT {', '.join(listed)} FROM {quoted(name)} NOT INDEXED LIMIT {most + 1}"
        with self._limited(), closing(self._connection.execute(text)) as cursor:
            yield itertools.islice(cursor, most)
            if next(cursor, None) is not None:
                raise TooMuch(f"it has more rows than fit into {self._size:,} bytes")

    @contextmanager
    def blocks(self, name: str, listed: Sequence[str]) -> Iterator[Iterator[tuple[int, list[str]]]]:
        """The rows of an ordinary table, many at a time: their number, and of each value the JSON
        list of what it is in them.

        That takes half as long as `rows`, and holds what `rows` does where it comes to its end.

        Args:
            name: of the table.
            listed: an expression for each value of a row, which is a number.

        Raises:
            TooMuch: the file is damaged.
            sqlite3.DatabaseError: it cannot be read so.
        """
        limit = getattr(self._connection, "setlimit", None)
        if limit is None or "rowid" in map(str.lower, self.columns(name)):
            raise sqlite3.NotSupportedError(f"{name} cannot be read in blocks")
        before = limit(sqlite3.SQLITE_LIMIT_LENGTH, _ROWS_OF_A_BLOCK * _LONGEST_NUMBER)
        try:
            with self._limited():
                yield self._blocks(name, listed)
        finally:
            limit(sqlite3.SQLITE_LIMIT_LENGTH, before)

    def _blocks(self, name: str, listed: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        most = self._size // (_LEAST_ROW + len(listed))
        table = f"{quoted(name)} NOT INDEXED"
        (expected,) = self._connection.execute(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM {table} LIMIT {most + 1})"
        ).fetchone()
        if expected > most:
            raise TooMuch(f"it has more rows than fit into {self._size:,} bytes")
        inner = ", ".join(f"{value} AS v{number}" for number, value in enumerate(listed))
        outer = ", ".join(f"json_group_array(v{number})" for number in range(len(listed)))
        text = (
            f"SELECT COUNT(*), MAX(at), {outer} FROM (SELECT rowid AS at, {inner} FROM {table} "
            f"WHERE rowid > ? ORDER BY rowid LIMIT {_ROWS_OF_A_BLOCK})"
        )
        last, done = _BEFORE_ALL, 0
        while done < expected:
            count, last, *lists = self._connection.execute(text, (last,)).fetchone()
            done += count
            if not count or done > expected:
                raise sqlite3.DatabaseError(f"{name}: its rows are not in their order")
            yield count, lists

    def count(self, name: str) -> int:
        """How many rows an ordinary table has.

        Raises:
            TooMuch, `UNREADABLE`: the file is damaged.
        """
        with self.rows(name, ("1",)) as found:  # COUNT(*) is one step, which nothing ends
            return sum(1 for _ in found)

    def not_an_integer(self, name: str, column: str) -> str | None:
        """The beginning of a value of a column that is none, as Python writes it; None if there is
        no such value."""
        text = (
            f"SELECT {quoted(column)} FROM {quoted(name)} NOT INDEXED "
            f"WHERE typeof({quoted(column)}) NOT IN ('integer', 'null') LIMIT 1"
        )
        with self._limited():
            row = self._connection.execute(text).fetchone()
        return None if row is None else f"{row[0]!r:.80}"

    @contextmanager
    def _limited(self, looks: int | None = None) -> Iterator[None]:
        self._most = looks or _SCHEMA_LOOKS + _STEPS_OF_A_BYTE * self._size // _STEPS
        self._looks, self._characters, self._stopped = 0, 0, ""
        self._seconds = time.thread_time()
        try:
            yield
        except sqlite3.OperationalError as error:
            if self._stopped:
                raise TooMuch(self._stopped) from None
            if str(error) == "interrupted":  # sqlite3 does not hand on what the look was ended by
                raise KeyboardInterrupt from None
            raise

    def _look(self) -> bool:
        """Whether SQLite is to give up."""
        self._looks += 1
        seconds = time.thread_time() - self._seconds
        if self._looks > self._most:
            self._stopped = f"it does not end within the rows that fit into {self._size:,} bytes"
        elif seconds > _PATIENCE_S and seconds > self._looks * _STEPS * _STEP_S:
            self._stopped = "its pages refer to each other"
        return bool(self._stopped)

    def _text(self, text: bytes) -> str:
        self._characters += len(text)
        # A database of UTF-16 hands out UTF-8, in which a character may take half as much again.
        if self._characters > 2 * self._size:
            raise TooMuch(f"it has more text than fits into {self._size:,} bytes")
        return decoded(text)


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def decoded(text: bytes) -> str:
    """Text of any encoding: that of a name or of a program's output; the rest is still good."""
    return text.decode("utf-8", "replace")


def _allowed(
    action: int, name: str | None, _second: str | None, _database: str | None, inside: str | None
) -> int:
    """Whether SQLite may do this: read, by what is asked here and not by what the file says."""
    if inside is None and (action in _READS or (action == sqlite3.SQLITE_PRAGMA and name in _ASKS)):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
