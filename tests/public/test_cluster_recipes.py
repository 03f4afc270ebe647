"""The recipes of docs/clusters.md, run as the page shows them, on stand-ins for schedulers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.simgpu.standin import write_standin
from tests.support.harness import ROOT, SIMGPU, write_program

PAGE = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
SLURM, KUBERNETES, CONTAINERS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]

TEST = """
import pytest
import simgpu

@pytest.mark.nsys(rounds=2, warmup=0)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_gemm(size):
    simgpu.launch("gemm", 100 * size)
"""
INI = "[pytest]\nnsys_processes = 1\nnsys_confirm = 0\n"


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


class Site:
    """A project on a machine from which jobs are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script as CI does."""
        path = f"{self.folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "NSYS_"))}
        for name in ("CI", "BUILD_NUMBER", "GITHUB_STEP_SUMMARY"):
            kept.pop(name, None)
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={
                **kept,
                "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(SIMGPU / "path"),
                "CLUSTER": str(self.folder),
                # Most of the time would be that of other plugins.
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": "-p nsys -p pytest_split.plugin",
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    def recordings(self, *below: str) -> list[str]:
        found = Path(self.folder, *below).glob("*/recording.json")
        return sorted(path.parent.name for path in found)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with baselines."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "bin").mkdir()
    write_standin(folder / "bin", version="2023.3.1")
    (folder / "test_it.py").write_text(TEST)
    (folder / "pytest.ini").write_text(INI)
    done = Site(folder).run("pytest --nsys-update")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    shutil.copytree(made, folder)
    for name in ("sbatch", "kubectl", "docker"):
        start = f"{sys.executable} -m tests.support.schedulers {name}"
        program = f'#!/bin/sh\nPYTHONPATH={ROOT}:$PYTHONPATH exec {start} "$@"\n'
        write_program(folder / "bin" / name, program)
    return Site(folder)


def test_slurm(site: Site) -> None:
    record, judge = blocks(SLURM, "bash")
    (script,) = blocks(SLURM, "sh")
    assert "--array=1-8" in record
    (site.folder / "record.sbatch").write_text(record.replace("--array=1-8", "--array=1-2"))
    (site.folder / "judge.sbatch").write_text(judge)
    done = site.run(script)
    assert done.returncode == 0, done.stdout
    assert site.recordings("recordings/1000") == ["1", "2"]
    assert "4 passed" in (site.folder / "gpu-gate-1001.log").read_text()
    assert (site.folder / "junit.xml").read_text().count("<testcase") == 4


def test_kubernetes_where_a_node_dies(site: Site) -> None:
    record, judge = blocks(KUBERNETES, "yaml")
    (script,) = blocks(KUBERNETES, "sh")
    spec = YAML(typ="safe").load(record)["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (parts,) = (one["value"] for one in container["env"] if one["name"] == "PARTS")
    assert int(parts) == spec["completions"] == spec["parallelism"]
    fewer = record.replace("completions: 8", "completions: 2").replace('value: "8"', 'value: "2"')
    (site.folder / "record.yaml").write_text(fewer)
    (site.folder / "judge.yaml").write_text(judge)
    died = site.run(script, CI_PIPELINE_ID="77", DEAD="0")
    assert died.returncode == 1, died.stdout
    assert site.recordings("recordings/77") == ["1"]
    assert "1 failed, 2 passed" in died.stdout
    what = "1 of 2 parts are there: 1"
    assert f"FAILED recordings::complete - {what}" in died.stdout
    assert "2 ok, 1 unmeasured" in (site.folder / "recordings/77/nsys.md").read_text()

    # The wait is the last word of CI: where all are there, it is that of the gate.
    jobs = json.loads((site.folder / "jobs.json").read_text())
    assert {name: job["complete"] for name, job in jobs.items()} == {
        "gpu-tests-77": False,
        "gpu-gate-77": False,
    }


def test_containers(site: Site) -> None:
    (script,) = blocks(CONTAINERS, "sh")
    # What got slower there fails here.
    (site.folder / "test_it.py").write_text(TEST.replace("100 * size", "100 * size + 50"))
    done = site.run(script)
    assert done.returncode == 1, done.stdout
    assert site.recordings("recordings") == ["0", "1"]
    last = done.stdout.rstrip().splitlines()[-1]
    assert last.startswith("4 failed in ")
