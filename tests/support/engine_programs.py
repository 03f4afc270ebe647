"""The stand-ins for engines as programs on the PATH, and where they tell what they were asked."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.servers.engines import presets
from pytest_nsys.servers.engines.presets import preset_named
from tests.support.harness import TESTS, write_program

ENGINES = TESTS / "support" / "engines"
PROGRAMS = {
    "text-generation-launcher": "tgi",
    "trtllm-serve": "trtllm",
    "start_server.sh": "nim",
    "vllm": "vllm",
    "sglang": "sglang",
}


def put_engines(folder: Path, monkeypatch: pytest.MonkeyPatch, *python_path: Path) -> None:
    """Put the stand-ins on the PATH; they write to ``notes`` in the folder.

    Args:
        folder: for the programs.
        monkeypatch: of the test.
        python_path: what else they can import.
    """
    programs = folder / "engines"
    programs.mkdir()
    for program, name in PROGRAMS.items():
        write_program(
            programs / program,
            f"#!{sys.executable}\nfrom engine_standins import main\n\nmain({name!r})\n",
        )
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ENGINES, *python_path))))
    monkeypatch.setenv("ENGINE_NOTES", str(folder / "notes"))
    here = replace(preset_named("nim"), command=(str(programs / "start_server.sh"),))
    known = {**presets._registered, "nim": here}  # /opt/nim is not ours
    monkeypatch.setattr(presets, "_registered", known)
