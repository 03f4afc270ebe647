"""Exports that may be damaged in any way: statistics, or one error that says what is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_nsys.cli.main import main
from pytest_nsys.support.xz import unpack
from pytest_nsys.trace import schema
from tests.support.exports.tables import changed, loosened
from tests.support.harness import TESTS
from tests.support.mutations import changed_bytes

CAPTURES = TESTS / "captures"

VALUES = (
    None,
    "",
    "text",
    "\x1b[2J",
    b"\0\xff",
    -1,
    0,
    1,
    2**31,
    2**62,
    2**63 - 1,
    -(2**63),
    1.5,
    -1e308,
    1e308,
    math.inf,
)
"""What a cell of SQLite can hold, whatever type its column has."""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small exports whose tables take anything; between them they have what we read."""
    folder = tmp_path_factory.mktemp("exports")
    found = []
    for name in ("triton", "unified", "graph_graph"):
        real = folder / f"real-{name}.sqlite"
        unpack(CAPTURES / f"{name}.sqlite.xz", real)
        with closing(sqlite3.connect(real)) as database:
            statements = [line for table in tables(database) for line in loosened(table)]
        found.append(changed(real, folder / f"{name}.sqlite", *statements))
    return found


def tables(database: sqlite3.Connection) -> list[str]:
    """Its tables that are read."""
    rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [name for (name,) in rows if name in schema.COLUMNS]


def columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f"PRAGMA table_info([{table}])")]


@st.composite
def change(draw: st.DrawFn, database: sqlite3.Connection) -> str:
    """A statement that damages it, carried out."""
    table = draw(st.sampled_from(tables(database)))
    column = draw(st.sampled_from(columns(database, table)))
    rows = database.execute(f"SELECT count(*) FROM [{table}]").fetchone()[0]
    first = draw(st.integers(0, max(0, rows - 1)))
    last = draw(st.sampled_from([first, rows]))
    these = f"rowid - 1 BETWEEN {first} AND {last}"
    value: tuple[Any, ...] = ()
    how = draw(st.sampled_from(["set", "set", "set", "add", "swap", "delete", "double", "drop"]))
    if how == "set":
        statement, value = f"UPDATE [{table}] SET [{column}] = ?", (draw(st.sampled_from(VALUES)),)
    elif how == "add":
        amount = draw(st.sampled_from([-1, 1, 10**6, 10**15]))
        statement = f"UPDATE [{table}] SET [{column}] = [{column}] + {amount}"
    elif how == "swap":
        other = draw(st.sampled_from(columns(database, table)))
        statement = f"UPDATE [{table}] SET [{column}] = [{other}], [{other}] = [{column}]"
    elif how == "delete":
        statement = f"DELETE FROM [{table}]"
    elif how == "double":
        statement = f"INSERT INTO [{table}] SELECT * FROM [{table}]"
    else:
        these = ""
        whole = draw(st.booleans()) or len(columns(database, table)) == 1
        statement = (
            f"DROP TABLE [{table}]" if whole else f"ALTER TABLE [{table}] DROP COLUMN [{column}]"
        )
    statement += f" WHERE {these}" if these else ""
    database.execute(statement, value)
    return f"{statement} {value}"


@contextlib.contextmanager
def copy_of(export: Path) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(export, Path(folder) / "capture.sqlite"))


def statistics(path: Path, *options: str) -> None:
    """``pytest-nsys stats``: JSON with numbers, or an error that says what is wrong."""
    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        code = main(["stats", str(path), "--format=json", *options])
    said = complained.getvalue()
    assert "Traceback" not in said
    if code == 0:
        check(json.loads(printed.getvalue(), parse_constant=_no_number))
    else:
        assert "What to do: " in said, said
        assert len(said) < 4000


def _no_number(text: str) -> None:
    raise AssertionError(f"{text} in JSON")


def check(value: object) -> None:
    """Nothing counted or timed is below zero."""
    if isinstance(value, dict):
        for key, inside in value.items():
            if key in ("count", "total_ns", "bytes", "min_ns", "max_ns"):
                assert not isinstance(inside, int | float) or inside >= 0, (key, inside)
            check(inside)
    elif isinstance(value, list):
        for inside in value:
            check(inside)


@settings(max_examples=60)
@given(data=st.data())
def test_changed_values_are_measured_or_refused(exports: Sequence[Path], data: Any) -> None:
    with copy_of(data.draw(st.sampled_from(exports))) as path:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA synchronous = OFF")
            for _ in range(data.draw(st.integers(1, 3))):
                if tables(database):
                    data.draw(change(database))
            database.commit()
        statistics(path)


@settings(max_examples=25)
@given(data=st.data())
def test_changed_bytes_are_measured_or_refused(exports: Sequence[Path], data: Any) -> None:
    export = data.draw(st.sampled_from(exports))
    with copy_of(export) as path:
        path.write_bytes(data.draw(changed_bytes(export.read_bytes())))
        statistics(path)
