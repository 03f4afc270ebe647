"""Files that would have SQLite compute for ever, or fill the memory, are damaged."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pytest_nsys.errors import ExportFailed
from pytest_nsys.trace import database, schema
from pytest_nsys.trace.source import open_source

STRINGS = ("id", "value")
PAGE = 4096
ENDLESS = (
    "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 'a' AS value"
)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Makes a database, and puts this in the place of a table's SQL."""

    def make(*statements: str, sql: str = "") -> Path:
        path = tmp_path / "made.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"PRAGMA page_size = {PAGE}; {'; '.join(statements)}")
            if sql:
                connection.execute("PRAGMA writable_schema = ON")
                connection.execute(
                    "UPDATE sqlite_master SET sql = ? WHERE name = 'StringIds'", [sql]
                )
            connection.commit()
        return path

    return make


def read(path: Path) -> None:
    """Read the table in every way there is."""
    with open_source(path) as source:
        source.integers(schema.STRINGS, ("id",))
        source.table(schema.STRINGS, STRINGS)


def counted(path: Path) -> None:
    """Count its rows."""
    with open_source(path) as source:
        source.extents()


FULL = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
FILLED = "INSERT INTO StringIds " + FULL.format(1000) + "SELECT i, 'name ' || i FROM n"


def test_what_is_well(made: Callable[..., Path]) -> None:
    path = made("CREATE TABLE StringIds (id, value)", FILLED, "CREATE VIEW v AS SELECT 1")
    with open_source(path) as source:
        table = source.table(schema.STRINGS, STRINGS)
        assert table is not None
        assert table["value"].tolist()[-1] == "name 1000"
        ids = source.integers(schema.STRINGS, ("id",))
        assert ids is not None
        assert np.array_equal(ids["id"], np.arange(1, 1001))
        assert source.extents() == {"StringIds": (1000, 2)}


def interior(child: int, last: int, cells: int = 300) -> bytes:
    """A page of a tree, all children of which are one and the same."""
    content = b"".join(child.to_bytes(4, "big") + b"\x01" for _ in range(cells))
    begin = PAGE - len(content)
    pointers = b"".join((begin + 5 * n).to_bytes(2, "big") for n in range(cells))
    head = b"\x05" + bytes(2) + cells.to_bytes(2, "big") + begin.to_bytes(2, "big") + b"\x00"
    page = head + last.to_bytes(4, "big") + pointers
    return page + bytes(begin - len(page)) + content


@pytest.mark.parametrize("see", [read, counted])
def test_pages_that_are_there_once_and_used_often(
    made: Callable[..., Path], see: Callable[[Path], None]
) -> None:
    """300 times 300 times 300 times the rows of one page."""
    path = made(
        "CREATE TABLE StringIds (id, value)",
        "CREATE TABLE pad (x)",
        "INSERT INTO StringIds VALUES (1, NULL)",
        f"INSERT INTO pad VALUES (zeroblob({20 * PAGE}))",
    )
    data = bytearray(path.read_bytes())
    leaf = bytes(data[PAGE : 2 * PAGE])  # the table's only page so far
    data[4 * PAGE : 5 * PAGE] = leaf
    for at, child in ((5, 5), (6, 6), (1, 7)):
        data[at * PAGE : (at + 1) * PAGE] = interior(child, child)
    path.write_bytes(data)
    with pytest.raises(ExportFailed, match="damaged") as caught:
        see(path)
    assert f"it has more rows than fit into {len(data):,} bytes" in caught.value.evidence
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE\tVIRTUAL TABLE StringIds USING fts5(id, value)",
        "create virtual table StringIds USING fts5(id, value)",
        "CREATE/**/VIRTUAL TABLE StringIds USING fts5(id, value)",
        f"CREATE VIEW StringIds AS {ENDLESS} FROM n",
        f"CREATE TABLE StringIds AS {ENDLESS} FROM n",
    ],
)
def test_what_is_no_ordinary_table(made: Callable[..., Path], sql: str) -> None:
    path = made("CREATE TABLE StringIds (id, value)", "CREATE TABLE b (id)", sql=sql)
    with pytest.raises(ExportFailed, match="damaged"):
        read(path)


def test_a_view_in_the_place_of_a_table(made: Callable[..., Path]) -> None:
    with pytest.raises(ExportFailed) as caught:
        read(made(f"CREATE VIEW StringIds AS {ENDLESS} FROM n"))
    assert caught.value.evidence == "StringIds is no ordinary table"


@pytest.mark.parametrize(
    "value", ["'" + "x" * 5000 + "'", "x'" + "00" * 5000 + "'"], ids=["text", "bytes"]
)
def test_a_value_that_all_rows_have_in_common(made: Callable[..., Path], value: str) -> None:
    path = made(
        "CREATE TABLE StringIds (id)",
        "INSERT INTO StringIds " + FULL.format(3000) + "SELECT 1 FROM n",
        f"ALTER TABLE StringIds ADD COLUMN value DEFAULT {value}",
    )
    with pytest.raises(ExportFailed) as caught:
        read(path)
    assert "it has more text than fits into" in caught.value.evidence


@pytest.mark.parametrize("kind", ["VIRTUAL", "STORED"])
def test_a_column_that_is_computed_is_none(made: Callable[..., Path], kind: str) -> None:
    path = made(
        "CREATE TABLE StringIds "
        f"(id, value AS (replace(hex(zeroblob(1000 * id)), '0', 'abc')) {kind})",
        "INSERT INTO StringIds VALUES (1)",
    )
    with pytest.raises(ExportFailed, match="StringIds has no column value"):
        read(path)


