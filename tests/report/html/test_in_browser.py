"""The HTML report in a real browser: it opens, sorts, filters, fits, and all can read it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from pytest_nsys.report.html.render import write_html
from tests.support.browsing import Opened, opened, unhurried
from tests.support.page_samples import a_run, hostile, many, mixed, real, unclear_server

# One browser for the module: all of its tests in one worker.
pytestmark = pytest.mark.xdist_group("browser")

MEGABYTE = 1_000_000
PAPER: Any = {"width": 720, "height": 1000}
"""What is left of A4 between its margins."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, by the name of what they show."""
    folder = tmp_path_factory.mktemp("pages")
    write_html(real(), folder / "real.html")
    write_html(replace(a_run(), notes=("a note",)), folder / "made.html")
    write_html(mixed(), folder / "mixed.html")
    write_html(unclear_server(), folder / "server.html")
    write_html(hostile("<b>&\"'" + "x" * 3000), folder / "hostile.html")
    write_html(many(failed=20, tests=1000), folder / "many.html")
    write_html(many(failed=1000, tests=1000), folder / "failed.html")
    return folder


def rows(found: Opened) -> list[str]:
    """The tests of the table of all tests that are seen, in their order, each once."""
    names = found.page.locator("table.tests tbody tr:visible th a code")
    return [*dict.fromkeys(name.rpartition("::")[2] for name in names.all_text_contents())]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["real", "made", "hostile", "server"])
def test_opens_without_an_error_or_a_request(
    browser: Browser, folder: Path, name: str, theme: Any
) -> None:
    with opened(browser, folder / f"{name}.html", color_scheme=theme) as found:
        assert found.page.locator("h1").is_visible()
        paper = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (theme == "light")
        found.unfold()
        found.page.wait_for_load_state()


