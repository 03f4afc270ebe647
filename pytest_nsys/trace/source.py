"""Where a trace's tables come from: a SQLite export or a folder of Parquet files."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_nsys.errors import ExportFailed, NotACapture
from pytest_nsys.trace.schema import COLUMNS

Ints = npt.NDArray[np.int64]

ABSENT = -1
"""What stands for NULL in columns of integers."""

_ROWS_AT_ONCE = 2**16


class Source(Protocol):
    """Tables by name."""

    def integers(self, name: str, columns: tuple[str, ...]) -> Mapping[str, Ints] | None:
        """The columns of the table that exist, of ``columns``; None where there is no table.

        Made for tables of millions of rows.

        Raises:
            ExportFailed: the table is damaged, or holds something else than integers.
        """

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """The columns of the table that exist, of ``columns``; None where there is no table."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def open_source(path: Path) -> Source:
    """The source for an export.

    Raises:
        NotACapture: it is not an export: no SQLite file or folder, or one of something else.
    """
    if path.is_dir():
        return ParquetSource(path)
    if not path.is_file():
        raise NotACapture(f"there is no file {path}", remedy="correct the path")
    return SqliteSource(path)


class SqliteSource:
    """A SQLite export, opened read-only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            if file.read(16) != b"SQLite format 3\0":
                raise NotACapture(
                    f"{path} is not an SQLite file",
                    remedy="give a .nsys-rep, an .sqlite made by 'nsys export', or a recording",
                )
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        # A range's name or a program's output may be of any encoding; the rest is still good.
        self._connection.text_factory = _decode
        try:
            self._check()
        except BaseException:
            self._connection.close()
            raise

    def _check(self) -> None:
        try:
            names = self._connection.execute("SELECT name FROM sqlite_master").fetchall()
        except sqlite3.DatabaseError as error:
            raise _damaged(self._path, f"list of tables: {error}") from error
        if COLUMNS.keys().isdisjoint(name for (name,) in names):
            raise _not_an_export(self._path)

    def __enter__(self) -> SqliteSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def _present(self, name: str, columns: tuple[str, ...]) -> list[str]:
        rows = self._connection.execute(f"PRAGMA table_info([{name}])").fetchall()
        present = {row[1] for row in rows}
        return [column for column in columns if column in present]

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """See `Source.table`."""
        try:
            chosen = self._present(name, columns)
            if not chosen:
                return None
            listed = ", ".join(f'"{column}"' for column in chosen)
            with closing(self._connection.execute(f"SELECT {listed} FROM [{name}]")) as cursor:
                rows = cursor.fetchall()
        except sqlite3.DatabaseError as error:
            raise _damaged(self._path, f"table {name}: {error}") from error
        return pd.DataFrame(rows, columns=chosen)

    def integers(self, name: str, columns: tuple[str, ...]) -> Mapping[str, Ints] | None:
        """See `Source.integers`."""
        try:
            chosen = self._present(name, columns)
            if not chosen:
                return None
            listed = ", ".join(f'COALESCE("{column}", {ABSENT})' for column in chosen)
            parts = []
            with closing(self._connection.execute(f"SELECT {listed} FROM [{name}]")) as cursor:
                while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                    values = itertools.chain.from_iterable(rows)
                    flat = np.fromiter(values, np.int64, len(rows) * len(chosen))
                    parts.append(flat.reshape(-1, len(chosen)).T.copy())
        except sqlite3.DatabaseError as error:
            raise _damaged(self._path, f"table {name}: {error}") from error
        except (ValueError, TypeError, OverflowError) as error:
            raise not_numeric(name, error) from None
        if not parts:
            return {column: np.empty(0, np.int64) for column in chosen}
        return {
            column: np.concatenate([part[number] for part in parts])
            for number, column in enumerate(chosen)
        }


class ParquetSource:
    """A folder with one Parquet file per table, read through pyarrow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not any((folder / f"{name}.parquet").is_file() for name in COLUMNS):
            raise _not_an_export(folder)

    def __enter__(self) -> ParquetSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """See `Source.table`."""
        from pyarrow import ArrowException

        try:
            table = self._read(name, columns)
            return None if table is None else _to_pandas(table)
        except (ArrowException, OSError) as error:
            raise _damaged(self._folder / f"{name}.parquet", str(error)) from error

    def integers(self, name: str, columns: tuple[str, ...]) -> Mapping[str, Ints] | None:
        """See `Source.integers`."""
        import pyarrow as pa

        try:
            table = self._read(name, columns)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._folder / f"{name}.parquet", str(error)) from error
        if table is None:
            return None
        found = {}
        for column in table.column_names:
            try:
                # Column by column, so that the table's own memory goes as ours grows.
                values = table.column(column).cast(pa.int64()).fill_null(ABSENT)
            except (pa.ArrowException, TypeError) as error:
                raise not_numeric(f"{name}.{column}", error) from None
            table = table.drop_columns([column])
            found[column] = values.to_numpy()
        return found

    def _read(self, name: str, columns: tuple[str, ...]) -> Any | None:
        """The Arrow table; None where there is none, or none of the columns."""
        from pyarrow import parquet as pq

        path = self._folder / f"{name}.parquet"
        if not path.is_file():
            return None
        with pq.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            chosen = [column for column in columns if column in present]
            return file.read(columns=chosen).select(chosen) if chosen else None


def _to_pandas(table: Any) -> pd.DataFrame:
    """An Arrow table with its texts decoded, whatever their encoding is."""
    import pyarrow as pa

    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            column = table.column(number)
            try:
                column.validate(full=True)
            except pa.ArrowInvalid:
                raw = column.cast(pa.binary()).to_pylist()
                texts = [None if text is None else _decode(text) for text in raw]
                table = table.set_column(number, field, pa.array(texts, field.type))
    return table.to_pandas()  # type: ignore[no-any-return]


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def not_numeric(what: str, evidence: object) -> ExportFailed:
    """A column that should hold integers does not."""
    return ExportFailed(
        f"the export cannot be understood: {what} is not numeric",
        evidence=str(evidence),
        remedy="export the report again, or with another nsys; a newer pytest-nsys may know it",
    )


def _damaged(path: Path, evidence: str) -> ExportFailed:
    return ExportFailed(
        f"{path} is damaged or was cut off",
        evidence=evidence,
        remedy="export the report again; check that the disk is not full",
    )


def _not_an_export(path: Path) -> NotACapture:
    return NotACapture(
        f"{path} holds none of the tables of an nsys export",
        remedy="give a .nsys-rep, an .sqlite made by 'nsys export', or a recording",
    )
