"""Fixtures of the plugin's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.cli.main import main
from pytest_nsys.servers.engines import presets
from pytest_nsys.servers.load import dialects
from tests.support.harness import Project, import_all, like_a_new_process
from tests.support.seen import Story

Judge = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def imported() -> None:
    """What the projects' runs import is there before the first test uses pytester."""
    import_all()


@pytest.fixture(autouse=True)
def few_plugins(imported: None, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The projects' runs are in this process and without other plugins.

    To start Python and to import is most of the time that they would take otherwise.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p nsys -W ignore::pytest.PytestConfigWarning")
    # What a project registers is there as long as the process is.
    monkeypatch.setattr(presets, "_registered", dict(presets._registered))
    monkeypatch.setattr(dialects, "_registered", dict(dialects._registered))
    project.in_process = True


@pytest.fixture
def own_process(few_plugins: None, project: Project) -> None:
    """The projects' runs are processes of their own, as for users."""
    project.in_process = False


@pytest.fixture
def all_plugins(own_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plugin that is installed is loaded, as for most users."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_ADDOPTS")


@pytest.fixture
def story(simulated: Project) -> Story:
    """Lets the simulated project's code tell what it does."""
    return Story(simulated)


@pytest.fixture
def temporary(simulated: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the simulated project's runs put temporary files in."""
    folder: Path = simulated.path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def judge(project: Project, capsys: pytest.CaptureFixture[str]) -> Judge:
    """Runs the command in the project's folder; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with like_a_new_process(project.path), pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "")  # is as it was afterwards
            patch.setenv("PYTEST_PLUGINS", "no_such_plugin")
            patch.setenv("PYTEST_ADDOPTS", "--no-such-option")
            code = main(["judge", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run
