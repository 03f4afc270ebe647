"""What the page says of real pairs of captures from an H200, and of a made one, word for word.

The view of each test as text is compared with a file in ``golden/``. After a change that is meant,
``UPDATE_GOLDEN=1 pytest tests/report/html/test_golden.py`` writes them anew: read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.kernels.occupancy import occupancy
from pytest_nsys.measure.measurement import Launched
from pytest_nsys.report.html.model import MeasuredTest, MeasuredWindow, MetricRow, Row
from pytest_nsys.report.html.page import page
from pytest_nsys.report.run import RunReport
from pytest_nsys.verdict.verdict import Verdict
from tests.support.builders import GEMM, before, kernel, measurement, verdict, window
from tests.support.page_samples import compared, under_a_roof

GOLDEN = Path(__file__).parent / "golden"


def retuned() -> Verdict:
    """Another tile was picked for a GEMM, so that each takes longer."""
    tiles = [f"nvjet_sm90_hsh_{tile}_64x4_1x2_h_bz_TNN" for tile in ("256x128", "64x64")]
    hows = [Configuration((16, 32), (384,), 168), Configuration((64, 64), (128,), 90)]
    fast, slow = (
        replace(
            kernel(GEMM, 64, ns),
            raw=(tile,),
            launched=(Launched(how, 64, ns, occupancy(how, (9, 0)), tile),),
        )
        for tile, ns, how in zip(tiles, (1.2e6, 1.9e6), hows, strict=True)
    )
    norm = kernel("rms_norm", 65, 52_840, "norm")
    now = measurement(window(slow, norm))
    return verdict(now, before(now, window(fast, norm)))


PAIRS = {
    "lost-fusion": lambda: compared("h200", "h200-slips")["test_gelu"],
    "more-synchronisation": lambda: compared("h200", "h200-slips")["test_training_step"],
    "more-copies": lambda: compared("h200", "h200-slips")["test_upload"],
    "improved-kernel": lambda: compared("h200-slips", "h200")["test_attention"],
    "unchanged": lambda: compared("h200", "h200-slips")["test_gemm"],
    "changed-autotuning": retuned,
    "slower-under-its-roof": under_a_roof,
}


@pytest.mark.parametrize("name", PAIRS)
def test_says_what_it_always_said(name: str) -> None:
    shown = page(RunReport("profile", (PAIRS[name](),)))
    (test,) = (*shown.failures, *shown.others)
    text = "\n".join(described(test)) + "\n"
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def described(test: MeasuredTest) -> Iterator[str]:
    yield f"{test.badge.word}: {test.headline}"
    yield f"drawing: {test.drawing.title if test.drawing else 'none'}"
    for one in test.bottlenecks:
        yield f"finding: {one.name}, {one.share:.0%}: {one.summary}"
    for shown in test.windows:
        yield from ("  " * bool(line) + line for line in described_window(shown))


def described_window(shown: MeasuredWindow) -> Iterator[str]:
    yield ""
    yield f"{shown.title or 'the only window'}: {shown.said}"
    for row in shown.gated:
        yield f"{metric(row)}, limit {row.limit}: {row.badge.word}"
    yield shown.unchanged or "nothing unchanged"
    if shown.roofline:
        yield f"roofline: {shown.roofline.words}"
    for one in shown.waterfalls:
        yield f"{one.metric} {one.title}"
        for bar in one.bars:
            yield f"  {bar.level} {line(bar.row)} [{bar.x} +{bar.width} {bar.direction}]"
    for copies in shown.transfers:
        yield f"{copies.name}: {copies.count}, {copies.bytes}, {copies.time}"
    for table in shown.tables:
        yield f"{table.title} {table.glance}"
        yield from (f"  {line(row)}" for row in table.rows)


def metric(row: MetricRow) -> str:
    return f"{row.key} {row.then} -> {row.now}: {row.change}"


def line(row: Row) -> str:
    said = [row.name, row.tag and f"({row.tag})", row.before and f"was {row.before}"]
    said += [row.relaunched, row.kind]
    said += [row.count, f"{row.then} -> {row.now}" if row.then else row.now, row.change]
    return " | ".join(filter(None, said))
