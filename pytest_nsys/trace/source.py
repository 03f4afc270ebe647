"""Where a trace's tables come from: a SQLite export or a folder of Parquet files."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import sqlite3
import warnings
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pytest_nsys.errors import ExportFailed, ExportNotUnderstood, NotACapture
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.support.files import open_file
from pytest_nsys.trace.database import UNREADABLE, Database, TooMuch, decoded, quoted
from pytest_nsys.trace.schema import COLUMNS, NEEDED, Packing

ABSENT = -1
"""What stands for NULL in columns of integers."""

_ROWS_AT_ONCE = 2**16
_ROWS_OF_A_BLOCK = 2**20
_FEW_ROWS = 2**16
_ROWS_OF_A_BYTE = 16
"""Of a Parquet file, in which what repeats itself takes little: in no table of an export do all
columns."""

_GIVE = "give a report of nsys (.nsys-rep, .qdrep), an .sqlite that it exported, or a recording"

_HEADER = 100
"""Bytes of the header of an SQLite file."""


class Source(Protocol):
    """Tables by name.

    A table without one of the columns that give it its meaning cannot be understood: both
    methods raise `ExportFailed`, which names table and column.
    """

    def integers(
        self,
        name: str,
        columns: tuple[str, ...],
        packed: Mapping[str, Packing] = MappingProxyType({}),
    ) -> Mapping[str, Ints] | None:
        """The columns of the table that exist, of ``columns``; None where there is no table.

        Made for tables of millions of rows.

        Args:
            name: of the table.
            columns: that are wanted.
            packed: by a name for it, columns that are wanted as one; it is left out where one of
                them does not exist, and `ABSENT` in a row where one is NULL. Of a number that has
                more bits than it may have, or of what is no integer, the rest is lost.

        Raises:
            ExportFailed: the table is damaged, or holds something else than integers.
        """

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """The columns of the table that exist, of ``columns``; None where there is no table.

        Integers are exact, also beside NULLs.
        """

    def extents(self) -> dict[str, tuple[int, int]]:
        """Every table that there is, also one that is not read, with its rows and columns.

        Raises:
            ExportFailed: one is damaged.
        """


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The source for an export, for as long as the block.

    Raises:
        NotACapture: it is not an export: no SQLite file or folder, or one of something else.
    """
    if path.is_dir():
        yield ParquetSource(path)
        return
    if not path.is_file():
        raise NotACapture(f"there is no file {path}", remedy="correct the path")
    with closing(SqliteSource(path)) as source:
        yield source


