"""Scrubbing: of a capture, the tables, columns and rows that we read, and nothing else.

What nsys stores of environment, command lines, processes, folders and output is thereby not in
the copy. It is an allowlist: what a later nsys adds is left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.support.text import without_folders
from pytest_nsys.support.xz import pack
from pytest_nsys.trace import schema
from pytest_nsys.trace.schema import NvtxType, process_id
from pytest_nsys.trace.source import Source, open_source, texts, whole_numbers
from pytest_nsys.windows.record import DOMAIN

_RANGES = (NvtxType.PUSH_POP, NvtxType.START_END)
_STRING_IDS = ("demangledName", "shortName", "nameId", "textId")

_TEXTS: Mapping[str, tuple[str, ...]] = {
    schema.NVTX: ("text",),
    schema.STRINGS: ("value",),
    schema.SAMPLED: ("metricName",),
    schema.DIAGNOSTIC: ("text",),
    schema.GPU: ("name",),
    schema.SYSTEM: ("name", "value"),
    schema.EXPORT: ("name", "value"),
    schema.OLD_EXPORT: ("name", "value"),
}
"""The columns of texts; of the columns that are read, all others are of integers."""


@dataclass(frozen=True)
class ScrubbedTable:
    """What became of one table.

    Attributes:
        name: of the table.
        rows: its rows in the capture.
        kept: its rows in the copy; 0 where the table is not in it.
        columns: its columns in the capture.
        kept_columns: its columns in the copy.
    """

    name: str
    rows: int
    kept: int
    columns: int
    kept_columns: int


@dataclass(frozen=True)
class Scrubbed:
    """What was kept of a capture, and what was dropped.

    Attributes:
        tables: every table of the capture, by name.
        bytes_before: of the capture.
        bytes_after: of the packed copy.
    """

    tables: tuple[ScrubbedTable, ...]
    bytes_before: int
    bytes_after: int


def scrub(export: Path, target: Path, *, hide_ranges: bool = False) -> Scrubbed:
    """Copy what we read of an export into a small ``.sqlite.xz``.

    Args:
        export: a SQLite export, or a folder of Parquet files.
        target: the copy; what is there is replaced.
        hide_ranges: replace the texts and domains of NVTX ranges by numbers.

    Raises:
        NotACapture: it is no export.
        ExportFailed: it is damaged.
        NoRunFolder: there is no place to make it in.
        OSError: the copy cannot be written.
    """
    with RunFolder() as folder:
        clean = folder.path / "clean.sqlite"
        with open_source(export) as source, closing(sqlite3.connect(clean)) as connection:
            kept = dict(_copy_tables(source, connection, hide_ranges=hide_ranges))
            connection.commit()
            connection.execute("VACUUM")
            extents = source.extents()
        pack(clean, target)
    tables = []
    for name, (rows, columns) in sorted(extents.items()):
        kept_rows, kept_columns = kept.get(name, (0, 0))
        tables.append(ScrubbedTable(name, rows, kept_rows, columns, kept_columns))
    return Scrubbed(tuple(tables), _size(export), target.stat().st_size)


def _copy_tables(
    source: Source, connection: sqlite3.Connection, *, hide_ranges: bool
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Copy; gives each table with its numbers of rows and columns."""
    strings = source.table(schema.STRINGS, schema.COLUMNS[schema.STRINGS])
    used: set[int] = set()
    for name, columns in schema.COLUMNS.items():
        if name == schema.STRINGS or name in schema.PASSING:
            continue
        table = source.table(name, columns)
        if table is None:
            continue
        table = _allowed_rows(name, table)
        if name == schema.NVTX and hide_ranges:
            table = _hidden(table, _by_id(strings))
        for column in _STRING_IDS:
            if column in table:
                used.update(pd.unique(whole_numbers(name, table[column])).tolist())
        yield name, _write_table(connection, name, table)
    if strings is not None:
        kept = np.isin(whole_numbers(schema.STRINGS, strings["id"]), list(used))
        yield schema.STRINGS, _write_table(connection, schema.STRINGS, strings[kept])