@pytest.mark.parametrize(("what", "is_whole"), [(b"\0" * 9, True), (b"7\x7f\6\x82", False)])
@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_changes_that_lie_beside_the_file(
    made: Callable[..., Path], suffix: str, what: bytes, is_whole: bool
) -> None:
    path = made("CREATE TABLE StringIds (id, value)", FILLED)
    beside = path.with_name(path.name + suffix)
    beside.write_bytes(what)
    if is_whole:
        read(path)
    else:
        with pytest.raises(ExportFailed) as caught:
            read(path)
        assert caught.value.evidence.endswith(f"not in it, but in made.sqlite{suffix}")
    assert beside.read_bytes() == what


def test_steps_that_take_too_long(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where each row hangs on a chain of pages that is as long as the file."""
    path = made("CREATE TABLE StringIds (id, value)", FILLED)
    monkeypatch.setattr(database, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(database, "_STEP_S", 0.0)
    with pytest.raises(ExportFailed) as caught:
        read(path)
    assert "its pages refer to each other" in caught.value.evidence


def test_a_list_of_tables_that_does_not_end(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(*(f"CREATE TABLE t{n} (id)" for n in range(500)))
    monkeypatch.setattr(database, "_SCHEMA_LOOKS", 1)
    with pytest.raises(ExportFailed) as caught:
        read(path)
    assert "list of tables: it does not end" in caught.value.evidence


def test_an_interrupt_while_sqlite_reads_is_one(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """sqlite3 hands no exception on that is raised while it is asked whether to go on."""
    path = made("CREATE TABLE StringIds (id, value)", FILLED)

    def interrupt(_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(database.Database, "_look", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(path)


def test_a_value_that_is_no_integer_is_shown(made: Callable[..., Path]) -> None:
    path = made("CREATE TABLE StringIds (id, value)", FILLED, "UPDATE StringIds SET id = 'x'")
    with pytest.raises(ExportFailed, match=r"StringIds\.id is not numeric") as caught:
        read(path)
    assert caught.value.evidence == "'x' is not an integer"


def integers(path: Path) -> list[int] | None:
    with open_source(path) as source:
        found = source.integers(schema.STRINGS, ("id",))
    return None if found is None else found["id"].tolist()


EXTREME = [-(2**63), 2**63 - 1, 0, -1, 7]


@pytest.mark.parametrize(
    ("columns", "rowids"),
    [
        ("(id INTEGER, value)", [-(2**63) + 1, -5, 3, 2**40, 2**63 - 1]),
        # Of this number SQLite has a row, and none before it.
        ("(id INTEGER, value)", [-(2**63), -5, 3, 2**40, 2**63 - 1]),
    ],
)
def test_rows_of_any_number_are_read(
    made: Callable[..., Path], columns: str, rowids: list[int]
) -> None:
    rows = ", ".join(f"({at}, {value})" for at, value in zip(rowids, EXTREME, strict=True))
    path = made(
        f"CREATE TABLE StringIds {columns}", f"INSERT INTO StringIds (rowid, id) VALUES {rows}"
    )
    assert integers(path) == EXTREME


def test_tables_without_numbers_of_rows_are_read(made: Callable[..., Path]) -> None:
    path = made(
        "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value) WITHOUT ROWID",
        "INSERT INTO StringIds (id) VALUES (3), (1), (2)",
    )
    assert integers(path) == [1, 2, 3]
    path.unlink()
    path = made(
        "CREATE TABLE StringIds (id INTEGER, value, RowId TEXT)",
        "INSERT INTO StringIds VALUES (3, '', 'b'), (1, '', 'a'), (2, '', 'b')",
    )
    assert integers(path) == [3, 1, 2]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 has no limits to set before 3.11")
def test_usual_tables_are_not_read_row_by_row(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "INSERT INTO StringIds SELECT i, NULLIF(i % 3, 0) FROM n"
    path = made("CREATE TABLE StringIds (id, value)", FULL.format(40_000) + many)
    monkeypatch.setattr(database.Database, "rows", None)
    with open_source(path) as source:
        found = source.integers(schema.STRINGS, STRINGS)
    assert found is not None
    assert np.array_equal(found["id"], np.arange(1, 40_001))
    expected = np.where(found["id"] % 3, found["id"] % 3, -1)
    assert np.array_equal(found["value"], expected)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("'12'", "'12'"),
        ("12.0", "12.0"),
        ("x'3132'", "b'12'"),
        ("9e999", "inf"),
        ("'1,2'", "'1,2'"),
        # 100 kB each: a thousand of them would be more than may be held.
        ("replace(hex(zeroblob(50000)), '00', '11')", "'1111"),
    ],
)
def test_what_is_no_integer_is_refused_wherever_it_is(
    made: Callable[..., Path], value: str, shown: str
) -> None:
    rows = FULL.format(20_000) + "SELECT i, '' FROM n"
    change = f"UPDATE StringIds SET id = {value} WHERE id > 18990 AND id < 19100"
    path = made("CREATE TABLE StringIds (id, value)", f"INSERT INTO StringIds {rows}", change)
    with pytest.raises(ExportFailed, match=r"StringIds\.id is not numeric") as caught:
        integers(path)
    assert caught.value.evidence.startswith(shown)