class SqliteSource:
    """A SQLite export, opened read-only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with open_file(path) as file:
                header = file.read(_HEADER)
                size = file.seek(0, os.SEEK_END)
        except OSError as error:
            raise NotACapture(
                f"{path} cannot be read", evidence=str(error), remedy="make it readable"
            ) from None
        if header[:16] != b"SQLite format 3\0":
            raise NotACapture(
                f"{path} is not an SQLite file",
                remedy=_GIVE,
            )
        _check_size(path, header, size)
        _check_alone(path)
        self._database = Database(path, size)
        try:
            self._check()
        except BaseException:
            self._database.close()
            raise

    def _check(self) -> None:
        with self._damaged("list of tables"):
            ordinary = self._database.ordinary_tables()
        odd = sorted(COLUMNS.keys() & {name for name, plain in ordinary.items() if not plain})
        if odd:
            raise _damaged(self._path, f"{odd[0]} is no ordinary table")
        self._tables = COLUMNS.keys() & ordinary.keys()
        if not self._tables:
            raise _not_an_export(self._path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _damaged(self, what: str) -> Iterator[None]:
        try:
            yield
        except (*UNREADABLE, TooMuch) as error:
            raise _damaged(self._path, f"{what}: {error}") from error

    def _present(self, name: str, columns: tuple[str, ...]) -> list[str] | None:
        if name not in self._tables:
            return None
        return _chosen(name, columns, {*self._database.columns(name)})

    def extents(self) -> dict[str, tuple[int, int]]:
        """See `Source.extents`."""
        with self._damaged("number of rows"):
            names = [name for name, plain in self._database.ordinary_tables().items() if plain]
            return {
                name: (self._database.count(name), len(self._database.columns(name)))
                for name in names
            }

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """See `Source.table`."""
        with self._damaged(f"table {name}"):
            chosen = self._present(name, columns)
            if chosen is None:
                return None
            # Bytes are counted as texts are: SQLite takes any value in any column.
            listed = [
                f"CASE WHEN typeof({c}) = 'blob' THEN CAST({c} AS TEXT) ELSE {c} END"
                for c in map(quoted, chosen)
            ]
            with self._database.rows(name, listed) as found:
                rows = list(found)
        return pd.DataFrame(rows, columns=chosen, dtype=object)

    def integers(
        self,
        name: str,
        columns: tuple[str, ...],
        packed: Mapping[str, Packing] = MappingProxyType({}),
    ) -> Mapping[str, Ints] | None:
        """See `Source.integers`."""
        with self._damaged(f"table {name}"):
            chosen = self._present(name, columns)
            if not chosen:
                return None if chosen is None else {}
            listed = [f"COALESCE({quoted(column)}, {ABSENT})" for column in chosen]
            together = complete(packed, {*self._database.columns(name)} if packed else ())
            listed += [f"COALESCE({_sql_of(packing)}, {ABSENT})" for packing in together.values()]
            names = [*chosen, *together]
            at_once = self._at_once(name, listed)
            if at_once is not None:
                return dict(zip(names, at_once, strict=True))
            parts = []
            try:
                with self._database.rows(name, listed) as found:
                    # Other than numpy, arrays refuse what is not an integer.
                    while part := array(
                        "q", itertools.chain.from_iterable(itertools.islice(found, _ROWS_AT_ONCE))
                    ):
                        flat = np.frombuffer(part, np.int64)
                        parts.append(flat.reshape(-1, len(names)).T.copy())
            except TypeError:
                raise self._not_integers(name, chosen) from None
        if not parts:
            return {column: np.empty(0, np.int64) for column in names}
        return {
            column: np.concatenate([part[number] for part in parts])
            for number, column in enumerate(names)
        }

    def _at_once(self, name: str, listed: Sequence[str]) -> list[Ints] | None:
        """The integers of a table by `Database.blocks`; None where one is something else, or the
        table is no usual one: then row by row shows what is wrong, if anything is."""
        parts: list[list[Ints]] = []
        try:
            with warnings.catch_warnings(), self._database.blocks(name, listed) as blocks:
                warnings.simplefilter(
                    "error", DeprecationWarning
                )  # numpy's, for other than numbers
                for count, lists in blocks:
                    part = [np.fromstring(text[1:-1], np.int64, sep=",") for text in lists]
                    if any(len(column) != count for column in part):
                        return None
                    parts.append(part)
        except (sqlite3.DatabaseError, ValueError, DeprecationWarning):
            return None
        return [np.concatenate(of) for of in zip(*parts, strict=True)] if parts else None

    def _not_integers(self, name: str, columns: Sequence[str]) -> ExportFailed:
        for column in columns:
            value = self._database.not_an_integer(name, column)
            if value is not None:
                return not_numeric(f"{name}.{column}", f"{value} is not an integer")
        raise AssertionError(name)


def _check_size(path: Path, header: bytes, size: int) -> None:
    """Refuse a file shorter than its header says, of which SQLite would miss less than a page.

    See https://www.sqlite.org/fileformat.html#the_database_header.
    """
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    is_valid = header[24:28] == header[92:96]
    whole = (65536 if page == 1 else page) * pages
    if len(header) < _HEADER or (is_valid and size < whole):
        raise _damaged(path, f"it has {size} of {max(whole, _HEADER)} bytes")


def _check_alone(path: Path) -> None:
    """Refuse a file beside which SQLite keeps changes that are not in it yet: it is read as it
    is, and what nobody has looked at is not put into it."""
    for suffix in ("-wal", "-journal"):
        other = path.with_name(path.name + suffix)
        with contextlib.suppress(OSError), open_file(other) as file:
            if file.read(1).strip(b"\0"):
                raise _damaged(path, f"its last changes are not in it, but in {other.name}")


def _chosen(name: str, columns: tuple[str, ...], present: Set[str]) -> list[str]:
    """The columns that exist, of those asked for."""
    missing = [c for c in columns if c in NEEDED.get(name, ()) and c not in present]
    if missing:
        raise not_understood(f"{name} has no column {', '.join(missing)}")
    return [column for column in columns if column in present]


def complete(packed: Mapping[str, Packing], present: Collection[str]) -> dict[str, Packing]:
    """Those of which all columns exist."""
    return {
        name: packing
        for name, packing in packed.items()
        if all(column in present for column, _ in packing)
    }


def _sql_of(packing: Packing) -> str:
    """The SQL expression for columns as one number."""
    parts, below = [], sum(bits for _, bits in packing)
    for column, bits in packing:
        below -= bits
        parts.append(f"(({quoted(column)} & {2**bits - 1}) << {below})")
    return " | ".join(parts)


def joined(packing: Packing, column: Callable[[str], Ints]) -> Ints:
    """The same of columns that are there already, by their names."""
    parts = [(column(name), bits) for name, bits in packing]
    total = np.zeros(len(parts[0][0]), dtype=np.int64)
    absent = np.zeros(len(total), dtype=np.bool_)
    for values, bits in parts:
        absent |= values == ABSENT
        total = total << bits | values & (2**bits - 1)
    total[absent] = ABSENT
    return total


def _packed(
    name: str,
    columns: Sequence[str],
    values: Iterable[Any],
    rows: Sequence[tuple[object, ...]],
) -> Ints:
    try:
        return np.frombuffer(array("q", values), np.int64)
    except TypeError:
        raise _not_integers(name, columns, rows) from None


def _not_integers(
    name: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> ExportFailed:
    column, value = next(
        (column, value)
        for row in rows
        for column, value in zip(columns, row, strict=True)
        if not isinstance(value, int)
    )
    return not_numeric(f"{name}.{column}", f"{value!r:.80} is not an integer")


class ParquetSource:
    """A folder with one Parquet file per table, read through pyarrow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not any((folder / f"{name}.parquet").is_file() for name in COLUMNS):
            raise _not_an_export(folder)
        if importlib.util.find_spec("pyarrow") is None:
            raise NotACapture(
                f"{folder} is a folder of Parquet files, and pyarrow is not installed",
                remedy="pip install pyarrow, or export to SQLite",
            )

    def extents(self) -> dict[str, tuple[int, int]]:
        """See `Source.extents`."""
        found = {}
        for path in sorted(self._folder.glob("*.parquet")):
            with self._read(path) as file:
                found[path.stem] = file.metadata.num_rows, file.metadata.num_columns
        return found

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """See `Source.table`."""
        with self._opened(name, columns) as opened:
            if opened is None:
                return None
            file, chosen = opened
            table = file.read(columns=chosen).select(chosen)
            table.validate()
        return _to_pandas(table)

    def integers(
        self,
        name: str,
        columns: tuple[str, ...],
        packed: Mapping[str, Packing] = MappingProxyType({}),
    ) -> Mapping[str, Ints] | None:
        """See `Source.integers`."""
        with self._opened(name, columns) as opened:
            if opened is None:
                return None
            file, chosen = opened
            together = complete(packed, file.schema_arrow.names)
            parts = [column for packing in together.values() for column, _ in packing]
            rows = file.metadata.num_rows
            found = {column: np.empty(rows, dtype=np.int64) for column in (*chosen, *together)}
            done = 0
            # Some at a time: what Arrow holds of a table is as large as the table.
            for block in file.iter_batches(_ROWS_OF_A_BLOCK, columns=[*chosen, *parts]):
                until = done + len(block)
                whole = partial(_whole_column, name, block)
                for column in chosen:
                    found[column][done:until] = whole(column)
                for column, packing in together.items():
                    found[column][done:until] = joined(packing, whole)
                done = until
        if done != rows:
            raise _damaged(self._path(name), f"it holds {done} of {rows} rows")
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    @contextmanager
    def _opened(
        self, name: str, columns: tuple[str, ...]
    ) -> Iterator[tuple[Any, list[str]] | None]:
        """The file of a table and the columns that exist; None where there is no table."""
        path = self._path(name)
        if not path.is_file():
            yield None
            return
        with self._read(path) as file:
            most = _FEW_ROWS + _ROWS_OF_A_BYTE * path.stat().st_size
            if file.metadata.num_rows > most:
                raise _damaged(path, f"it cannot hold {file.metadata.num_rows:,} rows")
            yield file, _chosen(name, columns, set(file.schema_arrow.names))

    @contextmanager
    def _read(self, path: Path) -> Iterator[Any]:
        """A file; what goes wrong in reading it is a damaged file."""
        import pyarrow as pa
        from pyarrow import parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                yield file
        except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _whole_column(name: str, block: Any, column: str) -> Ints:
    """A column of rows of a table that Arrow has read, as integers."""
    return _whole(f"{name}.{column}", block.column(column))


