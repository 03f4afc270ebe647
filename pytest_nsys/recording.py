"""Recordings: a finished run as files, scrubbed, to be judged again anywhere.

A recording is a folder: ``recording.json`` (what was run and how each test ended), and for each
capture ``capture-N.sqlite.xz``: the tables and columns that we read and nothing else, so that
the environment, command lines, processes, paths and output that nsys stores are not in it.
"""

from __future__ import annotations

import json
import lzma
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pytest_nsys.errors import NsysError, RecordingError
from pytest_nsys.trace import schema
from pytest_nsys.trace.load import load_trace
from pytest_nsys.trace.schema import NvtxType
from pytest_nsys.trace.source import Source, open_source
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows import WindowRecord

SCHEMA = 1
INDEX = "recording.json"

_LARGEST = 8 * 2**30
_CHUNK = 2**20


@dataclass(frozen=True)
class RecordedTest:
    """How a test ended when it was recorded.

    Attributes:
        nodeid: the test.
        reports: its reports as pytest serialises them, without captured output.
        capture: number of its capture; None if it has none.
        warmup: calls before the measured ones.
        rounds: measured calls.
        problem: what was wrong with its capture; "" if nothing.
    """

    nodeid: str
    reports: tuple[Mapping[str, Any], ...]
    capture: int | None
    warmup: int
    rounds: int
    problem: str = ""


@dataclass(frozen=True)
class RecordedCapture:
    """One capture of a recording.

    Attributes:
        file: its file in the folder.
        options: the options it was made with.
        records: the worker's windows.
    """

    file: str
    options: tuple[str, ...]
    records: tuple[WindowRecord, ...]


@dataclass(frozen=True)
class Recording:
    """A recording's index.

    Attributes:
        captures: by their number.
        tests: in the order they ran.
        versions: Python and frameworks of the run.
        nsys: version of nsys.
        date: day of the run.
    """

    captures: tuple[RecordedCapture, ...]
    tests: tuple[RecordedTest, ...]
    versions: Mapping[str, str]
    nsys: str
    date: str


def write_recording(folder: Path, recording: Recording, exports: Sequence[Path]) -> None:
    """Write a recording; ``exports`` are the exported captures, in the order of the index.

    The index is written last: a folder without one is no recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    for capture, export in zip(recording.captures, exports, strict=True):
        scrub(export, folder / capture.file)
    (folder / INDEX).write_text(json.dumps(_to_json(recording), indent=1) + "\n", encoding="utf-8")


def read_recording(folder: Path) -> Recording:
    """The index of a recording.

    Raises:
        RecordingError: the folder holds none, or one that is damaged or newer.
    """
    path = folder / INDEX
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("schema", 0) > SCHEMA:
            raise RecordingError(
                f"{path} was written by a newer pytest-nsys", remedy="upgrade pytest-nsys"
            )
        return _from_json(data)
    except FileNotFoundError:
        raise RecordingError(
            f"there is no recording in {folder}",
            evidence=f"{path} does not exist",
            remedy="name a folder that --nsys-record wrote",
        ) from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordingError(
            f"{path} is damaged",
            evidence=f"{type(error).__name__}: {error}",
            remedy="record the run again, or restore the folder",
        ) from None


def load_capture(folder: Path, capture: RecordedCapture) -> Trace:
    """The trace of one capture of a recording.

    Raises:
        RecordingError: its file is missing, damaged, or outside the folder.
    """
    path = folder / capture.file
    if Path(capture.file).name != capture.file or capture.file in ("", ".."):
        raise RecordingError(
            f"{folder / INDEX} names a file outside its folder: {capture.file!r}",
            remedy="do not use this recording",
        )
    return load_packed(path)


def load_packed(path: Path) -> Trace:
    """The trace of a ``.sqlite.xz``.

    Raises:
        RecordingError: it is missing or damaged, or unpacks to more than 8 GiB.
    """
    with tempfile.TemporaryDirectory(prefix="pytest-nsys-") as temporary:
        unpacked = Path(temporary) / "capture.sqlite"
        try:
            with lzma.open(path) as packed, unpacked.open("wb") as target:
                size = 0
                while chunk := packed.read(_CHUNK):
                    size += len(chunk)
                    if size > _LARGEST:
                        raise RecordingError(
                            f"{path} unpacks to more than {_LARGEST >> 30} GiB",
                            remedy="do not use this recording",
                        )
                    target.write(chunk)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise RecordingError(
                f"{path} cannot be unpacked",
                evidence=str(error),
                remedy="record the run again, or restore the folder",
            ) from None
        try:
            return load_trace(unpacked)
        except NsysError as error:
            raise RecordingError(
                f"{path} does not hold a capture",
                evidence=error.evidence or error.what.replace(str(unpacked), "it"),
                remedy="record the run again, or restore the folder",
            ) from None


def scrub(export: Path, target: Path) -> None:
    """Copy the tables and columns we read from an export into a small ``.sqlite.xz``."""
    with tempfile.TemporaryDirectory(prefix="pytest-nsys-") as temporary:
        clean = Path(temporary) / "clean.sqlite"
        with open_source(export) as source, closing(sqlite3.connect(clean)) as connection:
            _copy_tables(source, connection)
            connection.commit()
            connection.execute("VACUUM")
        packed = Path(temporary) / "clean.sqlite.xz"
        with clean.open("rb") as plain, lzma.open(packed, "wb", preset=6) as out:
            shutil.copyfileobj(plain, out, _CHUNK)
        shutil.copyfile(packed, target)


def _copy_tables(source: Source, connection: sqlite3.Connection) -> None:
    used: set[int] = set()
    for name, columns in schema.COLUMNS.items():
        if name == schema.STRINGS:
            continue
        table = source.table(name, columns)
        if table is None:
            continue
        table = _allowed_rows(name, table)
        for column in ("demangledName", "shortName", "nameId", "textId"):
            if column in table:
                used.update(int(value) for value in table[column].dropna().unique())
        _write_table(connection, name, table)
    strings = source.table(schema.STRINGS, schema.COLUMNS[schema.STRINGS])
    if strings is not None:
        _write_table(connection, schema.STRINGS, strings[strings["id"].isin(used)])


def _allowed_rows(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Rows that say something of the capture and nothing of the machine it was made on."""
    if name == schema.SYSTEM:
        return table[table["name"].isin(schema.SYSTEM_NAMES)]
    if name in (schema.EXPORT, schema.OLD_EXPORT):
        return table[table["name"].isin(schema.EXPORT_NAMES)]
    if name == schema.DIAGNOSTIC:
        return table[table["severity"] > 1]
    if name == schema.NVTX:
        kinds = (NvtxType.PUSH_POP, NvtxType.START_END, NvtxType.DOMAIN_CREATE)
        return table[table["eventType"].isin(kinds)]
    return table


