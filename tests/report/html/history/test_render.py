"""The page of a history as a file: nothing fetched, nothing believed; and the command for it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.report.html.history.render import render_history
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.store import Series, append, history_path
from pytest_nsys.storage.history.trend import TestTrends, trends_of
from pytest_nsys.support.text import visible
from tests.support.command import Answer
from tests.support.histories import Suite
from tests.support.page_reader import read

START = datetime(2026, 10, 1, tzinfo=timezone.utc)
MARKUP = "<script>alert(1)</script>\"'&lt;</td></details><b>{{ 7 * 7 }}{% raw %}"
HOSTILE = MARKUP + "\u202e\u2066\x00\x1b\r\n\udc80\u200b"


def hostile(text: str) -> tuple[TestTrends, ...]:
    """A history with the text wherever a name or a version comes from outside."""
    entries = tuple(
        Entry(
            text,
            text,
            START + timedelta(days=day),
            nsys=text if day > 3 else "",
            driver=text * (1 + (day > 9)),
            versions={text: text * (1 + (day > 9))},
            status=text,
            windows={text: {text: (float(day > 9), 5), "gpu.kernel_time": (1e6 + 4e4 * day, 5)}},
        )
        for day in range(20)
    )
    other = Series(
        f"{text}2", f"{text}2", tuple(replace(one, nodeid="", device="") for one in entries)
    )
    return trends_of([Series(text, text, entries), other], metrics=["*"])


def series(suite: Suite) -> list[Series]:
    return [
        Series(suite.nodeid(test), device, tuple(suite.entries(test, device)))
        for test in range(suite.tests)
        for device in suite.devices
    ]


@pytest.mark.parametrize(
    "suite",
    [Suite(20, 60), Suite(12, 30, ("a", "b", "c")), Suite(1, 1)],
    ids=["one", "three", "run"],
)
def test_is_well_formed_and_stands_alone(suite: Suite) -> None:
    text = render_history(trends_of(series(suite)), ["a note"])
    page = read(text)
    (csp,) = [
        meta.attributes["content"] for meta in page.find("meta") if "http-equiv" in meta.attributes
    ]
    (script,) = page.find("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert csp.startswith(
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    ids = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.all():
        assert element.tag not in {"img", "link", "iframe", "object", "base", "form", "use"}
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name == "href":
                assert value.removeprefix("#") in ids
    assert len(page.find("article")) == suite.tests


def test_names_from_elsewhere_are_text() -> None:
    page = read(render_history(hostile(HOSTILE), [HOSTILE]))
    assert len(page.find("script")) == 1
    assert not page.find("b")
    for shown in (page.find("code"), page.find("td"), page.find("p", class_="note text")):
        assert any(visible(HOSTILE).split("\n")[0][:60] in one.text for one in shown)
    for element in page.all():
        for text in (element.text if not element.children else "", *element.attributes.values()):
            assert not re.search("[\u202e\u2066\x00\x1b\u200b\udc80]", text)


@given(st.text(max_size=30))
def test_any_name_is_shown(text: str) -> None:
    page = read(render_history(hostile(text), [text]))
    assert len(page.find("script")) == 1


def test_charts_that_many_tests_have_are_small() -> None:
    suite = Suite(tests=50, runs=365)
    text = render_history(trends_of(series(suite)))
    assert len(text) < 16_000 * suite.tests


# The command


def test_the_command_writes_the_page_and_prints_as_usual(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    folder = Suite(tests=10, runs=30).write(tmp_path / "history")
    plain = command("history", folder)
    target = tmp_path / "site" / "index.html"
    assert command("history", folder, "--html", target) == plain
    page = read(target.read_text(encoding="utf-8"))
    assert len(page.find("article")) == 10
    command("history", folder, "kv_copy", "--metric", "gpu.*", "--last", 12, "--html", target)
    page = read(target.read_text(encoding="utf-8"))
    assert len(page.find("article")) == 1
    assert "12 runs" in page.text


def test_the_page_says_which_lines_were_left_out(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    suite = Suite(tests=1, runs=10)
    folder = suite.write(tmp_path / "history")
    path = folder / history_path("nvidia-h200", suite.nodeid(0))
    path.write_bytes(path.read_bytes()[:-30])
    code, _, err = command("history", folder, "--html", tmp_path / "page.html")
    assert code == 0
    assert f"{path}:10: the line breaks off and is left out" in err
    (note,) = read((tmp_path / "page.html").read_text()).find("p", class_="note text")
    assert note.text.startswith(f"{path.name}:10: the line breaks off and is left out")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hello", "this is not JSON"),
        (b'{"schema": 1, "nodeid": null}', "a value is missing or of the wrong kind"),
        (b'{"schema": 99}', "was written by a newer pytest-nsys"),
    ],
)
def test_a_damaged_line_is_an_error_with_file_and_line_and_no_page(
    tmp_path: Path, command: Callable[..., Answer], line: bytes, message: str
) -> None:
    suite = Suite(tests=1, runs=3)
    folder = suite.write(tmp_path / "history")
    path = folder / history_path("nvidia-h200", suite.nodeid(0))
    path.write_bytes(path.read_bytes() + line + b"\n")
    code, out, err = command("history", folder, "--html", tmp_path / "page.html")
    assert (code, out) == (2, "")
    assert f"{path}:4:" in err
    assert message in err
    assert not (tmp_path / "page.html").exists()


def test_a_value_that_is_null_is_told_with_its_place(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    suite = Suite(tests=1, runs=3)
    folder = suite.write(tmp_path / "history")
    path = folder / history_path("nvidia-h200", suite.nodeid(0))
    lines = path.read_text().splitlines()
    lines[1] = re.sub(r'"gpu.kernel_time":\[[0-9.]+', '"gpu.kernel_time":[null', lines[1], count=1)
    path.write_text("\n".join(lines) + "\n")
    code, _, err = command("history", folder, "--html", tmp_path / "page.html")
    assert code == 2
    assert f"{path}:2: a value is missing or of the wrong kind" in err
    assert "gpu.kernel_time" in err


def test_an_empty_folder_is_an_error(tmp_path: Path, command: Callable[..., Answer]) -> None:
    code, _, err = command("history", tmp_path, "--html", tmp_path / "page.html")
    assert code == 2
    assert "there is no history in" in err
    assert "run pytest with --nsys-history" in err


def test_a_page_that_cannot_be_written_is_an_error(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    (tmp_path / "file").write_text("")
    append(tmp_path / "history", Suite(1, 2).entries(0, "nvidia-h200"))
    code, _, err = command("history", tmp_path / "history", "--html", tmp_path / "file" / "x.html")
    assert code == 2
    assert "cannot be written" in err
    assert "Traceback" not in err
