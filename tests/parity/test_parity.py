"""Our reports against nsys's own, byte for byte: all rows, all columns, in their order.

Real captures against the reports that nsys made of them (`tests/captures`), whichever are there;
and exports made by hand and by chance (`nsys_exports`) against what nsys 2025.3 printed about
them, which is kept in ``nsys_2025_3.txt``. To keep it anew, where there is such an nsys, print for
each case and report a line ``=== CASE REPORT`` and what ``nsys stats --quiet --report REPORT
--format csv CASE.sqlite`` prints.

What other versions of nsys say differently is in `capture/test_like_nsys_stats.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from pytest_nsys.trace import Trace, load_trace
from tests.parity.cases import CASES, RANDOM, assert_same_text, named_export
from tests.parity.like_nsys import REPORTS, csv_text, like_nsys
from tests.support.harness import TESTS

KEPT = Path(__file__).parent / "nsys_2025_3.txt"
MADE = [*CASES, *(f"random_{seed:02}" for seed in RANDOM)]


def reported() -> list[tuple[str, str]]:
    """Capture and report of each of nsys's reports that we have and can make."""
    names = [path.name.split(".") for path in sorted((TESTS / "captures").glob("*.csv"))]
    return [(capture, report) for capture, report, _ in names if report in REPORTS]


@cache
def kept() -> Mapping[tuple[str, str], str]:
    """What nsys printed, by case and report."""
    parts = re.split(r"^=== (\S+) (\S+)\n", KEPT.read_bytes().decode(), flags=re.MULTILINE)
    return {
        (case, report): text
        for case, report, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


@pytest.mark.parametrize(("capture", "report"), reported())
def test_a_real_capture_is_reported_as_nsys_does(
    traces: Mapping[str, Trace], capture: str, report: str
) -> None:
    """nsys ends with an empty line what it prints, and without one what it writes to a file."""
    theirs = (TESTS / "captures" / f"{capture}.{report}.csv").read_bytes().decode()
    ours = csv_text(like_nsys(traces[capture], report))
    assert_same_text(ours.rstrip("\n"), theirs.rstrip("\n"))


def test_every_report_is_compared_on_a_real_capture() -> None:
    assert {report for _, report in reported()} == set(REPORTS)


@pytest.mark.parametrize("report", REPORTS)
def test_a_capture_without_kept_reports_is_as_nsys_printed_it(
    traces: Mapping[str, Trace], report: str
) -> None:
    assert_same_text(csv_text(like_nsys(traces["basic"], report)), kept()["basic", report])


@pytest.mark.parametrize("case", MADE)
def test_a_made_export_is_reported_as_nsys_does(case: str, tmp_path: Path) -> None:
    trace = load_trace(named_export(case).write(tmp_path / f"{case}.sqlite"))
    for report in REPORTS:
        assert_same_text(csv_text(like_nsys(trace, report)), kept()[case, report])


def test_all_that_is_kept_is_compared() -> None:
    assert kept().keys() == {(case, report) for case in ("basic", *MADE) for report in REPORTS}
    assert sum(text.count("\n") for text in kept().values()) > 1000
