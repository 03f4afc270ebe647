"""What a baseline is, read without what it measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from pytest_nsys.errors import BaselineError
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.storage.baselines import heads as heads_module
from pytest_nsys.storage.baselines.document import render
from pytest_nsys.storage.baselines.heads import Head, heads, read_head
from tests.support import made

ONE = made.measurement(made.kernels(Part("gemm", 2, ns=100)))


def test_the_heads_of_a_folder_come_in_order_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    for nodeid in ("b.py::test", "a.py::test_1", "a.py::test_2"):
        store.write(replace(ONE, nodeid=nodeid))
    store.path("nvidia-h200", "a.py::test_2").write_text("<<<<<<< ours\n{}\n")
    (tmp_path / "no_baseline.json").write_text("{}")
    first, damaged, last = heads(tmp_path)
    assert first == Head(
        tmp_path / "nvidia-h200/a.py/test_1.json",
        "a.py::test_1",
        "nvidia-h200",
        "",
        "NVIDIA H200",
        "2025.3.2",
        5,
    )
    assert isinstance(damaged, BaselineError)
    assert isinstance(last, Head)
    assert last.nodeid == "b.py::test"
    with pytest.raises(BaselineError, match="there is no folder of baselines"):
        list(heads(tmp_path / "none"))


def test_a_file_is_read_once_and_of_a_large_one_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BaselineStore(tmp_path)
    parts = [Part(f"kernel_{number}", 1, ns=1) for number in range(2000)]
    for number in range(20):
        store.write(replace(made.measurement(made.kernels(*parts)), nodeid=f"t.py::test_{number}"))
    opened: list[Path] = []
    real = heads_module.read_beginning

    def counted(path: Path, most: int) -> bytes:
        assert most <= 8192, "the samples are not wanted"
        opened.append(path)
        return real(path, most)

    monkeypatch.setattr(heads_module, "read_beginning", counted)
    monkeypatch.setattr(heads_module, "read_limited", None)
    assert len(list(heads(tmp_path))) == len(opened) == len(set(opened)) == 20


def test_a_file_that_somebody_formatted_is_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(json.loads(render(ONE)), indent=4))
    assert (read_head(path).nodeid, read_head(path).rounds) == ("t.py::test", 5)
    path.write_text(render(ONE).replace('"nodeid": "t.py::test"', '"nodeid": 5'))
    with pytest.raises(BaselineError, match="of the wrong kind"):
        read_head(path)
    path.write_bytes(b"\xff")
    with pytest.raises(BaselineError):
        read_head(path)
    with pytest.raises(BaselineError, match="cannot be read"):
        read_head(tmp_path)


@given(made.measurements)
def test_a_head_says_what_the_whole_says(measurement: Measurement) -> None:
    text = render(measurement).encode("utf-8", "backslashreplace")
    whole = json.loads(text)
    head = heads_module._head_of(text, Path("x"))
    assert (head.nodeid, head.device) == (whole["nodeid"], whole["device"])
    assert (head.nsys, head.rounds) == (whole["environment"]["nsys"], whole["plan"]["rounds"])
