"""Fixtures of the plugin's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Project
from seen import Story


@pytest.fixture
def story(simulated: Project) -> Story:
    """Lets the simulated project's code tell what it does."""
    return Story(simulated)


@pytest.fixture
def temporary(simulated: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the simulated project's runs put temporary files in."""
    folder = simulated.path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder
