"""The page on faults in the documentation."""

from __future__ import annotations

from collections import Counter

from tests.faults.page import page
from tests.faults.table import FAULTS
from tests.support.harness import ROOT


def test_the_page_is_that_of_the_table() -> None:
    committed = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    assert committed == page(), "make docs"


def test_each_fault_has_a_name_of_its_own() -> None:
    counts = Counter(fault.id for fault in FAULTS)
    assert [name for name, count in counts.items() if count > 1] == []
    assert len(FAULTS) >= 40
