"""The tutorial for a machine with a GPU, as it stands; -s shows how long each step takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.tutorial import Reader


def test_the_tutorial_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(tmp_path, monkeypatch)
    assert reader.left.pop(0) == "pip install pytest-nsys"
    for command, words in (
        ("nsys --version", "NVIDIA Nsight Systems"),
        ("pytest-nsys doctor", "captures can be made"),
        ("pytest test_gelu.py", "1 passed"),
        ("pytest --nsys test_gelu.py", "1 new"),
        ("pytest --nsys-update test_gelu.py", "1 passed"),
        ("pytest-nsys baselines show test_gelu", "3 processes of 5 rounds"),
        ("git add test_gelu.py baselines", ""),
        ('git commit -m "A baseline for GELU"', ""),
        ("pytest --nsys-baseline test_gelu.py", "1 ok"),
    ):
        code, out = reader.types(command)
        assert (code, words in out) == (0, True), out

    reader.makes_it_slow()
    code, out = reader.types("pytest --nsys-baseline --nsys-html=nsys.html test_gelu.py")
    assert code == 1, out
    assert "measuring 1 test again that may have regressed" in out
    assert re.search(r"gpu.kernel_count +1 +5 +\+4 ", out), out

    for command, words in (
        ("git checkout test_gelu.py", ""),
        ("pytest-nsys power test_gelu", "baseline of 3 processes"),
        ("pytest --nsys-baseline --nsys-html=nsys.html --junitxml=junit.xml", "1 ok"),
        ("pytest --nsys --nsys-record=recording test_gelu.py", "1 ok"),
        ("pytest-nsys judge recording", "1 ok"),
    ):
        code, out = reader.types(command)
        assert (code, words in out) == (0, True), out
    assert reader.left == []
