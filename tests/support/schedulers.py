"""Stand-ins for commands that recipes call: as strict as the real ones in what recipes use.

``python -m tests.support.schedulers NAME ARGUMENTS`` is ``sbatch``, ``kubectl``, ``docker``, ``gh``
or ``buildkite-agent``. The first three run jobs at once, one task after another, in folders of this
machine; nsys is only where a GPU was asked for. What they know is in files below ``CLUSTER``: jobs
in ``jobs.json``, comments and pull requests in ``github.json``, artifacts in ``artifacts/`` and the
annotation of a build in ``annotation.json``. ``DEAD`` is the number of a task whose node dies
before it has run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CLUSTER = Path(os.environ.get("CLUSTER", "."))
JOBS = CLUSTER / "jobs.json"
NODE_DIED = 9


def main(name: str, arguments: Sequence[str]) -> int:
    """Do what the program of this name does."""
    commands = {"sbatch": sbatch, "kubectl": kubectl, "docker": docker}
    commands |= {"gh": gh, "buildkite-agent": buildkite_agent}
    return commands[name](arguments)


def _run(
    command: Sequence[str], folder: Path, gpu: bool, number: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a task; what a machine without a GPU has in its PATH has no nsys."""
    if number and number == os.environ.get("DEAD"):
        return subprocess.CompletedProcess(command, NODE_DIED, "")
    paths = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(one for one in paths if gpu or not Path(one, "nsys").exists())
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _jobs() -> dict[str, Any]:
    return json.loads(JOBS.read_text()) if JOBS.exists() else {}


def _keep(job: str, **state: Any) -> None:
    JOBS.write_text(json.dumps({**_jobs(), job: state}))


# Slurm

_DIRECTIVES = ("job-name", "array", "gpus", "time", "output")


def sbatch(arguments: Sequence[str]) -> int:
    """Run a script, or each task of an array; exit as the worst of them where one waits."""
    parser = argparse.ArgumentParser("sbatch", allow_abbrev=False)
    parser.add_argument("--parsable", action="store_true")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--dependency")
    parser.add_argument("script", type=Path)
    parser.add_argument("arguments", nargs="*")
    asked = parser.parse_args(arguments)
    kind, _, after = (asked.dependency or "").partition(":")
    assert kind in ("", "afterany"), asked.dependency
    assert not after or after in _jobs(), f"Job dependency problem: {after}"
    text = asked.script.read_text()
    assert text.startswith("#!"), "This does not look like a batch script"
    given = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert len(given) == text.count("#SBATCH"), text
    assert given.keys() <= {*_DIRECTIVES}, given
    job = str(1000 + len(_jobs()))
    first, _, last = given.get("array", "0-0").partition("-")
    tasks = [str(number) for number in range(int(first), int(last) + 1)]
    codes = []
    for task in tasks:
        array = {
            "SLURM_ARRAY_JOB_ID": job,
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_ARRAY_TASK_COUNT": str(len(tasks)),
        }
        command = ["bash", str(asked.script), *asked.arguments]
        variables = array if "array" in given else {}
        done = _run(command, Path.cwd(), "gpus" in given, variables and task, **variables)
        output = given["output"]
        for sign, value in {"%x": given["job-name"], "%A": job, "%j": job, "%a": task}.items():
            output = output.replace(sign, value)
        Path(output).write_text(done.stdout)
        codes.append(done.returncode)
    _keep(job, codes=codes)
    print(job if asked.parsable else f"Submitted batch job {job}")
    return max(codes) if asked.wait else 0


# Kubernetes

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def kubectl(arguments: Sequence[str]) -> int:
    """Apply a Job, wait for it, or show its log."""
    if list(arguments) == ["apply", "-f", "-"]:
        return _apply(YAML(typ="safe").load(sys.stdin.read()))
    parser = argparse.ArgumentParser("kubectl", allow_abbrev=False)
    parser.add_argument("verb", choices=["wait", "logs"])
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--pod-running-timeout")
    parser.add_argument("--for", dest="condition")
    parser.add_argument("--timeout")
    parser.add_argument("job")
    asked = parser.parse_args(arguments)
    job = _jobs()[asked.job.removeprefix("job/")]
    if asked.verb == "logs":
        print(job["log"])
        return 0
    assert asked.condition == "condition=complete"
    assert asked.timeout
    return 0 if job["complete"] else 1


