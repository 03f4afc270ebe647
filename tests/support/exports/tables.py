"""The tables of nsys 2025.3: their columns and types, and files that hold them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

VM = 1 << 48
"""The part of every global identifier that stands for the machine."""

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

_UINT64 = frozenset(
    "globalPid globalTid endGlobalTid address bytes domainId rangeId category contextId "
    "greenContextId streamId graphNodeId demangledName shortName mangledName nameId "
    "uint64Value".split()
)
_UINT32 = frozenset(
    "deviceId correlationId eventClass returnValue launchType registersPerThread eventType "
    "textId copyKind srcKind dstKind memKind".split()
)


class Strings:
    """The table StringIds: every text once."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {"[Unknown]": 0}

    def id(self, text: str) -> int:
        """The number of a text, which is new on first use."""
        return self.ids.setdefault(text, len(self.ids))

    def rows(self) -> list[Row]:
        """The table as it stands."""
        return [{"id": number, "value": text} for text, number in self.ids.items()]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        type: INTEGER, REAL or TEXT.
        needed: whether it is never NULL.
    """

    name: str
    type: str
    needed: bool

    @property
    def empty(self) -> int | str | None:
        """What it holds where nothing is said: NULL, or 0 or "" where it cannot be NULL."""
        if not self.needed:
            return None
        return "" if self.type == "TEXT" else 0

    def arrow_field(self, *, old: bool = False) -> pa.Field:
        """Itself in a Parquet file; ``old`` is that of nsys 2023.4."""
        import pyarrow as pa

        return pa.field(self.name, self._arrow_type(pa, old), nullable=not self.needed)

    def _arrow_type(self, pa: Any, old: bool) -> Any:
        if self.type == "TEXT":
            return pa.string() if old else pa.large_string()
        if self.type == "REAL":
            return pa.float64()
        if self.name in _UINT64:
            return pa.uint64()
        return pa.uint32() if self.name in _UINT32 and not old else pa.int64()


@cache
def statements() -> Mapping[str, str]:
    """The statement that creates each table, as the real nsys writes it."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(_written("schema.sql"))
        return dict(database.execute("SELECT name, sql FROM sqlite_master"))


@cache
def columns(table: str) -> tuple[Column, ...]:
    """The columns of a table, in their order."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(statements()[table])
        found = database.execute(f"PRAGMA table_info({table})").fetchall()
    return tuple(Column(name, kind, bool(needed)) for _, name, kind, needed, *_ in found)


@cache
def enums() -> Tables:
    """The tables that say what numbers mean."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(_written("schema.sql") + _written("enums.sql"))
        return {name: _rows(database, name) for name in statements() if name.startswith("ENUM_")}


def _written(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def full(table: str, rows: Sequence[Row]) -> list[Row]:
    """The rows with all columns that their table has."""
    empty = {column.name: column.empty for column in columns(table)}
    return [{**empty, **row} for row in rows]


def insert(database: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Create a table as nsys does, and fill it; what a row does not say is NULL."""
    database.execute(statements()[table])
    names = [column.name for column in columns(table)]
    if unknown := {name for row in rows for name in row} - set(names):
        raise ValueError(f"{table} has no column {', '.join(sorted(unknown))}")
    _fill(database, table, names, rows)


def write_sqlite(path: Path, tables: Tables) -> Path:
    """An SQLite file with these rows, of any type; tables have the columns of their rows alone."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")  # no waiting for the disk
        for name, rows in tables.items():
            if rows:
                insert_only(database, name, rows)
        database.commit()
    return path


def insert_only(database: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Create a table with the columns of its rows, and fill it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    listed = ", ".join(f'"{name}"' for name in names)
    database.execute(f"CREATE TABLE [{table}] ({listed})")
    _fill(database, table, names, rows)


def _fill(
    database: sqlite3.Connection, table: str, names: Sequence[str], rows: Sequence[Row]
) -> None:
    places = ", ".join("?" * len(names))
    values = [[row.get(name) for name in names] for row in rows]
    database.executemany(f"INSERT INTO [{table}] VALUES ({places})", values)


def changed(source: Path, target: Path, *statements: str) -> Path:
    """A copy of an SQLite export after some SQL."""
    shutil.copyfile(source, target)
    with closing(sqlite3.connect(target)) as database:
        database.execute("PRAGMA synchronous = OFF")  # no waiting for the disk
        for statement in statements:
            database.execute(statement)
        database.commit()
    return target


def loosened(table: str) -> tuple[str, str, str]:
    """Statements after which a table has no types, keys or constraints."""
    return (
        f"CREATE TABLE loosened AS SELECT * FROM [{table}]",
        f"DROP TABLE [{table}]",
        f"ALTER TABLE loosened RENAME TO [{table}]",
    )


def read_tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables of an SQLite export that have any."""
    with closing(sqlite3.connect(path)) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
        tables = {name: _rows(database, name) for name in names}
    return {name: rows for name, rows in tables.items() if rows}


def _rows(database: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    cursor = database.execute(f"SELECT * FROM [{table}]")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
