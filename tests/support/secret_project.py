"""A project with a secret in every place that has ever been known to leak, and what may hold which.

The places and what may hold them are the table of ``docs/security.md``: the tests read it there.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.harness import ROOT, Project
from tests.support.leaks import leaked

_HOST = "host name"
PAGE = ROOT / "docs" / "security.md"

_CONFTEST = """
    import logging, os, socket, subprocess, sys
    import pytest

    os.environ["SECRET_OF_CONFTEST"] = "{variable_in_conftest}"

    def pytest_addoption(parser):
        parser.addoption("--password")
        parser.addini("token", "")

    @pytest.fixture(autouse=True)
    def talking():
        print("{output} of a fixture")
        yield
"""

_TESTS = '''
    """Of the module: {docstring}"""
    import logging, os, subprocess, sys, warnings
    import nvtx
    import pytest
    {simgpu}

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0, allow_empty=True)
    CHILD = "import sys; print('{output}'); print('{output}', file=sys.stderr)"

    def work():
        {work}

    @pytest.mark.parametrize("value", ["{parameter}"])
    def test_good(nsys, record_property, tmp_path, value):
        """Of the test: {docstring}"""
        os.environ["SECRET_OF_TEST"] = "{variable_in_test}"
        print("{output}")
        print("{output}", file=sys.stderr)
        os.write(1, b"{output}")
        logging.getLogger("it").error("{log}")
        warnings.warn("{warning}")
        record_property("where", "{property}")
        (tmp_path / "{file}").write_text("{file}")
        subprocess.run([sys.executable, "-c", CHILD, "{process}"], check=True)
        with nvtx.annotate("{range}", domain="{domain}"), nsys.range("{part}"):
            work()

    def test_fails():
        {local} = "{local}"
        print("{output}")
        logging.getLogger("it").error("{log}")
        work()
        raise ValueError("{message}\\n{further}")

    def test_error_in_a_path(tmp_path):
        (tmp_path / "{path}" / "missing").read_text()

    def test_skips():
        pytest.skip("{reason}")

    @pytest.mark.xfail(reason="{reason}")
    def test_known():
        assert False
'''

PLACES: Mapping[str, str] = {
    "environment variables": "variable variable_in_conftest variable_in_test",
    "variables given to nsys (`--env-var`)": "given",
    "command line and ini file": "option addopts ini",
    "command lines of other processes": "process foreign",
    "folders": "path",
    "host name": "",
    "output and log records": "output log",
    "warnings": "warning",
    "files that tests write": "file",
    "properties of reports": "property",
    "docstrings, source and local variables": "docstring local",
    "further lines of a failure": "further",
    "first line of a failure": "message",
    "reasons of skip and xfail": "reason",
    "test ids": "parameter",
    "names given to nsys.range": "part",
    "texts of NVTX ranges": "range",
    "NVTX domains": "domain",
    "kernel names": "kernel",
}
"""The rows of the page's table, and the words of each."""

WORDS = {
    key: f"sekrit_{key}_{number:03d}x7q"
    for number, key in enumerate(" ".join(PLACES.values()).split())
}


def page_table() -> dict[str, dict[str, str]]:
    """The page's table: place, artefact, and whether it is there: yes, no, or may."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in lines
        if line.startswith("|") and not re.match(r"\|[-| ]+\|$", line)
    ]
    (_, *artefacts), *body = rows
    return {place: dict(zip(artefacts, cells, strict=True)) for place, *cells in body}


GIVEN = f"--nsys-args=--env-var=GIVEN_TO_NSYS={WORDS['given']}"
"""An argument of pytest that gives a secret to nsys."""


def write_project(project: Project, folder: Path, *, simulated: bool) -> None:
    """Write the project into the folder."""
    words = {
        **WORDS,
        "simgpu": "import simgpu" if simulated else "",
        "work": f'simgpu.launch("{WORDS["kernel"]}", 10)' if simulated else "pass",
    }
    for name, text in (("conftest.py", _CONFTEST), ("test_it.py", _TESTS)):
        project.write(text.format(**words), str((folder / name).relative_to(project.path)))
    (folder / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
        f"addopts = --override-ini=junit_suite_name={WORDS['addopts']}\n"
        f"token = {WORDS['ini']}\n"
    )


@contextmanager
def surroundings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Secrets around the run: variables, folders, and the command line of another process."""
    temporary = folder / f"tmp-{WORDS['path']}"
    temporary.mkdir()
    libraries = folder / f"lib-{WORDS['path']}"
    libraries.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("PYTHONPATH", str(libraries), prepend=os.pathsep)
    monkeypatch.setenv("PATH", str(libraries), prepend=os.pathsep)
    for name in ("API_TOKEN", "AWS_SECRET_ACCESS_KEY", "USER", "LD_LIBRARY_PATH_OF_MINE"):
        monkeypatch.setenv(name, WORDS["variable"])
    command = [sys.executable, "-c", "import time; time.sleep(600)", WORDS["foreign"]]
    with subprocess.Popen(command) as foreign:
        try:
            yield
        finally:
            foreign.kill()


def check(artefact: str, places: list[Path], *, without: tuple[str, ...] = ()) -> None:
    """The artefact holds what the page says that it holds, and nothing that it says it does not."""
    found: dict[str, list[str]] = {}
    words = {**WORDS, _HOST: socket.gethostname()} if len(socket.gethostname()) > 5 else WORDS
    for place in places:
        assert place.exists(), place
        for key, where in leaked(words, place).items():
            found.setdefault(key, []).extend(where)
    for place, cells in page_table().items():
        keys = [key for key in PLACES[place].split() if key not in without]
        keys += [_HOST] if place == _HOST else []
        there = {key: found[key] for key in keys if key in found}
        if cells[artefact] == "no":
            assert not there, f"{artefact} holds {place}"
        else:
            assert cells[artefact] in ("yes", "may"), cells
            claimed = cells[artefact] == "yes" and keys
            assert there or not claimed, f"{artefact} does not hold {place}, as the page says"
