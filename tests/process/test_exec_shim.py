"""The exec shim below nsys: the worker gets its environment, nsys never sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.nsys import NsysTool, profile_command
from pytest_nsys.process import exec_shim
from pytest_nsys.process.environment import minimal_environment
from pytest_nsys.process.exec_shim import merge_environment

_NAMES = st.sampled_from(["PATH", "HOME", "TOKEN", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH"])
_VALUES = st.sampled_from(["", "/a", "/b:/c", "secret"])
_ENVIRONMENTS = st.dictionaries(_NAMES, _VALUES)

SECRET = "hunter2-c0ffee"
APP = r"""
import json, os, sys
with open("/proc/self/environ", "rb") as file:  # what it was given; os.environ is Python's own
    lines = os.fsdecode(file.read()).rstrip("\0").split("\0")
seen = {"environment": dict(line.split("=", 1) for line in lines)}
seen["pid"], seen["argv"] = os.getpid(), sys.argv[1:]
seen["private"] = [name for name in os.listdir(sys.argv[1]) if name == "launch.json"]
with open(os.path.join(sys.argv[1], "seen.json"), "w") as file:
    json.dump(seen, file)
print("said", os.environ["A_TOKEN"])
print("complained", os.environ["A_TOKEN"], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("user", "minimal", "current", "merged"),
    [
        ({"A": "1"}, {}, {}, {"A": "1"}),
        ({"A": "1"}, {}, {"NSYS_X": "2"}, {"A": "1", "NSYS_X": "2"}),
        ({"PATH": "/u"}, {"PATH": "/u"}, {"PATH": "/u"}, {"PATH": "/u"}),
        ({"PATH": "/u"}, {"PATH": "/u"}, {"PATH": "/n:/u"}, {"PATH": "/n:/u"}),
        ({"LD_PRELOAD": "u.so"}, {}, {"LD_PRELOAD": "n.so"}, {"LD_PRELOAD": "n.so:u.so"}),
        ({"LD_PRELOAD": ""}, {}, {"LD_PRELOAD": "n.so"}, {"LD_PRELOAD": "n.so"}),
        ({}, {}, {"LD_PRELOAD": "n.so"}, {"LD_PRELOAD": "n.so"}),
        ({"PYTHONPATH": "/u"}, {}, {"PYTHONPATH": "/n"}, {"PYTHONPATH": "/n:/u"}),
        # Of the C locale Python makes a UTF-8 one, in its own environment.
        ({"LC_CTYPE": "de_DE.UTF-8"}, {}, {"LC_CTYPE": "C.UTF-8"}, {"LC_CTYPE": "de_DE.UTF-8"}),
        ({}, {}, {"LC_CTYPE": "C.UTF-8"}, {}),
    ],
)
def test_what_nsys_added_comes_on_top_of_what_the_user_has(
    user: dict[str, str],
    minimal: dict[str, str],
    current: dict[str, str],
    merged: dict[str, str],
) -> None:
    assert merge_environment(user, minimal, current) == merged


@given(user=_ENVIRONMENTS, added=_ENVIRONMENTS)
def test_nothing_of_the_user_is_lost_and_all_of_nsys_is_there(
    user: dict[str, str], added: dict[str, str]
) -> None:
    minimal = {name: value for name, value in user.items() if name in ("PATH", "HOME")}
    merged = merge_environment(user, minimal, {**minimal, **added})
    assert set(merged) == set(user) | set(added)
    for name, value in user.items():
        if name not in added:
            assert merged[name] == value
        elif name.startswith(("LD_", "PYTHON")) and value:
            assert merged[name].split(":")[-len(value.split(":")) :] == value.split(":")
    for name, value in added.items():
        assert merged[name].startswith(value)


@given(user=_ENVIRONMENTS)
def test_an_nsys_that_adds_nothing_changes_nothing(user: dict[str, str]) -> None:
    minimal = {name: value for name, value in user.items() if name in ("PATH", "HOME")}
    assert merge_environment(user, minimal, minimal) == user


