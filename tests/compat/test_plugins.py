"""Each case of the table does what the table says, on the oldest and the newest pytest."""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.case import Case, Group
from tests.compat.environments import ENVIRONMENTS, python_of
from tests.compat.table import GROUPS, REFUSED
from tests.support.harness import Project

pytestmark = pytest.mark.parametrize("environment", ENVIRONMENTS)

PREAMBLE = "import pytest, simgpu\n"
BASE = ("nsys_processes = 1", "nsys_confirm = 0")


def groups() -> list[object]:
    """The groups, those of the most used plugins marked so."""
    return [
        pytest.param(group, id=group.name, marks=[pytest.mark.usual] if group.usual else [])
        for group in GROUPS
    ]


def write(project: Project, cases: tuple[Case, ...]) -> None:
    """Write the modules of the cases, their files and their settings."""
    lines = [line for case in cases for line in case.ini]
    own = "\n".join(["[pytest]", *BASE, *lines])
    (project.path / "pytest.ini").write_text(own + "\n")
    for case in cases:
        project.write(PREAMBLE + case.code, f"test_{case.name}.py")
        for name, text in case.files.items():
            project.write(text, name)


def run(
    project: Project, environment: str, cases: tuple[Case, ...], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest beside the plugins of the cases alone."""
    plugins = dict.fromkeys(["nsys", *(name for case in cases for name in case.plugins)])
    variables = {name: value for case in cases for name, value in case.env.items()}
    loaded = [part for name in plugins for part in ("-p", name)]
    return subprocess.run(
        [python_of(environment), "-m", "pytest", *loaded, *arguments],
        cwd=project.path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )


def outcomes(junit: Path) -> dict[str, str]:
    """How each test ended, by module and name; a test that is there twice ended twice."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ended = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = {"skipped": "skipped"}.get("".join(ended), "failed") if ended else "passed"
        found[name] = f"{found[name]} and {outcome}" if name in found else outcome
    return found


def expected(cases: tuple[Case, ...]) -> dict[str, str]:
    """How they are to end."""
    return {
        f"test_{case.name}::{name}": outcome
        for case in cases
        for name, outcome in case.outcomes.items()
    }


def tried(environment: str, cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Those of the cases that this pytest can have."""
    return tuple(case for case in cases if environment not in case.without)


@pytest.mark.parametrize("group", groups())
def test_measured_tests_are_as_the_table_says(
    simulated: Project, install: Callable[..., Path], environment: str, group: Group
) -> None:
    cases = tried(environment, group.cases)
    if not cases:
        pytest.skip("not there in this pytest")
    write(simulated, cases)
    for case in cases:
        if case.setup:
            run(simulated, environment, cases, *case.setup)
    arguments = dict.fromkeys(argument for case in cases for argument in case.args)
    done = run(
        simulated,
        environment,
        cases,
        *arguments,
        "--nsys",
        "--junitxml=junit.xml",
        "-rN",
        "--nsys-json=nsys.json",
    )
    printed = done.stdout
    assert (simulated.path / "junit.xml").exists(), printed
    assert outcomes(simulated.path / "junit.xml") == expected(cases), printed
    document = json.loads((simulated.path / "nsys.json").read_text())
    unmeasured = {one["nodeid"].replace(".py", "") for one in document["unmeasured"]}
    passed = {name for name, outcome in expected(cases).items() if outcome == "passed"}
    assert not unmeasured & passed, printed
    for case in cases:
        for pattern in case.prints:
            assert fnmatch.filter(printed.splitlines(), pattern), printed
        for name, text in case.has.items():
            files = [*simulated.path.glob(name)]
            assert any(text in file.read_text() for file in files), f"{name}: {files}"


@pytest.mark.usual
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_cannot_be_had_is_refused_with_a_remedy_that_works(
    simulated: Project, environment: str, case: Case
) -> None:
    write(simulated, (case,))
    done = run(simulated, environment, (case,), "--nsys", *case.args)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout
    assert f"ERROR: {case.refused}" in done.stdout
    assert "What to do: leave out" in done.stdout
    remedied = "-p", "no:cacheprovider", "-o", "addopts=", "--collect-only", "-q"
    assert run(simulated, environment, (case,), "--nsys", *remedied).returncode == 0
