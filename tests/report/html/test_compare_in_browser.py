"""The page of ``pytest-nsys compare`` in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from pytest_nsys.cli.main import main
from tests.support.browsing import opened
from tests.support.command import served, swept
from tests.support.harness import ROOT

# One browser for the module: all of its tests in one worker.
pytestmark = pytest.mark.xdist_group("browser")

PAGES = ["captures", "engines", "sweep", "range"]
SERVERS = ROOT / "examples" / "servers" / "recordings"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, captures: dict[str, Path]) -> Path:
    """The pages, by what they show."""
    folder = tmp_path_factory.mktemp("pages")
    engines = served(folder / "engines", {"vllm": 80, "sglang": 100, "</script><b>": 120})
    values = [{"dtype": d, "size": str(n)} for d in ("fp16", "bf16") for n in range(1, 9)]
    sweep = swept(folder / "sweep", values)
    train = captures["train"]
    for name, arguments in {
        "captures": [SERVERS / "h200", SERVERS / "h200-slip"],
        "engines": [engines],
        "sweep": [sweep],
        "range": [train, train, "--range", "bwd", "--per", "token=2"],
    }.items():
        words = [str(word) for word in arguments]
        assert main(["compare", *words, "--html", str(folder / f"{name}.html")]) == 0
    return folder


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_opens_and_has_no_serious_barrier(
    browser: Browser, folder: Path, name: str, theme: Any
) -> None:
    with opened(browser, folder / f"{name}.html", color_scheme=theme) as found:
        assert found.page.locator("h1").is_visible()
        found.unfold()
        response = Axe().run(found.page).response
        assert "color-contrast" in {one["id"] for one in response["passes"]}
        barriers = [
            (one["id"], one["impact"], [node["html"] for node in one["nodes"][:3]])
            for one in response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert barriers == []


@pytest.mark.parametrize("width", [390, 1280, 1600])
@pytest.mark.parametrize("name", PAGES)
def test_fits_the_width(browser: Browser, folder: Path, name: str, width: int) -> None:
    size: Any = {"width": width, "height": 800}
    with opened(browser, folder / f"{name}.html", viewport=size) as found:
        found.unfold()
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_sides_are_below_each_other_on_one_scale(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "engines.html") as found:
        bars = found.page.locator(".bars rect.rest")
        ends = [box["x"] + box["width"] for box in map(box_of, bars.all())]
        assert ends == [pytest.approx(ends[0], abs=1)] * 3
        lefts = [box_of(bar)["x"] for bar in bars.all()]
        assert lefts == sorted(lefts)
        titles = found.page.locator("svg.timeline:not(.bars) .title").all_text_contents()
        names = [title.partition(":")[0] for title in titles]
        assert names == ["vllm", "sglang", "</script><b>"]
        tops = [box_of(one)["y"] for one in found.page.locator("svg .title").all()]
        assert tops == sorted(tops)


def box_of(one: Any) -> dict[str, float]:
    box: dict[str, float] = one.bounding_box()
    return box


def test_everything_is_there_without_a_script_and_in_print(browser: Browser, folder: Path) -> None:
    path = folder / "captures.html"
    with opened(browser, path) as found:
        complete = found.page.locator("main").text_content() or ""
        found.page.emulate_media(media="print")
        assert found.page.pdf().startswith(b"%PDF")
        assert found.page.locator("table.grid").last.is_visible()
    with opened(browser, path, java_script_enabled=False) as found:
        plain = found.page.locator("main").text_content() or ""
        assert found.page.locator("table.lead").first.is_visible()
    for added in ("Zoom in", "Zoom out"):
        complete = complete.replace(added, "")
    assert "".join(plain.split()) == "".join(complete.split())
    for said in ("A -> B: tokens/s -45.2%", "GPU busy 11% -> 6%", "9.84%"):
        assert said in plain
    assert "memcpy.d2h.bytes" in plain


def test_what_is_compared_is_listed_with_links(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "captures.html") as found:
        links = found.page.locator("nav a")
        assert links.all_text_contents() == [
            f"test_serving.py::test_serving [{window}]"
            for window in ("concurrency-1", "concurrency-8", "sustained")
        ]
        links.last.click()
        heading = found.page.locator("h2", has_text="[sustained]")
        assert heading.evaluate("one => one.getBoundingClientRect().top") < 400


def test_a_sweep_has_tables_of_six_sides(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "sweep.html") as found:
        heads = found.page.locator("#s1 table.grid thead tr")
        sizes = {row.locator("th").count() for row in heads.all()}
        assert sizes == {7}
        assert found.page.locator("#s1 table.lead tbody tr").count() == 16
        text = found.page.locator("#s1").text_content() or ""
        assert "Drawn are the first 6 of 16." in text
