"""CI systems as far as they can be on this machine: they run the jobs of ``examples/ci``.

A job runs in a checkout of its own, each of its scripts in a shell as the system starts it, on a
machine that has a simulated GPU and the stand-in nsys or has neither. What cannot be here is a
stand-in, strict in what it is called with: ``python3 -m venv`` makes a folder of links to what is
installed, ``pip`` installs nothing, actions of GitHub are done by hand, and the commands of
`tests.support.schedulers` do what they are asked in folders.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.simgpu.standin import write_standin
from tests.support.harness import ROOT, SIMGPU, git, write_program

CI = ROOT / "examples/ci"
COMMANDS = ("sbatch", "kubectl", "docker", "gh", "buildkite-agent")
GITHUB_SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")

_PIP = """
    #!/bin/sh
    [ "$1" = install ] || exit 2
    shift
    for word; do
        case $word in
        --editable | . | pytest-nsys | 'pytest-nsys[history]' | pytest-split) ;;
        *) echo "pip: $word" >&2; exit 2 ;;
        esac
    done
"""
_PYTHON = """
    #!/bin/sh
    [ "$1 $2 $3 $#" = "-m venv .venv 3" ] || exec {python} "$@"
    mkdir -p .venv/bin
    ln -sf {bin}/pytest {bin}/pytest-nsys {tools}/pip .venv/bin
"""
_COMMAND = """
    #!/bin/sh
    PYTHONPATH={root}:$PYTHONPATH exec {python} -m tests.support.schedulers {name} "$@"
"""


def load(path: Path) -> Any:
    """What a YAML file says."""
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Ran:
    """A script or a job that has ended."""

    code: int
    output: str


class Tools:
    """What the machines have beside a project: the stand-ins, and of each GPU model an nsys.

    Args:
        folder: where they are to be.
        gpus: names of GPUs, by the label of the machines that have one.
    """

    def __init__(self, folder: Path, **gpus: str) -> None:
        self.folder = folder
        python = Path(sys.executable)
        own = folder / "bin"
        write_program(own / "pip", _PIP)
        words = {"python": python, "bin": python.parent, "tools": own, "root": ROOT}
        write_program(own / "python3", _PYTHON.format(**words))
        for name in COMMANDS:
            write_program(own / name, _COMMAND.format(**words, name=name))
        for label, gpu in gpus.items():
            (folder / label).mkdir()
            # One of before the exports to Parquet: they take longer to make and to read.
            write_standin(folder / label, gpus=[gpu], version="2023.3.1")

    def run(
        self,
        script: str,
        folder: Path,
        *,
        labels: Sequence[str] = (),
        path: Sequence[str] = (),
        **variables: str,
    ) -> Ran:
        """Run a script in a folder, on a machine with these labels."""
        gpus = [str(self.folder / one) for one in labels if (self.folder / one).is_dir()]
        system = [
            one for one in os.environ["PATH"].split(os.pathsep) if not Path(one, "nsys").exists()
        ]
        python = str(Path(sys.executable).parent)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "NSYS_", "GITHUB_", "CI_", "GIT_"))
            and name not in ("CI", "BUILD_NUMBER")
        }
        done = subprocess.run(
            [*GITHUB_SHELL, script],
            cwd=folder,
            env={
                **kept,
                "PATH": os.pathsep.join([*path, str(self.folder / "bin"), *gpus, python, *system]),
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
        return Ran(done.returncode, done.stdout)


# Conditions

_WORD = re.compile(
    r"""(?P<text>'[^']*'|"[^"]*")|(?P<sign>==|!=|&&|\|\||!|[()])|(?P<name>\$?[A-Za-z_][\w.-]*)|\s+"""
)
_SIGNS = {"&&": " and ", "||": " or ", "!": " not "}
_NAMES = {"null": "None", "false": "False", "true": "True"}


def holds(condition: str, known: Mapping[str, object]) -> bool:
    """Whether a condition of GitHub, GitLab or Buildkite holds.

    Args:
        condition: of comparisons, and, or, not.
        known: the value of each name in it, also of functions such as ``always``; what is
            not known is null, as there.
    """
    condition = condition.strip().removeprefix("${{").removesuffix("}}")
    words = []
    at = 0
    while at < len(condition):
        found = _WORD.match(condition, at)
        assert found, f"not understood: {condition[at:]}"
        at = found.end()
        if name := found["name"]:
            if condition[at : at + 2] == "()":  # a function
                at += 2
            words.append(_NAMES.get(name) or repr(known.get(name)))
        elif sign := found["sign"]:
            words.append(_SIGNS.get(sign, sign))
        else:
            words.append(found["text"] or " ")
    return bool(eval("".join(words), {"__builtins__": {}}))


# GitHub


@dataclass
class Event:
    """What has happened: the values of expressions."""

    name: str = "push"
    fork: bool = False
    values: Mapping[str, object] = field(default_factory=dict)

    def known(self) -> dict[str, object]:
        """The contexts of GitHub."""
        known = {
            "github.event_name": self.name,
            "github.repository": "me/it",
            "github.ref_name": "main",
            "github.token": "secret",
            **self.values,
        }
        if self.name == "pull_request":
            known["github.event.pull_request.head.repo.full_name"] = (
                "you/it" if self.fork else "me/it"
            )
            known["github.event.pull_request.number"] = 7
        return known


