"""The benchmark of a public library's performance fixes, on a simulated GPU."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import public_library as library
from benchmarks.many_tests import environment
from tests.simgpu.standin import write_standin

SOURCE = "US = {us}\n"
WORK = """
from liger_kernel import US
import simgpu

def prepare():
    return lambda: simgpu.launch("void slow_kernel(float*)", US)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository whose last commit makes the kernel twice as fast."""
    folder = tmp_path / "clone"
    source = folder / "src" / "liger_kernel" / "__init__.py"
    source.parent.mkdir(parents=True)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    for us in (400, 200):
        source.write_text(SOURCE.format(us=us))
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", f"{us} us"], check=True)
    return folder


def test_a_fix_is_found_forwards_and_is_to_blame_backwards(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = library.Change("HEAD", "2 times faster", "slow_kernel", WORK)
    monkeypatch.setattr(library, "CHANGES", {"a fix": change})
    monkeypatch.setattr(library, "WORK", "")
    tools = tmp_path / "tools"
    tools.mkdir()
    write_standin(tools)
    quick = "--nsys-processes=1 -o nsys_confirm=0"
    for name, value in environment(tools, PYTEST_ADDOPTS=quick).items():
        monkeypatch.setenv(name, value)

    def timed(place: Path) -> float:
        return 200_000.0 if place.name == "after" else 400_000.0

    monkeypatch.setattr(library, "_timed", timed)
    library.prepare(clone, tmp_path / "laid")
    found = library.run("a fix", change, tmp_path / "laid")
    assert (found.forwards, found.backwards) == ("improved", "regressed")
    assert found.culprit == "slow_kernel +200.0 us"
    assert found.agrees
    assert found.gate_ratio == found.events_ratio == 0.5


@pytest.mark.parametrize(
    "other",
    [
        {"events_ns": ((100.0,), (60.0,))},  # the gate says 0.5
        {"backwards": "ok"},
        {"forwards": "inconclusive"},
    ],
)
def test_what_does_not_agree_is_told(other: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "events_ns": ((100.0,), (50.0,)),
        "gate_ns": (100.0, 50.0),
        "forwards": "improved",
        "backwards": "regressed",
        "culprit": "k +50.0 us",
    }
    found = library.Found("a fix", "abc", "faster", **{**fields, **other})
    assert not found.agrees
    assert "NO" in "\n".join(library.lines([found]))
