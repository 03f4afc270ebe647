"""Traces of other profilers that may be damaged in any way: a trace, or one error."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_nsys.errors import NsysError
from pytest_nsys.offline.stats import stats_document
from pytest_nsys.trace.others import is_other, load_other
from tests.support.exports.kineto import hatchet, two_steps
from tests.support.mutations import changed_bytes, changed_json

GOOD: tuple[Any, ...] = (
    two_steps(rank=1).document(),
    two_steps().events,
    hatchet({"gemm": (3, 1000), "add": (2, 7)}),
)


def read(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.json"
        path.write_bytes(data)
        if is_other(path):
            try:
                document = stats_document(load_other(path))
            except NsysError:
                return
            assert "NaN" not in json.dumps(document)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(GOOD))
def test_changed_values(data: st.DataObject, good: Any) -> None:
    read(data.draw(changed_json(good)))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(GOOD))
def test_changed_bytes(data: st.DataObject, good: Any) -> None:
    read(data.draw(changed_bytes(json.dumps(good).encode())))
