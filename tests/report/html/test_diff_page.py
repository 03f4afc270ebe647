"""``pytest-nsys diff A B --html FILE``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_nsys.cli.main import main
from tests.support.page_reader import read
from tests.support.page_samples import RECORDINGS

THEN, NOW = (str(RECORDINGS / name) for name in ("h200", "h200-slips"))


def test_two_recordings_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "diff.html"
    assert main(["diff", THEN, NOW, "--html", str(path), "--tolerance=5%"]) == 1
    assert "test_gelu" in capsys.readouterr().out, "the table is printed as ever"
    page = read(path.read_text(encoding="utf-8"))
    assert page.find("h1")[0].text == "4 of 6 tests are worse than the baseline"
    commands = {element.text for element in page.find("pre")}
    assert commands == {f"pytest-nsys diff {THEN} {NOW} --tolerance=5%"}
    assert len(page.find("svg", class_="timeline")) == 6
    assert "GPU timelines, baseline above current" in page.text
    assert "host-bound" in page.text


def test_whole_captures_and_ranges(captures: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "diff.html"
    capture = str(captures["train"])
    assert main(["diff", capture, capture, "--range=bwd", f"--html={path}", "--format=json"]) == 0
    page = read(path.read_text(encoding="utf-8"))
    assert page.find("h1")[0].text == "Nothing is worse than the baseline"
    assert page.find("pre")[0].text.endswith(" --range=bwd")
    assert page.find("svg", class_="timeline")


def test_a_page_that_cannot_be_written_is_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["diff", THEN, THEN, "--html", str(tmp_path / "file" / "diff.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_run_writes_the_page_with_timelines_and_bottlenecks(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nsys-baseline"]
    command += ["--nsys-replay=recordings/h200-slips", f"--nsys-html={path}"]
    assert subprocess.run(command, cwd=RECORDINGS.parent, capture_output=True).returncode == 1
    page = read(path.read_text(encoding="utf-8"))
    assert page.find("h1")[0].text == "4 of 6 tests failed"
    assert len(page.find("svg", class_="timeline")) == 6
    names = [
        name.text for item in page.find("ul", class_="findings") for name in item.find("strong")
    ]
    assert "transfer-bound" in names
    commands = [element.text for element in page.find("pre")]
    assert "pytest --nsys test_examples.py::test_gelu" in commands
    accepting = "pytest --nsys-replay=recordings/h200-slips --nsys-update"
    assert f"{accepting} test_examples.py::test_gelu" in commands
