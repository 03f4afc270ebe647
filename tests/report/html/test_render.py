"""The HTML report: one file, nothing fetched, nothing believed, failures first."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.report.html.render import render_html, write_html
from pytest_nsys.report.html.template import breakable
from pytest_nsys.report.run import RunReport
from pytest_nsys.support.text import visible
from tests.support.builders import (
    FLASH,
    GEMM,
    NODEID,
    SPEC,
    before,
    kernel,
    measurement,
    steady,
    verdict,
    window,
)
from tests.support.page_reader import Element, contrast, read
from tests.support.page_samples import a_run, hostile, stored

MARKUP = "<script>alert(1)</script>\"'&lt;</td></details><b>{{ 7 * 7 }}{% raw %}"
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
HOSTILE = MARKUP + BIDI + "\x00\x1b\r\udc80\u200b"


def rendered(run: RunReport) -> Element:
    return read(render_html(run))


@pytest.mark.parametrize(
    "run",
    [a_run(), RunReport("profile"), RunReport("idle"), RunReport("update", (steady(),))],
    ids=["full", "empty", "idle", "passed"],
)
def test_is_well_formed_and_stands_alone(run: RunReport) -> None:
    text = render_html(run)
    page = read(text)
    assert text.startswith("<!DOCTYPE html>")
    policy = page.find("meta", http_equiv="Content-Security-Policy") or page.find("meta")
    (csp,) = [meta.attributes["content"] for meta in policy if "http-equiv" in meta.attributes]
    assert csp.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    (script,) = page.find("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in csp
    for element in page.all():
        assert element.tag not in {"img", "link", "iframe", "object", "base", "form", "use"}
        for name, value in element.attributes.items():
            assert not name.startswith("on"), name
            assert name not in {"src", "srcset", "style", "action"}, name
            assert name not in {"href", "xlink:href"} or value.startswith("#"), value
    (style,) = page.find("style")
    assert not re.search(r"url\(|@import|https?:|</", style.text)


def test_links_lead_somewhere_and_names_are_unique() -> None:
    elements = rendered(a_run()).all()
    ids = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    targets = [e.attributes["href"][1:] for e in elements if "href" in e.attributes]
    labels = [e.attributes[n] for e in elements for n in e.attributes if n == "aria-labelledby"]
    assert targets
    assert {*targets, *labels} <= set(ids)


def test_failures_come_first_and_what_passed_is_folded() -> None:
    page = rendered(a_run())
    assert page.find("h1")[0].text == "2 of 5 tests failed, 1 not measured"
    (overview,) = page.find("table", class_="tests sortable")
    assert [link.text for link in overview.find("a")][:2] == [NODEID, "tests/test_new.py::test_new"]
    failed = page.find("article")
    assert [f"{test.attributes['id']}" for test in failed] == ["test-2", "test-3"]
    assert not any(test.folded for test in failed)
    passed = page.find("details", class_="test")
    assert [test.attributes["id"] for test in passed] == ["test-1", "test-4"]
    assert not any("open" in test.attributes for test in passed)
    order = [element.attributes.get("id", "") for element in page.all()]
    assert order.index("test-3") < order.index("test-1")


def test_one_look_says_what_got_slower_and_why() -> None:
    page = rendered(a_run())
    first = page.find("table", class_="tests sortable")[0].find("tr")[1]
    for said in (NODEID, "regressed", "2.532 ms", "+7.0%", f"{FLASH} +180.4 us"):
        assert said in first.text
    headline = page.find("article")[0].find("p", class_="headline text")[0]
    assert "gpu.kernel_time rose by 166.1 us (7.0%), from 2.366 ms to 2.532 ms" in headline.text
    assert not headline.folded
    assert page.text.count("rose by 166.1 us") == 1


def test_shows_what_a_failure_is_made_of() -> None:
    article = rendered(a_run()).find("article")[0]
    captions = [caption.text.strip() for caption in article.find("caption")]
    assert captions == [
        "Gated metrics",
        "Transfers by direction, in a round",
        "Changed since the baseline was recorded",
    ]
    summaries = [summary.text.strip() for summary in article.find("summary")]
    assert summaries == [
        "Where the change of gpu.kernel_time comes from 2.366 ms -> 2.532 ms: +166.1 us",
        "Where the change of memcpy.h2d.bytes comes from 4 KiB -> 8 KiB: +4 KiB",
        "Where the change of memcpy.h2d.count comes from 1 -> 2: +1",
        "Kernels 4, 1 renamed",
        "Copies 2, 1 with a changed count",
        "Blocking calls 1",
        "Metrics that are not gated 1",
    ]
    assert "570.86.15" in article.text
    assert "2025-11-30" in article.text
    assert article.find("pre")[0].text == f"pytest --nsys '{NODEID}'"


def test_tables_are_tables_to_all_who_read_them() -> None:
    for table in rendered(a_run()).find("table"):
        (head,) = table.find("thead")
        columns = len(head.find("th"))
        for row in table.find("tbody")[0].find("tr"):
            cells = row.find("th") + row.find("td")
            assert sum(int(cell.attributes.get("colspan", 1)) for cell in cells) == columns
            for cell in row.find("td"):
                assert cell.attributes["role"] == "cell"
                assert cell.attributes.get("data-label") or cell.attributes["class"] == "void"


# As it is, in a file's path, and in a command line.
FORMS = (HOSTILE, HOSTILE.replace("/", "\\"), shlex.quote(HOSTILE))


def tags(page: Element) -> list[str]:
    """The elements of a page, but for where names go on in the next line."""
    return [element.tag for element in page.all() if element.tag != "wbr"]


def test_hostile_text_stays_text() -> None:
    same_length = "x" * len(HOSTILE)
    tame, wild = hostile(same_length), hostile(HOSTILE)
    page = rendered(wild)
    assert tags(page) == tags(rendered(tame))
    text = render_html(wild)
    assert not set(text) & set(BIDI + "\x00\x1b\r\udc80\u200b")
    shown = [page.text.count(visible(found)) for found in FORMS]
    assert sum(shown) == rendered(tame).text.count(same_length)
    assert shown[1] == 2
    assert "{{ 7 * 7 }}" in page.find("h3")[0].text
    assert "<U+202E>" in page.find("h3")[0].text
    assert page.find("table", class_="waterfall")
    assert page.find("svg", class_="timeline")


def test_hostile_text_in_stored_captures_stays_text() -> None:
    tame, wild = (
        read(render_html(hostile(text), stored(text))) for text in ("x" * len(HOSTILE), HOSTILE)
    )
    assert tags(tame) == tags(wild)
    assert wild.text.count("Only in the baseline: " + visible(HOSTILE)) == 1


def test_very_long_names_are_folded_and_complete() -> None:
    name = "void " + "cutlass::" * 500 + "kernel"
    now = measurement(window(kernel(name, 1, 5000)))
    kernels = rendered(RunReport("profile", (verdict(now),))).find("details", class_="name")
    assert len(kernels[0].find("summary")[0].text) < 410
    assert kernels[0].find("code")[1].text == name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gemm_kernel", "gemm_kernel"),
        ("gpu.kernel_time.per_token", "gpu.|kernel_|time.|per_|token"),
        ("cutlass::Kernel<float, 4>(T1)", "cutlass::|Kernel&lt;|float, 4&gt;(T1)"),
        ("a<b>&\"' and_that_is_longer", "a&lt;b&gt;&amp;&#34;&#39; and_|that_|is_|longer"),
        ("took_1.470_milliseconds", "took_|1.470_|milliseconds"),
        ("x" * 40, "x" * 40),
        ("1 -> -2", '1 <span class="whole">-&gt;</span> -2'),
        ("with --tp=2", 'with <span class="whole">--tp=2</span>'),
    ],
)
def test_names_go_on_in_the_next_line_between_their_parts(name: str, parts: str) -> None:
    assert breakable(name) == parts.replace("|", "<wbr>")
    assert "<wbr>" not in breakable(name, 99)
    assert read(str(breakable(name))).text == name


def test_other_characters_are_left_alone() -> None:
    text = "größer_\u05d0\u05d1 \N{GRINNING FACE} tab\tline\nend"
    assert visible(text) == text
    assert visible(3) == 3
    assert visible("a\u200db") == "a<U+200D>b"
    assert visible("a\u202eb") == "a<U+202E>b"


def test_a_window_that_is_in_trouble_is_open() -> None:
    parts = [window(kernel(GEMM, 1, 1e6), name=name) for name in ("test", "prefill", "decode")]
    now = measurement(*parts[:2], window(kernel(GEMM, 1, 2e6), name="decode"))
    then = before(now, *parts, window(kernel(GEMM, 1, 1e6), name="dropped"))
    page = rendered(RunReport("profile", (verdict(now, then),)))
    windows = {
        details.find("summary")[0].text.split("\n")[0]: "open" in details.attributes
        for details in page.find("details", class_="window")
    }
    assert windows == {
        "Test body \N{CHECK MARK} ok": False,
        "Range: prefill \N{CHECK MARK} ok": False,
        "Range: decode \N{BALLOT X} regressed": True,
        "Range: dropped \N{NOT EQUAL TO} incomparable": True,
    }


def test_writes_the_file_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.html"
    write_html(hostile(HOSTILE), path)
    assert path.read_text(encoding="utf-8") == render_html(hostile(HOSTILE))
    assert [entry.name for entry in path.parent.iterdir()] == ["run.html"]


def test_a_demand_is_shown_with_its_window() -> None:
    spec = replace(SPEC, budget={"gpu.kernel_time": 1e3})
    now = measurement(window(kernel(GEMM, 1, 5e3)), window(kernel(GEMM, 1, 4e3), name="decode"))
    article = rendered(RunReport("profile", (verdict(now, now, spec=spec),))).find("article")[0]
    requirements = [item.text for item in article.find("ul", class_="unmet")[0].find("li")]
    assert [" ".join(text.split()) for text in requirements] == [
        "\N{BALLOT X} over budget gpu.kernel_time is 5 us, over its budget of 1 us",
        "\N{BALLOT X} over budget [decode] gpu.kernel_time is 4 us, over its budget of 1 us",
    ]


def _colours(text: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", text))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast(theme: str) -> None:
    (style,) = rendered(RunReport("profile")).find("style")
    light, dark = (
        part.split("* {")[0] for part in style.text.split("prefers-color-scheme: dark")[:2]
    )
    light_names = _colours(light)
    colours = _colours(light if theme == "light" else dark)
    assert {*light_names} == {*colours}
    for paper in ("page", "panel"):
        for ink in ("text", "dim", "bad", "warn", "good", "info", "link"):
            assert contrast(colours[paper], colours[ink]) >= 4.5, (paper, ink)


def test_a_run_is_described_without_the_heavy_packages() -> None:
    code = (
        "import sys, pytest_nsys.report.run, pytest_nsys.report.json;"
        "assert not {'pandas', 'numpy', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