def _write_table(connection: sqlite3.Connection, name: str, table: pd.DataFrame) -> None:
    columns = ", ".join(f'"{column}"' for column in table.columns)
    connection.execute(f"CREATE TABLE [{name}] ({columns})")
    places = ", ".join("?" * len(table.columns))
    rows = table.astype(object).where(table.notna(), None).itertuples(index=False, name=None)
    connection.executemany(
        f"INSERT INTO [{name}] VALUES ({places})", ([_plain(v) for v in row] for row in rows)
    )


def _plain(value: Any) -> Any:
    """A value that SQLite stores as what it is: numpy numbers are not."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def published_line(text: str) -> str:
    """The first line of a text, and of absolute paths in it their last part."""
    line = text.partition("\n")[0]
    return re.sub(r"(?<![\w.])/(?:[^/\s'\"]+/)+", "", line)


def published_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as a recording keeps it: without captured output, properties and tracebacks.

    They may hold anything, and a recording is made to be handed on.
    """
    kept = {
        key: report[key]
        for key in ("$report_type", "nodeid", "location", "outcome", "when", "duration")
        if key in report
    }
    longrepr = report.get("longrepr")
    if isinstance(longrepr, Mapping):
        with suppress(KeyError, TypeError):
            crash = longrepr["reprcrash"]
            message = published_line(crash["message"])
            longrepr = f"{Path(crash['path']).name}:{crash['lineno']}: {message}"
    elif isinstance(longrepr, str):
        longrepr = published_line(longrepr)
    if isinstance(longrepr, (list, tuple)):  # of a skip: where, and why
        path, line, reason = longrepr
        longrepr = [Path(path).name, line, reason]
    kept["longrepr"] = longrepr if isinstance(longrepr, (str, list)) else None
    if "wasxfail" in report:
        kept["wasxfail"] = report["wasxfail"]
    return {**kept, "keywords": {}, "sections": [], "user_properties": []}


def _to_json(recording: Recording) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "nsys": recording.nsys,
        "date": recording.date,
        "versions": dict(recording.versions),
        "captures": [
            {
                "file": capture.file,
                "options": list(capture.options),
                "windows": [record.to_json() for record in capture.records],
            }
            for capture in recording.captures
        ],
        "tests": [
            {
                "nodeid": test.nodeid,
                "capture": test.capture,
                "warmup": test.warmup,
                "rounds": test.rounds,
                "problem": test.problem,
                "reports": [dict(report) for report in test.reports],
            }
            for test in recording.tests
        ],
    }


def _from_json(data: Mapping[str, Any]) -> Recording:
    recording = Recording(
        captures=tuple(
            RecordedCapture(
                file=str(capture["file"]),
                options=tuple(map(str, capture["options"])),
                records=tuple(WindowRecord.from_json(record) for record in capture["windows"]),
            )
            for capture in data["captures"]
        ),
        tests=tuple(
            RecordedTest(
                nodeid=str(test["nodeid"]),
                reports=tuple(dict(report) for report in test["reports"]),
                capture=None if test["capture"] is None else int(test["capture"]),
                warmup=int(test["warmup"]),
                rounds=int(test["rounds"]),
                problem=str(test["problem"]),
            )
            for test in data["tests"]
        ),
        versions={str(name): str(version) for name, version in data["versions"].items()},
        nsys=str(data["nsys"]),
        date=str(data["date"]),
    )
    for test in recording.tests:
        if test.capture is not None and not 0 <= test.capture < len(recording.captures):
            raise ValueError(f"{test.nodeid} has capture {test.capture}, which does not exist")
    return recording
