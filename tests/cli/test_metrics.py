"""``pytest-nsys metrics``, and the page of the documentation that is made from it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from pytest_nsys.catalogue import FAMILIES, METRICS, RANGE_KEY, SERVER_GATES, metric_names
from pytest_nsys.gpu.peaks import PRECISIONS
from pytest_nsys.kernels import CATEGORIES
from pytest_nsys.offline.catalogue_page import catalogue_page
from tests.support.command import Answer
from tests.support.harness import ROOT


def test_the_page_in_docs_is_what_the_catalogue_says() -> None:
    committed = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert committed == catalogue_page(), "run: make docs"


def test_nothing_heavy_is_imported_for_it() -> None:
    script = (
        "import sys; from pytest_nsys.cli.main import main; main(['metrics']); "
        "sys.exit(str({'numpy', 'pandas', 'jinja2', 'psutil'} & {*sys.modules} or ''))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_the_table_has_every_metric_and_fits_eighty_columns(
    command: Callable[..., Answer],
) -> None:
    code, out, err = command("metrics")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    first_words = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert first_words >= set(metric_names())
    row = next(line for line in lines if line.startswith("mem.peak "))
    assert row.split() == ["mem.peak", "B", "exact", "up", "2%", "or", "16", "MiB", "gated"]
    row = next(line for line in lines if line.startswith("gpu.busy_pct "))
    assert row.split() == ["gpu.busy_pct", "%", "timed", "down", "3", "pp", "listed"]
    for name, about in CATEGORIES.items():
        assert any(line.split() == [name, *about.split()] for line in lines)


def test_the_json_has_all_of_it(command: Callable[..., Answer]) -> None:
    document = json.loads(command("metrics", "--format=json")[1])
    assert list(document) == [
        *("schema", "metrics", "range", "per_unit", "server_gates", "categories")
    ]
    assert {one["key"] for one in document["server_gates"]} == set(SERVER_GATES)
    assert document["schema"] == 1
    assert [metric["key"] for metric in document["metrics"]] == [
        metric.key for metric in (*METRICS, *FAMILIES)
    ]
    peak = next(metric for metric in document["metrics"] if metric["key"] == "mem.peak")
    assert peak == {
        **{"key": "mem.peak", "unit": "B", "kind": "exact", "worse": "up", "gated": True},
        "tolerance": {"relative": 0.02, "absolute": 16 * 2**20},
        "about": peak["about"],
    }
    busy = next(metric for metric in document["metrics"] if metric["key"] == "gpu.busy")
    assert busy["tolerance"] is None
    assert document["range"]["key"] == RANGE_KEY
    assert [row["name"] for row in document["categories"]] == list(CATEGORIES)


def test_the_page_has_every_metric_and_category_once(command: Callable[..., Answer]) -> None:
    code, out, _ = command("metrics", "--format=markdown")
    assert (code, out) == (0, catalogue_page())
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")]
    named = [row[0].removeprefix("| ").strip("`") for row in rows]
    for name in (*metric_names(), *CATEGORIES):
        assert named.count(name) == 1, name
    assert {len(row) for row in rows} == {2, 7, 1 + len(PRECISIONS)}


@pytest.mark.parametrize("page", ["README.md", "docs/how-it-works.md"])
def test_no_other_page_copies_the_definitions(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for metric in (*METRICS, *FAMILIES):
        # Short ones ("KERNEL rows") may be part of any sentence.
        assert len(metric.about) < 40 or metric.about not in text


def test_the_readme_links_to_the_page() -> None:
    assert "/metrics.html)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_only_what_matches_is_listed(command: Callable[..., Answer]) -> None:
    code, out, _ = command("metrics", "TTFT")
    assert code == 0
    lines = [line for line in out.splitlines()[1:] if not line.startswith(" ")]
    assert len(lines) == 4
    assert all(line.startswith("client.ttft_") for line in lines)
    document = json.loads(command("metrics", "mem.pe*", "--format=json")[1])
    assert [one["key"] for one in document["metrics"]] == ["mem.peak", "mem.peak_total"]
    markdown = command("metrics", "mem.peak_total", "--format=markdown")[1]
    assert markdown.startswith("```text\nmetric ")
    assert markdown.endswith("\n```\n")


def test_what_matches_nothing_is_told_with_the_nearest(command: Callable[..., Answer]) -> None:
    code, out, err = command("metrics", "gpu.kernel_tine")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "pytest-nsys: no metric matches 'gpu.kernel_tine'",
        "pytest-nsys: did you mean 'gpu.kernel_time'?",
    ]