class Workflow:
    """A workflow of GitHub, run on this machine.

    Args:
        name: of the file.
        repository: what is checked out.
        tools: of the runners.
        folder: where checkouts and artifacts are to be.
    """

    def __init__(self, name: str, repository: Path, tools: Tools, folder: Path) -> None:
        self.jobs: dict[str, dict[str, Any]] = load(CI / "github" / name)["jobs"]
        self.repository, self.tools, self.folder = repository, tools, folder
        self.artifacts = folder / "artifacts"
        self.summary = folder / "summary.md"
        self.count = 0

    def run(self, event: Event, only: Sequence[str] = ()) -> tuple[dict[str, str], str]:
        """Run all jobs, or some: those that are left out went well before.

        Returns the result of each, and what they printed.
        """
        results: dict[str, str] = {}
        output = ""
        for name, job in self.jobs.items():
            needs = [job["needs"]] if "needs" in job else []
            known = event.known()
            known |= {f"needs.{one}.result": results.get(one, "success") for one in needs}
            fine = all(known[f"needs.{one}.result"] == "success" for one in needs)
            if only and name not in only:
                continue
            if not _goes_on(job.get("if"), known, fine):
                results[name] = "skipped"
                continue
            done = [self._run(job, known | own) for own in _matrix(job)]
            output += "".join(one.output for one in done)
            results[name] = "failure" if any(one.code for one in done) else "success"
        return results, output

    def _run(self, job: Mapping[str, Any], known: Mapping[str, object]) -> Ran:
        self.count += 1
        folder = self.folder / f"work-{self.count}"
        folder.mkdir(parents=True)
        labels = job["runs-on"]
        labels = [_filled(one, known) for one in ([labels] if isinstance(labels, str) else labels)]
        path: list[str] = []
        codes, output = [0], ""
        for step in job["steps"]:
            if not _goes_on(step.get("if"), known, not any(codes)):
                continue
            if "uses" in step:
                given = {key: _filled(one, known) for key, one in step.get("with", {}).items()}
                self._use(step["uses"].partition("@")[0], given, folder)
                continue
            added = folder.with_suffix(".path")
            added.write_text("")
            done = self.tools.run(
                step["run"],
                folder / step.get("working-directory", "."),
                labels=labels if "self-hosted" in labels else (),
                path=path,
                GITHUB_PATH=str(added),
                GITHUB_STEP_SUMMARY=str(self.summary),
                GITHUB_REPOSITORY="me/it",
                GITHUB_SHA=git(folder, "rev-parse", "HEAD") if (folder / ".git").exists() else "",
                **{key: _filled(one, known) for key, one in step.get("env", {}).items()},
            )
            path = [*added.read_text().split(), *path]
            codes.append(done.code)
            output += done.output
        return Ran(max(codes), output)

    def _use(self, action: str, given: Mapping[str, str], folder: Path) -> None:
        match action:
            case "actions/checkout":
                git(folder, "clone", "-q", str(self.repository), ".")
            case "actions/upload-artifact":
                paths = given["path"].split()
                for one in filter(Path.exists, (folder / path for path in paths)):
                    # Of one path what is in it, of several the folders too.
                    into = self.artifacts / given["name"] / ("" if len(paths) == 1 else one.name)
                    if one.is_dir():
                        hidden = shutil.ignore_patterns(".*")
                        shutil.copytree(one, into, ignore=hidden, dirs_exist_ok=True)
                    else:
                        into.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(one, into)
            case "actions/download-artifact":
                to = folder / given.get("path", ".")
                if "name" in given:
                    shutil.copytree(self.artifacts / given["name"], to, dirs_exist_ok=True)
                else:
                    for one in self.artifacts.glob(given["pattern"]):
                        shutil.copytree(one, to / one.name)
            case _:
                raise AssertionError(f"no stand-in for {action}")


def _goes_on(condition: str | None, known: Mapping[str, object], fine: bool) -> bool:
    """Whether a job or a step runs: without a word on it, only if all before it went well."""
    condition = condition or "success()"
    states = {"success": fine, "failure": not fine, "always": True, "cancelled": False}
    if not re.search(r"\b(success|failure|always|cancelled)\(\)", condition):
        condition = f"success() && ({condition})"
    return holds(condition, {**known, **states})


def _filled(text: object, known: Mapping[str, object]) -> str:
    """A value with its expressions filled in; one that is not known is a mistake."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: str(known[found[1]]), str(text))


def _matrix(job: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    matrix = job.get("strategy", {}).get("matrix", {"": [""]})
    ((name, values),) = matrix.items()
    for index, value in enumerate(values):
        yield {
            f"matrix.{name}": value,
            "strategy.job-index": index,
            "strategy.job-total": len(values),
        }