class Launch:
    """A program to be launched in a folder, and what it saw."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.environment = environment
        self.arguments = [str(folder), "with space", "", "ü"]
        (folder / "app.py").write_text(APP)

    def prepare(self) -> list[str]:
        """Write the private file; returns the shim's command line."""
        private = self.folder / "launch.json"
        launch = {
            "command": [sys.executable, str(self.folder / "app.py"), *self.arguments],
            "environment": self.environment,
            "minimal": minimal_environment(),
            "pid_file": str(self.folder / "pid"),
            "stdout": str(self.folder / "stdout"),
            "stderr": str(self.folder / "stderr"),
        }
        private.write_text(json.dumps(launch))
        return [sys.executable, "-S", "-E", exec_shim.__file__, str(private)]

    @property
    def seen(self) -> dict[str, object]:
        """What the program saw."""
        seen: dict[str, object] = json.loads((self.folder / "seen.json").read_text())
        return seen

    def profile(self, nsys: NsysTool, command: list[str], environment: dict[str, str]) -> bytes:
        """Profile a command; returns the report, its export, and what nsys printed."""
        report = self.folder / "report.nsys-rep"
        printed = b""
        for _ in range(3):  # nsys now and then ends without starting its program
            done = subprocess.run(
                profile_command(nsys, self.folder / "report", command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=120,
                check=False,
            )
            printed += done.stdout
            if report.exists() and (self.folder / "seen.json").exists():
                break
        export = export_report(nsys, report, self.folder)
        files = [export] if export.is_file() else sorted(export.iterdir())
        whole = self.folder / "all.sqlite"
        subprocess.run(
            [nsys.path, "export", "--type=sqlite", "-o", whole, report],
            check=True,
            capture_output=True,
        )
        return b"".join([report.read_bytes(), whole.read_bytes(), *map(Path.read_bytes, files)])


@pytest.mark.parametrize("added", [{}, {"LANG": "C"}, {"LC_ALL": "POSIX"}, {"LANG": "C.UTF-8"}])
def test_the_whole_environment_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: dict[str, str]
) -> None:
    for name in ("LANG", "LC_ALL"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "A_TOKEN": SECRET,
        "EMPTY": "",
        "LINES": "a\nb=c",
        "NOT_UTF8": os.fsdecode(b"\xff\xfe"),
        "LC_CTYPE": "de_DE.UTF-8",
        "LANG": "nl_NL.UTF-8",
    }
    launch = Launch(tmp_path, environment)
    subprocess.run(launch.prepare(), check=True, env=added)
    assert launch.seen["environment"] == {**environment, **added}


def test_the_private_file_is_gone_before_the_program_runs(tmp_path: Path) -> None:
    launch = Launch(tmp_path, {"A_TOKEN": SECRET})
    with subprocess.Popen(launch.prepare()) as process:
        assert process.wait(timeout=60) == 0
    assert launch.seen["private"] == []
    assert launch.seen["argv"] == launch.arguments
    assert launch.seen["pid"] == process.pid == int((tmp_path / "pid").read_text())


def test_output_goes_to_private_files_and_is_appended(tmp_path: Path) -> None:
    launch = Launch(tmp_path, {"A_TOKEN": SECRET})
    done = [subprocess.run(launch.prepare(), check=True, capture_output=True) for _ in range(2)]
    assert [(run.stdout, run.stderr) for run in done] == [(b"", b"")] * 2
    assert (tmp_path / "stdout").read_text() == f"said {SECRET}\n" * 2
    assert (tmp_path / "stderr").read_text() == f"complained {SECRET}\n" * 2
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("stdout", "stderr")} == {0o600}


def test_a_program_is_found_by_its_name_and_one_that_is_not_there_is_named(
    tmp_path: Path,
) -> None:
    launch = Launch(tmp_path, {"A_TOKEN": SECRET, "PATH": str(Path(sys.executable).parent)})
    python = sys.executable
    for name, directory, said in (
        (Path(python).name, str(tmp_path), ""),
        ("no-such", str(tmp_path), f"no-such cannot be started in {tmp_path}: No such file"),
        (python, "no-such", f"{python} cannot be started in no-such: No such file"),
    ):
        command = launch.prepare()
        private = tmp_path / "launch.json"
        told = json.loads(private.read_text())
        told["command"][0] = name
        private.write_text(json.dumps({**told, "directory": directory}))
        (tmp_path / "stderr").unlink(missing_ok=True)
        assert subprocess.run(command, check=False).returncode == bool(said)
        assert (tmp_path / "stderr").read_text().startswith(said or "complained")
        assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_a_report_holds_nothing_of_the_environment(tmp_path: Path, each_nsys: NsysTool) -> None:
    secret = f"{SECRET} of this test"  # nsys may see another test's process with the usual one
    launch = Launch(tmp_path, {**os.environ, "A_TOKEN": secret})
    artefacts = launch.profile(each_nsys, launch.prepare(), minimal_environment())
    seen = launch.seen["environment"]
    assert isinstance(seen, dict)
    missing = {name for name in os.environ if name not in seen and name != "OLDPWD"}
    assert not missing
    assert seen["A_TOKEN"] == secret
    assert any("NSYS" in name or "QUADD" in name or name == "LD_PRELOAD" for name in seen)
    assert secret.encode() in (tmp_path / "stdout").read_bytes()
    assert secret.encode() not in artefacts


def test_a_report_holds_an_environment_that_is_passed_directly(
    tmp_path: Path, each_nsys: NsysTool
) -> None:
    launch = Launch(tmp_path, {})
    app = [sys.executable, str(tmp_path / "app.py"), str(tmp_path)]
    artefacts = launch.profile(each_nsys, app, {**os.environ, "A_TOKEN": SECRET})
    assert SECRET.encode() in artefacts
