"""Fixtures of those who capture commands: empty folders, and ``pytest-nsys capture``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_nsys.cli.main import main
from tests.support.capture_bench import nothing_left
from tests.support.capture_command import Answer

_NOT_STARTED = "Local Endpoint is not available"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing is left, nor a process of it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    with nothing_left(folder):
        yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def capture_command(
    here: Path, temporary: Path, clean_environment: None, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Runs ``pytest-nsys capture``.

    nsys 2023 now and then ends without having started its program. Here the command tries again;
    where a launcher leads, it cannot know whether the program has run, and a user has to.
    """

    def once(*arguments: object) -> Answer:
        try:
            code = main(["capture", *map(str, arguments)])
        except SystemExit as error:
            code = int(str(error.code))
        return code, *capsys.readouterr()

    def run(*arguments: object) -> Answer:
        for _ in range(2):
            answer = once(*arguments)
            if _NOT_STARTED not in answer[2]:
                return answer
        return once(*arguments)

    return run
