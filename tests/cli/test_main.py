"""The ``pytest-nsys`` command itself: its arguments, its ends, and what it reads."""

from __future__ import annotations

import lzma
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pytest_nsys import __version__
from pytest_nsys.cli.main import main
from pytest_nsys.trace import Trace, load_trace
from tests.support.command import LONGER, Answer, step
from tests.support.exports.tables import changed
from tests.support.harness import ROOT

SLIPS = ROOT / "examples" / "recordings" / "h200-slips"


def test_an_export_made_by_hand_is_read_back_as_it_was(tmp_path: Path) -> None:
    builder = step(2)
    builder.memset(5_000_000_000, 10, 64)
    builder.memory(5_000_000_100, 64, address=1)
    made, read = builder.build(), load_trace(builder.export(tmp_path / "x.sqlite"))
    for name in ("kernels", "copies", "memsets", "calls", "memory", "ranges"):
        one, other = getattr(made, name), getattr(read, name)
        assert other[list(one.columns)].values.tolist() == one.values.tolist(), name
    facts = [(t.strings, t.gpus, t.driver, t.cuda, t.nsys, t.schema) for t in (made, read)]
    assert facts[0] == facts[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.sqlite", None, "there is no file"),
        ("missing.sqlite.xz", None, "cannot be unpacked"),
        ("text.sqlite", b"hello", "is not an SQLite file"),
        ("empty.sqlite", b"", "is not an SQLite file"),
        ("text.sqlite.xz", b"hello", "cannot be unpacked"),
        ("cut.sqlite", b"SQLite format 3\0" + b"\0" * 50, "is damaged or was cut off"),
        ("packed-text.sqlite.xz", lzma.compress(b"hello"), "is not an SQLite file"),
    ],
)
def test_what_is_no_capture_is_an_error_with_a_remedy(
    command: Callable[..., Answer],
    tmp_path: Path,
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, out, err = command("stats", path)
    assert (code, out) == (2, "")
    assert err.startswith("pytest-nsys: ")
    assert message in err
    assert "What to do: " in err


def test_a_database_or_folder_of_something_else_is_no_capture(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection:
        connection.execute("CREATE TABLE users (name)")
        connection.commit()
    for path in (tmp_path / "other.sqlite", tmp_path):
        code, out, err = command("stats", path)
        assert (code, out) == (2, "")
        assert "holds no" in err
        assert "give a report of nsys (.nsys-rep, .qdrep), an .sqlite that it exported" in err


def test_the_command_says_its_version_and_helps(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--version"], f"pytest-nsys {__version__}\n"),
        (["--help"], "stats"),
        (["stats", "--help"], "--range"),
        (["metrics", "--help"], "markdown"),
        (["diff", "--help"], "  2  could not compare\n"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["stats"], ["diff", "a"], ["stats", "a", "--format", "xml"]]
)
def test_a_wrong_command_line_ends_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "program",
    [[sys.executable, "-m", "pytest_nsys"], [str(Path(sys.executable).parent / "pytest-nsys")]],
)
def test_it_is_a_program_and_a_module(program: list[str], captures: dict[str, Path]) -> None:
    path = str(captures["train"])
    done = subprocess.run([*program, "diff", path, path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path}: ok")


def test_a_reader_that_stops_early_changes_neither_the_exit_code_nor_says_anything(
    captures: dict[str, Path], tmp_path: Path
) -> None:
    before = captures["train"]
    worse = changed(before, tmp_path / "worse.sqlite", LONGER)
    for arguments, code in (
        (["stats", str(captures["llama_node"]), "--format=json"], 0),
        (["diff", str(before), str(worse)], 1),
        (["judge", str(SLIPS), f"--baseline-dir={ROOT / 'baselines'}"], 1),
    ):
        with subprocess.Popen(
            [sys.executable, "-m", "pytest_nsys", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(timeout=30) == code


def test_a_trace_is_loaded_once_per_capture(
    command: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_nsys.storage.recordings import stored

    loaded: list[Path] = []

    def load(path: Path) -> Trace:
        loaded.append(path)
        return load_trace(path)

    monkeypatch.setattr(stored, "load_trace", load)
    path = step().export(tmp_path / "x.sqlite")
    assert command("stats", path)[0] == 0
    assert loaded == [path]


def test_an_interrupt_ends_a_command_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(text: str, end: str = "\n") -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_nsys.cli.common.show", interrupted)
    assert main(["metrics"]) == 130
    assert capsys.readouterr().err == "pytest-nsys: interrupted\n"