def test_sorts_by_a_column(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html") as found:
        everything = rows(found)
        heading = found.page.locator("table.tests th", has_text="change")
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        assert rows(found)[:2] == ["test_gelu", "test_attention"]
        found.page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        assert rows(found)[-2:] == ["test_attention", "test_gelu"]
        found.page.locator("table.tests th button", has_text="Test").click()
        assert rows(found) == sorted(everything, reverse=True)
        assert heading.get_attribute("aria-sort") is None


def test_sorts_kernels(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html") as found:
        found.unfold()
        table = found.page.locator("table.sortable", has_text="Baseline time").first
        table.get_by_role("button", name="Kernel").click()
        names = table.locator("tbody th summary > code, tbody th > code").all_text_contents()
        assert len(names) > 1
        assert names == sorted(names, key=str.lower, reverse=True)


def test_filters_by_name_and_status(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html") as found:
        everything = rows(found)
        assert len(everything) == 6
        found.page.get_by_role("searchbox").fill("GELU")
        assert rows(found) == ["test_gelu"]
        assert found.page.get_by_role("status").inner_text() == "1 of 6 tests"
        assert found.page.locator("article:visible, details.test:visible").count() == 1
        found.page.get_by_role("searchbox").fill("")
        found.page.get_by_role("checkbox", name="regressed").uncheck()
        assert rows(found) == ["test_gemm", "test_decode"]
        assert found.page.locator("article:visible").count() == 0
        found.page.get_by_role("checkbox", name="regressed").check()
        assert rows(found) == everything


def test_folds_and_unfolds(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html") as found:
        passed = found.page.locator("details.test")
        assert [one.get_attribute("open") for one in passed.all()] == [None, None]
        found.page.get_by_role("button", name="Unfold all").click()
        assert [one.get_attribute("open") for one in passed.all()] == ["", ""]
        found.page.get_by_role("button", name="Fold all").click()
        assert [one.get_attribute("open") for one in passed.all()] == [None, None]
        found.page.locator("table.tests a", has_text="test_decode").click()
        unfolded = found.page.locator("details.test[open]", has_text="test_decode")
        unfolded.wait_for()  # the browser tells the page of the new address after the click
        assert unfolded.count() == 1


def test_timelines_are_enlarged(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html") as found:
        frame = found.page.locator(".timeline-scroll").first
        width = "one => one.querySelector('svg').getBoundingClientRect().width"
        before = frame.evaluate(width)
        found.page.get_by_role("button", name="Zoom in").first.click()
        assert frame.evaluate(width) == pytest.approx(2 * before, rel=0.1)
        found.page.get_by_role("button", name="Zoom out").first.click()
        assert frame.evaluate(width) == pytest.approx(before)


def test_everything_is_there_without_javascript(browser: Browser, folder: Path) -> None:
    path = folder / "real.html"
    with opened(browser, path) as found:
        complete = found.page.locator("main").text_content() or ""
    with opened(browser, path, java_script_enabled=False) as found:
        assert not found.page.locator("#tools").is_visible()
        plain = found.page.locator("main").text_content() or ""
        for fold in found.page.locator("details.test > summary").all():
            fold.click()
        assert found.page.locator("details.test table.metrics").first.is_visible()
        assert len(rows(found)) == 6
    for added in ("Zoom in", "Zoom out"):
        complete = complete.replace(added, "")
    assert "".join(plain.split()) == "".join(complete.split())


def test_a_viewer_that_forbids_styles_and_scripts_shows_everything(
    browser: Browser, folder: Path
) -> None:
    text = (folder / "real.html").read_text(encoding="utf-8")
    context = unhurried(browser)
    page = context.new_page()
    headers = {
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Type": "text/html; charset=utf-8",
    }
    page.route("**/*", lambda route: route.fulfill(body=text, headers=headers))
    page.goto("http://artifacts.test/report.html")
    assert page.locator("h1").inner_text() == "4 of 6 tests failed"
    assert page.locator("article table.metrics").first.is_visible()
    assert not page.locator("#tools").is_visible()
    strip = page.locator("article svg.strip").first.bounding_box()
    assert strip is not None
    assert strip["width"] == 190
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["mixed", "server"])
def test_has_no_serious_barrier(browser: Browser, folder: Path, name: str, theme: Any) -> None:
    with opened(browser, folder / f"{name}.html", color_scheme=theme) as found:
        found.unfold()
        response = Axe().run(found.page).response
        assert {"color-contrast", "aria-required-children"} <= {
            one["id"] for one in response["passes"]
        }
        barriers = [
            (one["id"], one["impact"], [node["html"] for node in one["nodes"][:3]])
            for one in response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert barriers == []


BROKEN_WORDS = """
() => {
  const broken = [];
  const texts = document.createTreeWalker(document.querySelector("body"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (node.parentElement.closest("script, style, svg")) continue;
    for (const word of node.data.matchAll(/[\\p{L}\\p{N}]+|->|--/gu)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) broken.push(node.data);
    }
  }
  return broken;
}
"""
"""The texts in which a line ends within a word."""


@pytest.mark.parametrize("width", [1280, 1600])
@pytest.mark.parametrize("name", ["real", "mixed", "server"])
def test_no_word_is_broken(browser: Browser, folder: Path, name: str, width: int) -> None:
    size: Any = {"width": width, "height": 800}
    with opened(browser, folder / f"{name}.html", viewport=size) as found:
        found.unfold()
        assert found.page.evaluate(BROKEN_WORDS) == []
        found.page.add_style_tag(content="main { width: 20rem }")
        assert found.page.evaluate(BROKEN_WORDS) != [], "where there is no room it is seen"


@pytest.mark.parametrize("name", ["real", "mixed", "server"])
def test_no_word_is_broken_on_paper(browser: Browser, folder: Path, name: str) -> None:
    with opened(browser, folder / f"{name}.html", viewport=PAPER) as found:
        found.page.emulate_media(media="print")
        found.unfold()
        assert found.page.evaluate(BROKEN_WORDS) == []


def test_the_windows_of_a_server_are_seen_at_once(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "server.html", java_script_enabled=False) as found:
        table, steps = found.page.locator("table.served").all()
        assert table.is_visible()
        assert steps.is_visible()
        heads = ["Window", "tokens/s", "TTFT p50", "kernel/token", "p95", "busy"]
        assert table.locator("thead th").all_inner_texts() == heads
        row = table.locator("tbody tr", has_text="concurrency-8")
        for said in ("61.99 ms", "was 62.53 ms", "inconclusive", "limit 119% (noise)", "noise"):
            assert said in row.inner_text()


def test_samples_have_a_scale(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "server.html") as found:
        found.unfold()
        strips = found.page.locator("svg.strip")
        assert strips.count() > 3
        for strip in strips.all():
            whole = strip.bounding_box()
            boxes = [text.bounding_box() for text in strip.locator("text").all()]
            assert len(boxes) >= 2
            assert whole is not None
            assert None not in boxes
            ends = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
            assert ends[0][0] >= whole["x"] - 1
            assert ends[-1][1] <= whole["x"] + whole["width"] + 1
            assert all(one[1] < other[0] for one, other in pairwise(ends)), "none over another"


@pytest.mark.parametrize("width", [320, 768, 1600])
@pytest.mark.parametrize("name", ["real", "made", "hostile", "server"])
def test_fits_the_width(browser: Browser, folder: Path, name: str, width: int) -> None:
    size: Any = {"width": width, "height": 800}
    with opened(browser, folder / f"{name}.html", viewport=size) as found:
        found.unfold()
        wide = found.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width


def test_can_be_used_with_the_keyboard(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html") as found:
        reached = set()
        for _ in range(25):
            found.page.keyboard.press("Tab")
            reached.add(found.page.evaluate("document.activeElement.tagName"))
            outline = found.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
        assert {"A", "INPUT", "BUTTON", "SUMMARY"} <= reached


def test_prints(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html", color_scheme="dark") as found:
        found.page.emulate_media(media="print")
        assert not found.page.locator("#tools").is_visible()
        paper = found.page.evaluate("getComputedStyle(document.documentElement).colorScheme")
        ink = found.page.evaluate("getComputedStyle(document.body).color")
        assert ink == "rgb(27, 31, 36)", paper


def test_is_printed_with_everything_unfolded(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "server.html") as found:
        page = found.page
        page.evaluate(
            "addEventListener('beforeprint', () => {"
            " window.closed_then = document.querySelectorAll('details:not([open])').length; })"
        )
        closed = "document.querySelectorAll('details:not([open])').length"
        before = page.evaluate(closed)
        assert before > 0
        assert page.pdf().startswith(b"%PDF")
        assert page.evaluate("window.closed_then") == 0
        assert page.evaluate(closed) == before, "it is as it was"


def test_what_is_folded_is_printed_without_a_script(browser: Browser, folder: Path) -> None:
    path = folder / "server.html"
    with opened(browser, path, viewport=PAPER, java_script_enabled=False) as found:
        found.page.emulate_media(media="print")
        for part in ("details.window table.metrics", "#reading dd", ".findings", "svg.strip"):
            several = found.page.locator(part)
            assert several.count()
            assert all(one.is_visible() for one in several.all()), part
        wide = found.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PAPER["width"]


def test_all_of_a_long_page_is_painted(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "real.html") as found:
        skipped = "one => getComputedStyle(one).contentVisibility"
        for test in found.page.locator(".test").all():
            assert test.evaluate(skipped) == "visible"


@pytest.mark.parametrize("name", ["many", "failed"])
def test_a_page_of_a_thousand_tests_is_small(browser: Browser, folder: Path, name: str) -> None:
    path = folder / f"{name}.html"
    assert path.stat().st_size <= 5 * MEGABYTE
    with opened(browser, path) as found:
        assert len(rows(found)) == 1000