def _allowed_rows(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Rows that say something of the capture and nothing of the machine it was made on."""
    if name == schema.SYSTEM:
        return table[_among(table["name"], schema.SYSTEM_NAMES)]
    if name in (schema.EXPORT, schema.OLD_EXPORT):
        return table[_among(table["name"], schema.EXPORT_NAMES)]
    if name == schema.DIAGNOSTIC:
        said = table[whole_numbers(name, table["severity"]) > 1]
        # nsys names the folders of its own build in them, and those of the program.
        return said.assign(text=[without_folders(text) for text in texts(said["text"])])
    if name == schema.NVTX:
        kinds = (*_RANGES, NvtxType.DOMAIN_CREATE)
        return table[np.isin(whole_numbers(name, table["eventType"]), kinds)]
    return table


def _among(column: pd.Series, names: Sequence[str]) -> list[bool]:
    return [text in names for text in texts(column)]


def _by_id(strings: pd.DataFrame | None) -> Mapping[int, str]:
    if strings is None:
        return {}
    ids = whole_numbers(schema.STRINGS, strings["id"]).tolist()
    return dict(zip(ids, texts(strings["value"]), strict=True))


def _hidden(events: pd.DataFrame, strings: Mapping[int, str]) -> pd.DataFrame:
    """NVTX events with numbers for texts: the same text has the same number.

    The plugin's own domain keeps its name, and its ranges the number by which they are found.
    """
    shown = _shown_texts(events, strings)
    is_domain = whole_numbers(schema.NVTX, events["eventType"]) == NvtxType.DOMAIN_CREATE
    domains = list(zip(_processes(events).tolist(), _domains(events).tolist(), strict=True))
    own = {
        domain
        for domain, text, made in zip(domains, shown, is_domain, strict=True)
        if made and text == DOMAIN
    }
    names = {"domain": _Numbers("domain"), "range": _Numbers("range")}
    hidden = [
        _own_text(text, made) if domain in own else names["domain" if made else "range"].of(text)
        for domain, text, made in zip(domains, shown, is_domain, strict=True)
    ]
    rest = [column for column in events.columns if column != "textId"]
    return events[rest].assign(text=hidden)


class _Numbers:
    """Gives each text a number of its own, in the order in which they come."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._known: dict[str, int] = {}

    def of(self, text: str) -> str:
        """``range-1`` for the first text."""
        return f"{self._kind}-{self._known.setdefault(text, len(self._known) + 1)}"


def _own_text(text: str, is_domain: bool) -> str:
    return text if is_domain else text.partition(" ")[0]


def _shown_texts(events: pd.DataFrame, strings: Mapping[int, str]) -> list[str]:
    """The text of each event, its own or that of the table of strings."""
    own: list[Any] = events["text"].tolist() if "text" in events else [None] * len(events)
    if "textId" not in events:
        return texts(pd.Series(own, dtype=object))
    ids = whole_numbers(schema.NVTX, events["textId"]).tolist()
    found = [strings.get(key) if text is None else text for text, key in zip(own, ids, strict=True)]
    return texts(pd.Series(found, dtype=object))


def _processes(events: pd.DataFrame) -> Ints:
    return process_id(whole_numbers(schema.NVTX, events["globalTid"]))


def _domains(events: pd.DataFrame) -> Ints:
    return whole_numbers(schema.NVTX, events["domainId"])


def _write_table(connection: sqlite3.Connection, name: str, table: pd.DataFrame) -> tuple[int, int]:
    """Write a table; its columns hold what they are for, so that nothing else gets through."""
    columns = ", ".join(f'"{column}"' for column in table.columns)
    connection.execute(f"CREATE TABLE [{name}] ({columns})")
    places = ", ".join("?" * len(table.columns))
    values = [_checked(name, table[column]) for column in table.columns]
    connection.executemany(f"INSERT INTO [{name}] VALUES ({places})", zip(*values, strict=True))
    return len(table), len(table.columns)


def _checked(table: str, column: pd.Series) -> list[Any]:
    """The values of a column: texts, or integers, which SQLite stores as what they are."""
    absent = column.isna().to_numpy()
    if column.name in _TEXTS.get(table, ()):
        values: list[Any] = texts(column)
    else:
        values = whole_numbers(table, column.astype(object).where(~absent, None)).tolist()
    return [None if missing else value for value, missing in zip(values, absent, strict=True)]


def _size(export: Path) -> int:
    files = export.iterdir() if export.is_dir() else [export]
    return sum(path.stat().st_size for path in files)
