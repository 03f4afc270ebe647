"""Exports made row by row, and traces compared value by value."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from pytest_nsys.trace import Trace, schema

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

PID = 7 << 24
"""A process as exports write it; its threads are ``PID + n``."""

OTHER_PID = 8 << 24


def write_sqlite(path: Path, tables: Tables) -> Path:
    """An SQLite export with these rows; the columns of a table are those of its first row."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")  # no waiting for the disk
        for name, rows in tables.items():
            columns = list(rows[0])
            listed = ", ".join(f'"{column}"' for column in columns)
            database.execute(f"CREATE TABLE [{name}] ({listed})")
            places = ", ".join("?" * len(columns))
            database.executemany(
                f"INSERT INTO [{name}] VALUES ({places})",
                [[row.get(column) for column in columns] for row in rows],
            )
        database.commit()
    return path


def read_tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables of an SQLite export that have any."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
        tables = {
            name: [dict(row) for row in database.execute(f"SELECT * FROM [{name}]")]
            for name in names
        }
    return {name: rows for name, rows in tables.items() if rows}


def shuffled(tables: Tables, seed: int) -> Tables:
    """The same rows in another order."""
    shuffle = random.Random(seed)
    return {name: shuffle.sample(rows, len(rows)) for name, rows in tables.items()}


def assert_same_trace(one: Trace, other: Trace, *, but: Sequence[str] = ()) -> None:
    """Two traces hold the same; the attributes named in ``but`` are not compared."""
    for field in fields(Trace):
        if field.name in but:
            continue
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, pd.DataFrame):
            assert list(left.columns) == list(right.columns), field.name
            assert left.astype(object).values.tolist() == right.astype(object).values.tolist(), (
                field.name
            )
        else:
            assert left == right, field.name


def call(start: int, end: int, correlation: int, name: int = 1, tid: int = PID + 1) -> Row:
    """A row of the API calls."""
    return {
        "start": start,
        "end": end,
        "globalTid": tid,
        "correlationId": correlation,
        "nameId": name,
    }


def kernel(start: int, end: int, correlation: int, pid: int = PID, **values: Any) -> Row:
    """A row of the kernels."""
    return {
        "start": start,
        "end": end,
        "deviceId": 0,
        "contextId": 1,
        "streamId": 7,
        "correlationId": correlation,
        "globalPid": pid,
        "demangledName": 2,
        "shortName": 3,
        "graphNodeId": None,
        **values,
    }


def nvtx(start: int | None, end: int | None, kind: int, **values: Any) -> Row:
    """A row of the NVTX events."""
    return {
        "start": start,
        "end": end,
        "eventType": kind,
        "text": None,
        "textId": None,
        "globalTid": PID + 1,
        "domainId": 0,
        **values,
    }


STRINGS: Sequence[Row] = (
    {"id": 1, "value": "cudaLaunchKernel"},
    {"id": 2, "value": "void gemm<float>(float*)"},
    {"id": 3, "value": "gemm"},
    {"id": 4, "value": "registered"},
    {"id": 5, "value": "never used"},
)

SMALL: Tables = {
    schema.STRINGS: STRINGS,
    schema.RUNTIME: [call(10, 20, 1), call(30, 40, 2)],
    schema.KERNEL: [kernel(15, 115, 1), kernel(120, 220, 2)],
    schema.EXPORT: [
        {"name": "EXPORT_PRODUCT_VERSION", "value": "2025.3.1.90"},
        {"name": "EXPORT_SCHEMA_VERSION", "value": "3.20.3"},
    ],
}
"""Two kernels and their launches."""
