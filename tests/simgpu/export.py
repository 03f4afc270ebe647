"""``nsys export`` of the stand-in: a report, which is SQLite already, to SQLite or to Parquet."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from tests.simgpu.options import ExportOptions
from tests.simgpu.rows import Row
from tests.support.exports.tables import columns, insert

_SQLITE_MAGIC = b"SQLite format 3\0"


class ExportError(Exception):
    """An export that fails; the text is what nsys prints."""


def export(options: ExportOptions, faults: frozenset[str], version: str) -> int:
    """Do what ``nsys export`` does; returns its exit code."""
    output = Path(options.output)
    try:
        _check(options, output)
        if "export_hangs" in faults:
            time.sleep(600)
        if "export_fails" in faults:
            _write_stub(output, options.type)
            raise ExportError("Exportation error: Failed to read the report.")
        if "export_nothing" in faults:
            return 0
        with closing(sqlite3.connect(":memory:")) as database:
            _load(database, options, version, faults)
            if options.type == "sqlite":
                _to_sqlite(database, output)
            else:
                _to_parquet(database, output)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    if "export_truncated" in faults:
        for file in [output] if output.is_file() else output.iterdir():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if "export_not_a_database" in faults:
        for file in [output] if output.is_file() else output.iterdir():
            file.write_text("This is a report in words.\n")
    return 0


def _check(options: ExportOptions, output: Path) -> None:
    report = Path(options.report)
    if not report.is_file():
        raise ExportError(f"Exportation error: File not found: '{options.report}'.")
    if report.read_bytes()[: len(_SQLITE_MAGIC)] != _SQLITE_MAGIC:
        raise ExportError("Exportation error: Section Table Reference magic number mismatch.")
    if output.exists() and not options.force:
        raise ExportError(
            f"Exportation error: File already exists: '{options.output}'.\n"
            "Use `--force-overwrite true` to overwrite existing files."
        )


def _load(
    database: sqlite3.Connection, options: ExportOptions, version: str, faults: frozenset[str]
) -> None:
    """Copy the wanted tables of the report into ``database``."""
    patterns = [re.compile(name, re.IGNORECASE) for name in options.tables]
    with closing(
        sqlite3.connect(f"file:{Path(options.report).resolve()}?mode=ro", uri=True)
    ) as report:
        try:
            report.backup(database)
        except sqlite3.Error as error:
            raise ExportError(f"Exportation error: {error}.") from None
    insert(database, "META_DATA_EXPORT", _export_facts(options, version, faults))
    names = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
    for name in names:
        if patterns and not any(pattern.fullmatch(name) for pattern in patterns):
            database.execute(f"DROP TABLE {name}")
    database.commit()
    database.execute("VACUUM")


def _export_facts(options: ExportOptions, version: str, faults: frozenset[str]) -> list[Row]:
    schema = "9.0.0" if "newer_schema" in faults else "3.20.3"
    major, minor, micro = schema.split(".")
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    facts = {
        "EXPORT_PRODUCT_NAME": "NVIDIA Nsight Systems",
        "EXPORT_PRODUCT_VERSION": version,
        "EXPORT_PRODUCT_DATE": ".".join(version.split(".")[:2]),
        "EXPORT_SCHEMA_VERSION": schema,
        "EXPORT_SCHEMA_VERSION_MAJOR": major,
        "EXPORT_SCHEMA_VERSION_MINOR": minor,
        "EXPORT_SCHEMA_VERSION_MICRO": micro,
        "EXPORT_PLATFORM": "linux-desktop",
        "EXPORT_ARCH": "x64",
        "EXPORT_TIME_UTC": now,
        "EXPORT_HOST": "simulated",
        "EXPORT_PARAM_INPUT_FILE": options.report,
        "EXPORT_PARAM_OUTPUT_FILE": options.output,
        "EXPORT_PARAM_LAZY": "true",
        "EXPORT_PARAM_TABLES_TO_EXPORT": ",".join(options.tables),
    }
    return [{"name": name, "value": value} for name, value in facts.items()]


def _to_sqlite(database: sqlite3.Connection, output: Path) -> None:
    try:
        output.unlink(missing_ok=True)
        output.touch()
        with closing(sqlite3.connect(output)) as target:
            target.execute("PRAGMA synchronous = OFF")
            database.backup(target)
    except (OSError, sqlite3.Error):
        raise ExportError("Exportation error: unable to open database file") from None


def _to_parquet(database: sqlite3.Connection, output: Path) -> None:
    """One file per table. Files that are in the folder already and not written again stay."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ExportError("Exportation error: parquetdir needs pyarrow here.") from None
    output.mkdir(parents=True, exist_ok=True)
    for (name,) in database.execute("SELECT name FROM sqlite_master").fetchall():
        rows = database.execute(f"SELECT * FROM {name}").fetchall()
        arrays, fields = [], []
        for number, column in enumerate(columns(name)):
            field = column.arrow_field()
            values = [row[number] for row in rows]
            if field.type == pa.uint64():
                values = [None if value is None else value % 2**64 for value in values]
            fields.append(field)
            arrays.append(pa.array(values, field.type))
        pq.write_table(pa.table(arrays, pa.schema(fields)), output / f"{name}.parquet")


def _write_stub(output: Path, kind: str) -> None:
    if kind == "parquetdir":
        output.mkdir(parents=True, exist_ok=True)
        return
    output.unlink(missing_ok=True)
    with closing(sqlite3.connect(output)) as database:
        database.execute("CREATE TABLE META_DATA_EXPORT (name TEXT NOT NULL, value TEXT)")
