"""The page of a history in a real browser: it opens, filters, tells values, fits, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from pytest_nsys.report.html.history.render import write_history
from pytest_nsys.storage.history.store import Series
from pytest_nsys.storage.history.trend import trends_of
from tests.report.html.history.test_render import hostile
from tests.support.browsing import opened
from tests.support.histories import Suite

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, by the name of what they show."""
    folder = tmp_path_factory.mktemp("histories")
    for name, suite in {
        "one": Suite(20, 60),
        "three": Suite(14, 40, ("nvidia-h200", "nvidia-b200", "nvidia-l40s")),
        "many": Suite(300, 20),
    }.items():
        series = [
            Series(suite.nodeid(test), device, tuple(suite.entries(test, device)))
            for test in range(suite.tests)
            for device in suite.devices
        ]
        write_history(trends_of(series), folder / f"{name}.html", ["a note"])
    write_history(hostile("<b>&\"'" + "x" * 3000), folder / "hostile.html", ["x" * 3000])
    return folder


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "three", "many", "hostile"])
def test_opens_without_an_error_or_a_request(
    browser: Browser, folder: Path, name: str, theme: Any
) -> None:
    with opened(browser, folder / f"{name}.html", color_scheme=theme) as found:
        assert found.page.locator("h1").is_visible()
        found.unfold()
        found.page.wait_for_load_state()
        assert found.page.locator("svg.chart").first.is_visible()


@pytest.mark.parametrize("width", [390, 1280, 1600])
@pytest.mark.parametrize("name", ["one", "three", "hostile"])
def test_fits_the_width(browser: Browser, folder: Path, name: str, width: int) -> None:
    size: Any = {"width": width, "height": 800}
    with opened(browser, folder / f"{name}.html", viewport=size) as found:
        found.unfold()
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width
        chart = found.page.locator(".card svg.chart").first
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] >= 250, "small multiples are large enough to be read"


def test_filters_by_name_and_state(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "one.html") as found:
        cards = found.page.locator("article:visible")
        assert cards.count() == 20
        found.page.get_by_role("searchbox").fill("KV_COPY")
        assert cards.count() == 3
        assert found.page.get_by_role("status").inner_text() == "3 of 20 tests"
        found.page.get_by_role("searchbox").fill("")
        found.page.get_by_role("checkbox", name="steady").uncheck()
        assert {card.get_attribute("data-status") for card in cards.all()} == {
            "drifted",
            "worse",
            "better",
        }


def test_a_link_leads_to_the_test(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "many.html") as found:
        link = found.page.locator(".event a").last
        link.evaluate("it => { for (let at = it; at; at = at.parentElement) at.open = true; }")
        name = link.inner_text()
        link.click()
        card = found.page.locator(f"article{found.page.url[found.page.url.index('#') :]}")
        card.wait_for()
        assert name.endswith(card.locator("h3 > code").inner_text())
        top = card.evaluate("it => it.getBoundingClientRect().top")
        assert -1 < top < 800


def test_a_pointer_is_told_value_run_commit_and_new_versions(
    browser: Browser, folder: Path
) -> None:
    with opened(browser, folder / "one.html") as found:
        chart = found.page.locator("article[data-status=worse] svg.chart").first
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box is not None
        chart.hover(position={"x": 1, "y": 20})
        tip = found.page.locator(".tip")
        first = tip.inner_text()
        assert "ms, 2025-12-01 03:12 0000000" in first
        mark = chart.locator(".mark").first.get_attribute("d") or ""
        at = int(mark[1:].partition(" ")[0]) / 59
        chart.hover(position={"x": at * box["width"], "y": 20})
        assert "over the tolerance" in tip.inner_text()
        found.page.mouse.move(0, 0)
        assert tip.count() == 0


def test_everything_is_there_without_javascript(browser: Browser, folder: Path) -> None:
    path = folder / "three.html"
    with opened(browser, path) as found:
        complete = found.page.locator("main").text_content() or ""
    with opened(browser, path, java_script_enabled=False) as found:
        assert not found.page.locator("#tools").is_visible()
        plain = found.page.locator("main").text_content() or ""
        fold = found.page.locator("article details > summary").first
        fold.click()
        assert found.page.locator("article details table").first.is_visible()
        assert found.page.locator("article").count() == 14
    assert "".join(plain.split()) == "".join(complete.split())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_has_no_serious_barrier(browser: Browser, folder: Path, theme: Any, width: int) -> None:
    size: Any = {"width": width, "height": 800}
    with opened(browser, folder / "three.html", color_scheme=theme, viewport=size) as found:
        found.unfold()
        response = Axe().run(found.page).response
        barriers = [
            (one["id"], one["impact"], [node["html"] for node in one["nodes"][:3]])
            for one in response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert barriers == []


def test_prints_what_is_folded_too(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "one.html", color_scheme="dark") as found:
        folded = found.page.locator("article details table, #runs table, #reading dl")
        assert not any(one.is_visible() for one in folded.all())
        found.page.emulate_media(media="print")
        assert not found.page.locator("#tools").is_visible()
        assert all(one.is_visible() for one in folded.all())
        assert found.page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
        assert found.page.pdf().startswith(b"%PDF")