def _apply(manifest: Mapping[str, Any]) -> int:
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    assert _NAME.fullmatch(name), name
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] in ("Never", "OnFailure")
    (container,) = pod["containers"]
    volumes = {one["name"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert set(mounts.values()) <= volumes
    variables = {one["name"]: one["value"] for one in container.get("env", ())}
    assert all(isinstance(value, str) for value in variables.values())
    indexed = spec.get("completionMode") == "Indexed"
    count = spec.get("completions", 1)
    gpu = bool(container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu"))
    command = [*container["command"], *container["args"]]
    for mount, volume in mounts.items():
        (CLUSTER / volume).mkdir(exist_ok=True)
        command = [word.replace(mount, str(CLUSTER / volume)) for word in command]
    assert container["workingDir"] == "/project"
    done = []
    for index in map(str, range(count)):
        own = {"JOB_COMPLETION_INDEX": index} if indexed else {}
        done.append(_run(command, Path.cwd(), gpu, own and index, **variables, **own))
    complete = not any(one.returncode for one in done)
    _keep(name, complete=complete, log="".join(one.stdout for one in done))
    print(f"job.batch/{name} created")
    return 0


# Containers


def docker(arguments: Sequence[str]) -> int:
    """Run a container."""
    parser = argparse.ArgumentParser("docker", allow_abbrev=False)
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("--rm", action="store_true")
    for option in ("--gpus", "--user", "--env", "--volume", "--workdir"):
        parser.add_argument(option)
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    assert asked.gpus is None or re.fullmatch(r"device=\d", asked.gpus)
    here, _, there = asked.volume.partition(":")
    assert asked.workdir == there
    done = _run(asked.command, Path(here), asked.gpus is not None)
    print(done.stdout)
    return done.returncode


# GitHub

GITHUB = CLUSTER / "github.json"
BOT = "github-actions[bot]"


def gh(arguments: Sequence[str]) -> int:
    """List, write and change comments, and pull requests."""
    assert os.environ["GH_TOKEN"], "gh: To use GitHub CLI, set the GH_TOKEN environment variable"
    state = json.loads(GITHUB.read_text()) if GITHUB.exists() else {"comments": [], "pulls": []}
    first, *rest = arguments
    {"api": _comments, "pr": _pulls}[first](rest, state)
    GITHUB.write_text(json.dumps(state))
    return 0


def _comments(arguments: Sequence[str], state: Any) -> None:
    parser = argparse.ArgumentParser("gh api", allow_abbrev=False)
    parser.add_argument("--paginate", action="store_true")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--method")
    parser.add_argument("--jq")
    parser.add_argument("-F", dest="field", default="")
    parser.add_argument("path")
    asked = parser.parse_args(arguments)
    comments, of_the_pull = state["comments"], "repos/me/it/issues/7/comments"
    if asked.method is None:
        assert asked.paginate
        assert asked.path == of_the_pull
        form = r'\.\[\] \| select\(\.user\.login == "(.*?)"\) \| '
        form += r'select\(\.body \| startswith\("([^"]*)"\)\) \| \.id'
        found = re.fullmatch(form, asked.jq)
        assert found, asked.jq
        for one in comments:
            if one["user"]["login"] == found[1] and one["body"].startswith(found[2]):
                print(one["id"])
        return
    name, _, file = asked.field.partition("=@")
    assert name == "body"
    body = Path(file).read_text()
    if asked.method == "POST":
        assert asked.path == of_the_pull
        comments.append({"id": len(comments) + 1, "user": {"login": BOT}, "body": body})
    else:
        assert asked.method == "PATCH"
        found = re.fullmatch("repos/me/it/issues/comments/([0-9]+)", asked.path)
        assert found, asked.path
        comments[int(found[1]) - 1]["body"] = body


def _pulls(arguments: Sequence[str], state: Any) -> None:
    parser = argparse.ArgumentParser("gh pr", allow_abbrev=False)
    parser.add_argument("verb", choices=["list", "create", "edit"])
    for option in ("--head", "--base", "--title", "--json", "--jq"):
        parser.add_argument(option)
    parser.add_argument("--body-file", type=Path)
    parser.add_argument("number", nargs="?", type=int)
    asked = parser.parse_args(arguments)
    pulls = state["pulls"]
    if asked.verb == "list":
        assert (asked.json, asked.jq) == ("number", ".[].number")
        for number, one in enumerate(pulls):
            if (one["head"], one["base"]) == (asked.head, asked.base):
                print(number)
    elif asked.verb == "edit":
        pulls[asked.number]["body"] = asked.body_file.read_text()
    else:
        body = asked.body_file.read_text()
        known = [one for one in pulls if one["head"] == asked.head]
        assert not known, f"a pull request for branch {asked.head} already exists"
        pulls.append({"head": asked.head, "base": asked.base, "title": asked.title, "body": body})


# Buildkite


def buildkite_agent(arguments: Sequence[str]) -> int:
    """Download artifacts, or annotate the build."""
    if list(arguments[:2]) == ["artifact", "download"]:
        pattern, to = arguments[2:]
        found = [one for one in (CLUSTER / "artifacts").glob(pattern) if one.is_file()]
        for one in found:
            path = Path(to) / one.relative_to(CLUSTER / "artifacts")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.read_bytes())
        return 0 if found else 1
    parser = argparse.ArgumentParser("buildkite-agent", allow_abbrev=False)
    parser.add_argument("verb", choices=["annotate"])
    parser.add_argument("--style", choices=["success", "info", "warning", "error"])
    parser.add_argument("--context")
    asked = parser.parse_args(arguments)
    said = {"style": asked.style, "context": asked.context, "body": sys.stdin.read()}
    (CLUSTER / "annotation.json").write_text(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
