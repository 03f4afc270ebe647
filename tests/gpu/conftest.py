"""The GPU suite: real CUDA work under a real nsys. It fails where either is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.harness import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
