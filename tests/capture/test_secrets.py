"""As the tests of the plugin's secrets, with real nsys, which stores more than a stand-in would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pytest_nsys.cli.main import main
from pytest_nsys.process.environment import minimal_environment
from tests.support.capture_bench import Bench
from tests.support.harness import Project
from tests.support.leaks import leaked
from tests.support.secret_project import WORDS, check, surroundings, write_project


@pytest.mark.usefixtures("clean_environment")
def test_what_a_run_leaves_is_what_the_page_says(
    profiled: Project, real_nsys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = profiled.path / WORDS["path"]
    folder.mkdir()
    write_project(profiled, folder, simulated=False)
    with (folder / "pytest.ini").open("a") as ini:
        ini.write("nsys_device = cpu\n")
    with surroundings(folder, monkeypatch):
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        result = profiled.run(
            "-pnsys",
            "-Wignore::pytest.PytestConfigWarning",
            "--nsys-update",
            f"--password={WORDS['option']}",
            "--nsys-record=recording",
            "--nsys-json=out.json",
            "--nsys-html=out.html",
            "--nsys-keep=kept",
        )
    result.assert_outcomes(passed=1, failed=2, skipped=1, xfailed=1)
    check("baselines", [folder / "baselines"], without=("kernel", "range"))
    check("recording", [folder / "recording"], without=("kernel",))
    check("JSON", [folder / "out.json"], without=("kernel", "range"))
    check("HTML", [folder / "out.html"], without=("kernel", "range"))
    report = folder / "kept" / "report-1.nsys-rep"
    # nsys stores the environments of all processes of the machine, so the report is private ...
    export = tmp_path / "kept.sqlite"
    command = [str(real_nsys), "export", "--type=sqlite", "-o", str(export), str(report)]
    subprocess.run(command, env=minimal_environment(), check=True, timeout=120)
    assert "variable" in leaked(WORDS, export)
    # ... and a copy to be handed on is made of what is read and nothing else.
    copy = tmp_path / "copy.sqlite.xz"
    given = ["scrub", str(report), "-o", str(copy), "--nsys-executable", str(real_nsys)]
    assert main(given) == 0
    check("recording", [copy], without=("kernel", "message", "reason"))
    assert main([*given, "--force", "--hide-ranges"]) == 0
    assert leaked(WORDS, copy) == {}


WATCHER = """
import json, sys, time
import psutil

found = {}
deadline = time.monotonic() + float(sys.argv[2])
while time.monotonic() < deadline:
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if sys.argv[1] not in line and "--start-agent" not in line:
            continue
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        found[f"{process.pid} {line}"] = sorted(environment.items())
    json.dump(found, open(sys.argv[3] + ".new", "w"))
    __import__("os").replace(sys.argv[3] + ".new", sys.argv[3])
    time.sleep(0.05)
"""


def test_nsys_and_its_agent_never_have_the_environment(
    worker_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent outlives its nsys now and then, and with it its environment."""
    monkeypatch.setenv("API_TOKEN", WORDS["variable"])
    worker_bench.write("import time\ndef test_it(): time.sleep(1)")
    seen = tmp_path / "seen.json"
    old = {process.pid for process in psutil.process_iter()}
    folder = str(worker_bench.nsys.path.parents[1])
    clean = {**minimal_environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", WATCHER, folder, "120", str(seen)], env=clean
    ) as watcher:
        try:
            deadline = time.monotonic() + 30
            while not seen.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            worker_bench.run("test_it")
        finally:
            watcher.kill()
    found = {
        line: environment
        for line, environment in json.loads(seen.read_text()).items()
        if int(line.split()[0]) not in old and line.split()[1] != sys.executable
    }
    nsys = [line for line in found if "profile" in line or "--start-agent" in line]
    assert nsys
    assert [line for line in nsys if WORDS["variable"] in json.dumps(found[line])] == []
