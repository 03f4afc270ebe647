"""The page about other plugins is that of the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compat import page
from tests.compat.table import GROUPS, REFUSED
from tests.support.harness import ROOT


def test_the_page_is_that_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    page.main([])
    assert capsys.readouterr().out == (ROOT / "docs/compatibility.md").read_text()


def test_the_most_used_plugins_are_tried_by_make_test() -> None:
    usual = {case.package for group in GROUPS if group.usual for case in group.cases}
    every = {case.package for group in GROUPS for case in group.cases}
    names = [case.name for group in GROUPS for case in group.cases] + [r.name for r in REFUSED]
    assert len(usual - {""}) >= 20
    assert len(names) >= 60
    assert len(names) == len({*names})
    assert "make test" in Path(ROOT / ".ci/run").read_text()
    assert len(every | {case.package for case in REFUSED}) >= 50
