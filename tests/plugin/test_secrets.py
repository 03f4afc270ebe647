"""What a run leaves holds of the program and its surroundings what the documentation says."""

from __future__ import annotations

import base64
import gzip
import lzma
import os
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.simgpu.ncu import write_ncu
from tests.support.harness import SIMGPU, Project
from tests.support.leaks import leaked
from tests.support.secret_project import (
    GIVEN,
    PLACES,
    WORDS,
    check,
    page_table,
    surroundings,
    write_project,
)

ARTEFACTS = {
    "baselines": ("baselines", "history"),
    "recording": ("recording",),
    "JSON": ("out.json", "update.json"),
    "HTML": ("out.html", "update.html"),
    "kept reports": ("kept",),
}
"""The columns of the page's table, and the files of the run."""


@pytest.fixture
def left(simulated: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that runs of a project full of secrets can leave."""
    folder = simulated.path / WORDS["path"]
    folder.mkdir()
    write_project(simulated, folder, simulated=True)
    write_ncu(simulated.path / "bin")
    with surroundings(folder, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(SIMGPU / "path"), prepend=os.pathsep)
        password = f"--password={WORDS['option']}"
        simulated.run(
            "--nsys-update",
            "--nsys-ncu=always",
            password,
            GIVEN,
            "--nsys-json=update.json",
            "--nsys-html=update.html",
        )
        result = simulated.run(
            "--nsys",
            "--nsys-ncu=always",
            password,
            GIVEN,
            "--nsys-record=recording",
            "--nsys-json=out.json",
            "--nsys-html=out.html",
            "--nsys-keep=kept",
            "--nsys-history=history",
            "--junitxml=junit.xml",
        )
    result.assert_outcomes(passed=1, failed=2, skipped=1, xfailed=1)
    (folder / "terminal.txt").write_text(result.stdout.str() + result.stderr.str())
    return folder


def test_what_a_run_leaves_is_what_the_page_says(left: Path) -> None:
    table = page_table()
    assert list(table) == list(PLACES)
    for artefact, names in ARTEFACTS.items():
        check(artefact, [left / name for name in names])
    check_that_timelines_hold_names_of_what_ran_only(left)
    check_that_private_is_private_and_said(left)
    # Nothing of the run is left beside what was asked for.
    assert list((left / f"tmp-{WORDS['path']}").glob("pytest-nsys-*")) == []
    assert list((left / f"tmp-{WORDS['path']}").glob("nsys-*")) == []


def check_that_timelines_hold_names_of_what_ran_only(left: Path) -> None:
    """The page counts them to the baselines, which hold the ids of tests besides."""
    (kept,) = (left / "baselines").rglob("test_good*.timeline.json.gz")
    inside = [gzip.decompress(kept.read_bytes())]
    found = {key for key, word in WORDS.items() for data in inside if word.encode() in data}
    assert found == {"kernel", "range", "part"}


def check_that_private_is_private_and_said(left: Path) -> None:
    """Raw reports can be read by their owner only, and the summary says where they are."""
    kept = left / "kept"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    shown = (left / "terminal.txt").read_text()
    line = next(line for line in shown.splitlines() if line.startswith("raw reports are in "))
    assert line.startswith(f"raw reports are in {kept}; they hold ")
    assert "environment" in line
    assert line.endswith("do not publish them")


LOOKING = """
    import os, pathlib, stat

    def look(when):
        for path in pathlib.Path({temporary!r}).rglob("*"):
            try:
                state = path.lstat()
                holds = path.is_file() and {word!r}.encode() in path.read_bytes()
            except OSError:
                continue
            private = all(
                part.lstat().st_mode & 0o077 == 0
                for part in (path, *path.parents)
                if part.name.startswith("pytest-nsys-")
            )
            mode = oct(state.st_mode & 0o777)
            with open({seen!r}, "a") as file:
                file.write(f"{{when}} {{path.name}} {{mode}} {{private}} {{holds}}\\n")
"""


@pytest.fixture
def looking(simulated: Project, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which ``from looking import look`` tells of the temporary files of a run."""
    seen = simulated.path / "seen.txt"
    monkeypatch.setenv("API_TOKEN", WORDS["variable"])
    text = LOOKING.format(temporary=str(temporary), word=WORDS["variable"], seen=str(seen))
    simulated.write(text, "looking.py")
    return seen


def test_the_environment_is_in_no_file_when_code_of_the_project_runs(
    simulated: Project, looking: Path
) -> None:
    simulated.write("from looking import look\nlook('conftest')", "conftest.py")
    simulated.write(
        """
        import pytest
        from looking import look

        look("module")

        @pytest.mark.nsys(allow_empty=True)
        def test_it():
            look("test")
        """
    )
    assert simulated.run("--nsys").ret == 0
    lines = [line.split() for line in looking.read_text().splitlines()]
    assert {line[0] for line in lines} == {"conftest", "module", "test"}
    assert [line for line in lines if line[1] == "launch.json"] == []
    assert [line for line in lines if line[4] == "True"] == []


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_file_with_the_environment_is_private_and_goes_also_when_nsys_is_killed(
    simulated: Project, looking: Path, temporary: Path, umask: int
) -> None:
    """nsys dies before it has started the exec shim, which would have deleted the file."""
    nsys = simulated.path / "bin" / "nsys"
    nsys.rename(nsys.with_name("real-nsys"))
    nsys.write_text(
        f'#!/bin/sh\nif [ "$1" != profile ]; then exec {nsys.with_name("real-nsys")} "$@"; fi\n'
        f"cd {simulated.path}; {sys.executable} -c 'from looking import look; look(1)'\n"
        "kill -KILL $$\n"
    )
    nsys.chmod(0o755)
    simulated.write("import pytest\n@pytest.mark.nsys\ndef test_it(): pass")
    old = os.umask(umask)
    try:
        result = simulated.run("--nsys")
    finally:
        os.umask(old)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*nsys ended without starting the worker*"])
    lines = [line.split() for line in looking.read_text().splitlines()]
    holding = [line for line in lines if line[4] == "True"]
    assert {(name, mode, private) for _, name, mode, private, _ in holding} == {
        ("launch.json", "0o600", "True")
    }
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("fault", ["export_truncated", "no_report", "qdstrm_only"])
def test_why_a_capture_is_no_good_names_no_folder_in_what_is_published(
    simulated: Project,
    install: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    install(fault)
    temporary = simulated.path / WORDS["path"]
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    simulated.write("import pytest\n@pytest.mark.nsys\ndef test_it(): pass")
    artefacts = ["--nsys-json=out.json", "--nsys-html=out.html", "--nsys-record=recording"]
    result = simulated.run("--nsys", *artefacts)
    assert result.ret == 1
    for name in ("out.json", "out.html", "recording"):
        assert leaked(WORDS, simulated.path / name) == {}, name


WORD = {"word": "sekrit_word_xyzzy"}


class TestTheSearch:
    """A search that finds nothing proves something only if it would find it."""

    @pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
    def test_sees_through_base64(self, tmp_path: Path, before: str) -> None:
        text = f"{before}{WORD['word']} and more"
        (tmp_path / "file").write_bytes(base64.b64encode(text.encode()))
        assert leaked(WORD, tmp_path)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16"])
    def test_sees_every_encoding(self, tmp_path: Path, encoding: str) -> None:
        (tmp_path / "file").write_bytes(f"x{WORD['word']}".encode(encoding))
        assert leaked(WORD, tmp_path)

    def test_unpacks_what_is_packed(self, tmp_path: Path) -> None:
        data = b"-" * 5000 + WORD["word"].encode()
        (tmp_path / "a").write_bytes(lzma.compress(gzip.compress(data)))
        with zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner", data)
        found = leaked(WORD, tmp_path)["word"]
        assert [where.split("/")[1] for where in found] == ["a!xz!gzip", "b!inner"]

    def test_reads_the_values_of_a_database(self, tmp_path: Path) -> None:
        """A long value is in pieces in the file, and a word may be on the seam."""
        for number in range(40):
            path = tmp_path / f"{number}.sqlite"
            with closing(sqlite3.connect(path)) as database:
                database.execute("CREATE TABLE t (v)")
                text = "-" * (4000 + 4 * number) + WORD["word"] + "-" * 9000
                database.execute("INSERT INTO t VALUES (?)", [text])
                database.commit()
        assert len(leaked(WORD, tmp_path)["word"]) >= 40

    def test_reads_names_of_files(self, tmp_path: Path) -> None:
        (tmp_path / WORD["word"]).mkdir()
        (tmp_path / WORD["word"] / "file").touch()
        assert leaked(WORD, tmp_path)

    def test_finds_nothing_where_nothing_is(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(lzma.compress(b"sekrit_wor and nothing more"))
        assert leaked(WORD, tmp_path) == {}
