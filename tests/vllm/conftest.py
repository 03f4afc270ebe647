"""The suite with a real vLLM, on the CPU. It fails where vLLM or nsys is missing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness import Project, real_nsys_path

VLLM = Path(os.environ.get("VLLM", "/opt/vllm-cpu")).resolve()
"""What scripts/setup-vllm-cpu has made."""


@pytest.fixture(scope="session")
def vllm() -> Path:
    """The folder of vLLM and its model; without it the suite fails, it does not skip."""
    if not (VLLM / "bin/vllm").exists() or not (VLLM / "tiny/config.json").exists():
        pytest.fail(
            f"there is no vLLM in {VLLM}: run scripts/setup-vllm-cpu --prefix {VLLM} "
            "(3 GB), or name the folder that it was made in with VLLM=, as in make vllm VLLM=DIR"
        )
    return VLLM


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the projects' runs put temporary files.

    vLLM has its sockets there, whose paths may have 107 characters: pytest's folders are too deep.
    """
    with tempfile.TemporaryDirectory(prefix="vllm-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
def serving(
    vllm: Path, project: Project, temporary: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A project with a real nsys and vLLM's program on the PATH, on a machine without a GPU."""
    nsys = real_nsys_path("2023")
    folders = [str(vllm / "bin"), str(nsys.parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    project.ini("nsys_device = cpu")
    return project
