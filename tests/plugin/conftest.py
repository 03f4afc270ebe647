"""Fixtures of the plugin's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Project
from seen import Story


@pytest.fixture(autouse=True)
def few_plugins(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other plugins stay out of the projects' runs: they are most of the time these take."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p nsys -W ignore::pytest.PytestConfigWarning")


@pytest.fixture
def all_plugins(few_plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
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
