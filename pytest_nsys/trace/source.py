"""Where a trace's tables come from: a SQLite export or a folder of Parquet files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Protocol

import pandas as pd

from pytest_nsys.errors import ExportFailed, NotACapture


class Source(Protocol):
    """Tables by name."""

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
        NotACapture: it is neither a SQLite file nor a folder.
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

    def __enter__(self) -> SqliteSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """See `Source.table`."""
        try:
            with closing(self._connection.cursor()) as cursor:
                present = {row[1] for row in cursor.execute(f"PRAGMA table_info([{name}])")}
                chosen = [column for column in columns if column in present]
                if not chosen:
                    return None
                listed = ", ".join(f'"{column}"' for column in chosen)
                rows = cursor.execute(f"SELECT {listed} FROM [{name}]").fetchall()
        except sqlite3.DatabaseError as error:
            raise ExportFailed(
                f"{self._path} is damaged or was cut off",
                evidence=f"table {name}: {error}",
                remedy="export the report again; check that the disk is not full",
            ) from error
        return pd.DataFrame(rows, columns=chosen)


class ParquetSource:
    """A folder with one Parquet file per table, read through pyarrow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
        from pyarrow import parquet as pq

        path = self._folder / f"{name}.parquet"
        if not path.is_file():
            return None
        try:
            present = set(pq.read_schema(path).names)
            chosen = [column for column in columns if column in present]
            if not chosen:
                return None
            frame: pd.DataFrame = pq.read_table(path, columns=chosen).to_pandas()
        except (ArrowException, OSError) as error:
            raise ExportFailed(
                f"{path} is damaged or was cut off",
                evidence=str(error),
                remedy="export the report again; check that the disk is not full",
            ) from error
        return frame[chosen]