def _whole(column: str, values: Any) -> Ints:
    """An Arrow array as integers."""
    import pyarrow as pa

    if not (pa.types.is_integer(values.type) or pa.types.is_null(values.type)):
        raise not_numeric(column, f"it holds {values.type}")
    # Unsigned numbers of 64 bits become what SQLite, which has none, stores for them.
    whole = values.cast(pa.int64(), safe=False)
    if whole.null_count:
        whole = whole.fill_null(ABSENT)
    found: Ints = whole.to_numpy(zero_copy_only=False)
    return found


def _to_pandas(table: Any) -> pd.DataFrame:
    """An Arrow table with its texts decoded, whatever their encoding is."""
    import pyarrow as pa

    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = table.column(number)
            try:
                column.validate(full=True)
            except pa.ArrowInvalid:
                binary = pa.binary() if pa.types.is_string(field.type) else pa.large_binary()
                raw = column.cast(binary).to_pylist()
                texts = [None if text is None else decoded(text) for text in raw]
                table = table.set_column(number, field, pa.array(texts, field.type))
    return table.to_pandas(integer_object_nulls=True)  # type: ignore[no-any-return]


def texts(values: pd.Series) -> list[str]:
    """A column of texts; NULL is "", and bytes are decoded."""
    return [
        value if isinstance(value, str) else _as_text(value)
        for value in values.astype(object).tolist()
    ]


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return decoded(value)
    return "" if value is None or value != value else str(value)  # NaN is not itself


def whole_numbers(table: str, values: pd.Series) -> Ints:
    """A column of integers of `Source.table`; NULL is `ABSENT`.

    Raises:
        ExportFailed: it holds something else.
    """
    if values.dtype.kind == "i":
        return values.to_numpy(np.int64)
    if values.dtype.kind == "u":
        return values.to_numpy(np.uint64).astype(np.int64)
    found = [ABSENT if value is None else value for value in values.tolist()]
    # As in `ParquetSource.integers`: unsigned numbers become what SQLite stores for them.
    signed = [v - 2**64 if isinstance(v, int) and v >= 2**63 else v for v in found]
    return _packed(table, [str(values.name)], signed, [(value,) for value in found])


def not_numeric(what: str, evidence: object) -> ExportFailed:
    """A column that should hold integers does not."""
    return not_understood(f"{what} is not numeric", evidence)


def not_understood(what: str, evidence: object = "") -> ExportNotUnderstood:
    """The export is whole, and its meaning is not known."""
    return ExportNotUnderstood(
        f"the export cannot be understood: {what}",
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
        remedy=_GIVE,
    )
