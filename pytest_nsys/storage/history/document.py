"""One line of a history: what a run measured of a test, as JSON and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Annotated

from pytest_nsys.errors import HistoryDamaged
from pytest_nsys.support.json_values import Check, Positive, load_written, read, read_keys, written

SCHEMA = 1

LONGEST_KEY = 1000
"""Characters of a metric's key: a longer one is not kept, and none of ours."""

_DECIMALS = 3
_COMMIT = re.compile(r"(?:[0-9a-f]{7,64}(?:\+dirty)?)?")
_Key = Annotated[str, Check(lambda key: len(key) <= LONGEST_KEY, "is too long")]
_CONFLICT = re.compile(r"<{7}( |$)|={7}$|>{7}( |$)|\|{7}( |$)")
_REMEDY = "delete the line, or restore the file"
_DATE = "%Y-%m-%dT%H:%M:%SZ"
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """What one run measured of one test.

    Attributes:
        nodeid: the test.
        device: the key of its baseline folder.
        date: when, UTC, to the second.
        commit: what git had checked out; ``+dirty`` follows where files were changed; "" if there
            was no git.
        nsys: version of nsys.
        driver: version of the NVIDIA driver.
        versions: Python and the frameworks.
        status: what the gate said.
        windows: by name and metric key the median, in the metric's unit, and the number of samples.
    """

    nodeid: str
    device: str
    date: Annotated[datetime, _date]
    commit: Annotated[str, Check(_COMMIT.fullmatch, "is no commit")] = ""
    nsys: str = ""
    driver: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    status: str = ""
    windows: Mapping[str, Mapping[_Key, tuple[float, Positive]]] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """The day, as a person names it."""
        return self.date.strftime("%Y-%m-%d")

    @property
    def short_commit(self) -> str:
        """Seven digits of the commit, and what follows them; "" if there is none."""
        name, plus, dirty = self.commit.partition("+")
        return f"{name[:7]}{plus}{dirty}"


@dataclass(frozen=True)
class Torn:
    """A line that a run was killed in the middle of; ``number`` counts from 1."""

    number: int


def render(entry: Entry) -> bytes:
    """The line, with its end; ASCII, so that a part of it is never half a character."""
    data = {"schema": SCHEMA, **vars(entry), "date": entry.date.strftime(_DATE)}
    text = json.dumps(written(data, _DECIMALS), separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def parse(content: bytes, where: str) -> tuple[tuple[Entry, ...], tuple[Torn, ...]]:
    """The lines of a history, in the order in which they were written.

    Lines that begin as one of ours and break off are left out, and listed.

    Args:
        content: of the file.
        where: the file, for errors.

    Raises:
        HistoryDamaged: a line is something else; names file and line.
    """
    entries, torn = [], []
    for line_number, line in enumerate(content.split(b"\n"), 1):
        line = line.strip(b"\0\r ")  # a file system that crashed leaves zeros
        if not line:
            continue
        found = _parse_line(line, f"{where}:{line_number}")
        if found is None:
            torn.append(Torn(line_number))
        else:
            entries.append(found)
    return tuple(entries), tuple(torn)


def _parse_line(line: bytes, where: str) -> Entry | None:
    try:
        data = load_written(line.decode("utf-8"))
    except json.JSONDecodeError as error:
        if line.startswith(b"{"):
            return None
        text = line.decode("utf-8", "replace")[:80]
        if _CONFLICT.match(text):
            raise HistoryDamaged(
                f"{where}: a merge conflict is unresolved",
                evidence=text,
                remedy="keep the lines of both sides; '*.jsonl merge=union' in .gitattributes "
                "does so by itself",
            ) from None
        raise HistoryDamaged(
            f"{where}: this is not JSON: {error.msg}", evidence=ascii(text), remedy=_REMEDY
        ) from None
    except ValueError as error:  # not UTF-8, too deep, a key twice
        raise _damaged(where, error) from None
    try:
        schema = read_keys({"schema": Positive}, data)["schema"]
        if schema <= SCHEMA:
            return read(Entry, data)
    except ValueError as error:
        raise _damaged(where, error) from None
    raise HistoryDamaged(
        f"{where}: the line was written by a newer pytest-nsys "
        f"(schema {str(schema)[:20]}, this one reads {SCHEMA})",
        remedy="upgrade pytest-nsys",
    )


def _damaged(where: str, error: ValueError) -> HistoryDamaged:
    return HistoryDamaged(
        f"{where}: a value is missing or of the wrong kind",
        evidence=ascii(str(error)[:200])[1:-1],
        remedy=_REMEDY,
    )


def _date(value: object) -> datetime:
    text = read(str, value)
    if not _WRITTEN.fullmatch(text):
        raise ValueError(f"{text!r} is no date")
    return datetime.fromisoformat(text[:-1]).replace(
        tzinfo=timezone.utc
    )  # far faster than strptime
