"""What users copy from ``examples/ci``: checked by linters, and run on stand-ins of CI systems."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import ROOT, git
from tests.support.pipelines import CI, Event, Ran, Tools, Workflow, holds, load

WORKFLOWS = sorted(CI.glob("github/*.yml"))

TEST = """
import pytest
import simgpu

@pytest.mark.nsys(rounds=2, warmup=0)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_gemm(size):
    simgpu.launch("gemm", 100 * size)
"""
SLOWER = TEST.replace("100 * size", "100 * size + 50")
INI = "[pytest]\nnsys_processes = 1\nnsys_confirm = 0\n"


class Site:
    """A project with baselines in a repository, and what CI has to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.tools = Tools(
            folder / "tools", gpu="NVIDIA H200", h200="NVIDIA H200", a100="NVIDIA A100"
        )
        self.kept = self.tools.folder

    def run(self, script: str, **variables: str) -> Ran:
        """Run a script in the project, on a machine without a GPU."""
        return self.tools.run(script, self.project, **variables)

    def workflow(self, name: str) -> Workflow:
        return Workflow(name, self.project, self.tools, self.folder / "runner")

    def commit(self, test: str) -> None:
        (self.project / "test_it.py").write_text(test)
        git(self.project, "commit", "-qam", "another")

    def copy(self, system: str, into: str = ".") -> None:
        """Copy what the page says: all files of a CI system."""
        shutil.copytree(CI / system, self.project / into, dirs_exist_ok=True)

    def recordings(self, *below: str) -> list[str]:
        found = Path(*below).glob("*/recording.json")
        return sorted(path.parent.name for path in found)

    def said(self, name: str) -> Any:
        """What a stand-in keeps."""
        return json.loads((self.kept / name).read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with baselines of an H200."""
    site = Site(tmp_path_factory.mktemp("made"))
    site.project.mkdir()
    (site.project / "test_it.py").write_text(TEST)
    (site.project / "pytest.ini").write_text(INI)
    done = site.tools.run("pytest --nsys-update", site.project, labels=["gpu"])
    assert done.code == 0, done.output
    git(site.project, "init", "-q", "-b", "main")
    git(site.project, "add", "pytest.ini", "test_it.py", "baselines")
    git(site.project, "commit", "-qm", "one")
    return site.project


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Site:
    shutil.copytree(made, tmp_path / "project")
    return Site(tmp_path)


def commands(page: str) -> list[str]:
    """What a page says to run."""
    text = (ROOT / f"docs/recipes/{page}.md").read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


# Linters


def checked(schema: str, *paths: Path, transform: str | None = None) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    command += ["--data-transform", transform] if transform else []
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_each_system_takes_its_file() -> None:
    checked("vendor.github-workflows", *WORKFLOWS)
    checked("custom.github-workflows-require-timeout", *WORKFLOWS)
    checked("vendor.gitlab-ci", CI / "gitlab/gitlab-ci.yml", transform="gitlab-ci")
    checked("vendor.buildkite", CI / "buildkite/pipeline.yml")


def jobs(path: Path) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    workflow = load(path)
    for job in workflow["jobs"].values():
        yield workflow, job


@pytest.mark.parametrize(
    "path", [*WORKFLOWS, ROOT / ".github/workflows/ci.yml"], ids=lambda path: path.name
)
def test_actions_are_pinned_and_say_their_version(path: Path) -> None:
    for line in path.read_text().splitlines():
        if "uses:" in line:
            assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_no_more_rights_than_they_need(path: Path) -> None:
    for workflow, job in jobs(path):
        assert workflow["permissions"] in ({}, {"contents": "read"})
        rights = job.get("permissions", workflow["permissions"])
        writes = [name for name, right in rights.items() if right == "write"]
        of_the_project = any("--editable" in step.get("run", "") for step in job["steps"])
        if of_the_project and writes:
            # Its own branch, of code that is merged.
            assert (path.name, writes) == ("history.yml", ["contents"])
            assert set(workflow["on"]) == {"push", "schedule"}
        for step in job["steps"]:
            # What is filled into a script is run by it: names of branches, titles, inputs.
            assert "${{" not in step.get("run", ""), step
            if step.get("uses", "").startswith("actions/checkout@") and not writes:
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_forks_send_does_not_run_on_own_machines(path: Path) -> None:
    for workflow, job in jobs(path):
        events = set(workflow["on"])
        assert events <= {"push", "schedule", "workflow_dispatch", "pull_request", "merge_group"}
        if "self-hosted" not in job["runs-on"] or "pull_request" not in events:
            continue
        assert not holds(job["if"], Event("pull_request", fork=True).known())
        assert holds(job["if"], Event("pull_request").known())
        assert holds(job["if"], Event("push").known())


def test_what_forks_send_to_gitlab_and_buildkite() -> None:
    rules = load(CI / "gitlab/gitlab-ci.yml")["record"]["rules"]
    mine = {"$CI_PIPELINE_SOURCE": "merge_request_event", "$CI_PROJECT_ID": "1"}
    forks = mine | {"$CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2"}
    mine |= {"$CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1"}
    first = next(rule for rule in rules if holds(rule["if"], forks))
    assert (first["when"], first["allow_failure"]) == ("manual", False)
    assert "when" not in next(rule for rule in rules if holds(rule["if"], mine))

    for step in load(CI / "buildkite/pipeline.yml")["steps"]:
        pull = {"build.pull_request.id": "7", "build.pull_request.repository.fork": True}
        assert not holds(step["if"], pull)
        assert holds(step["if"], pull | {"build.pull_request.repository.fork": False})
        assert holds(step["if"], {})


# GitHub


def test_the_gate_keeps_its_reports_where_it_fails(site: Site) -> None:
    site.commit(SLOWER)
    workflow = site.workflow("gate.yml")
    results, output = workflow.run(Event("pull_request"))
    assert results == {"gate": "failure"}, output
    assert "4 failed" in output
    kept = workflow.artifacts / "gpu-report"
    assert {one.name for one in kept.iterdir()} == {"junit.xml", "nsys.html", "nsys.json"}
    assert "4 regressed" in workflow.summary.read_text()
    assert workflow.run(Event("pull_request", fork=True))[0] == {"gate": "skipped"}


def test_two_gpus_record_and_one_job_judges_and_comments(site: Site) -> None:
    workflow = site.workflow("record-and-judge.yml")
    results, output = workflow.run(Event("pull_request"))
    # Of the second model there are no baselines yet.
    assert results == {"record": "success", "judge": "failure", "comment": "success"}, output
    assert "4 failed, 4 passed" in output
    assert {one.name for one in workflow.artifacts.iterdir()} == {
        *("gpu-report", "recording-h200", "recording-a100")
    }
    (comment,) = site.said("github.json")["comments"]
    assert comment["body"] == (workflow.artifacts / "gpu-report/nsys.md").read_text()
    assert "4 incomparable, 4 ok" in comment["body"]

    moves_to_another_model(site, workflow.artifacts)

    # A runner died: what is there is judged, and that a part is missing fails.
    shutil.rmtree(workflow.artifacts / "recording-a100")
    results, output = workflow.run(Event("pull_request"), only=["judge", "comment"])
    assert results["judge"] == "failure"
    assert "FAILED recordings::complete - 1 of 2 parts are there: 0" in output
    (comment,) = site.said("github.json")["comments"]
    assert "4 ok" in comment["body"]
    assert set(workflow.run(Event("pull_request", fork=True))[0].values()) == {"skipped"}


def moves_to_another_model(site: Site, artifacts: Path) -> None:
    """The commands of the page, with the recordings of both models."""
    for one in artifacts.glob("recording-*"):
        name = one.name.removeprefix("recording-")
        shutil.copytree(one, site.project / "recordings" / name)
    live, replayed, compared, removed = commands("gpu-models")
    assert "--nsys-update-new" in live
    done = site.run(f"{replayed}\n{compared}\npytest-nsys judge recordings")
    assert done.code == 0, done.output
    assert "8 passed" in done.output
    devices = sorted(one.name for one in (site.project / "baselines").glob("nvidia-*"))
    assert devices == ["nvidia-a100", "nvidia-h200"]
    assert site.run(removed).code == 0
    assert not (site.project / "baselines/nvidia-h200").exists()


def test_baselines_are_proposed_by_a_pull_request(site: Site) -> None:
    site.commit(SLOWER)
    workflow = site.workflow("baselines.yml")
    asked = Event("workflow_dispatch", values={"inputs.tests": "1 or 2"})
    results, output = workflow.run(asked)
    assert set(results.values()) == {"success"}, output
    (pull,) = site.said("github.json")["pulls"]
    assert (pull["head"], pull["base"]) == ("nsys-baselines/main", "main")
    assert "2 updated" in pull["body"]
    assert "+50.0%" in pull["body"]
    changed = git(site.project, "diff", "--name-only", "main", "nsys-baselines/main").split()
    recorded = [Path(one).name for one in changed if one.endswith(".json")]
    assert [name.rpartition("-")[0] for name in recorded] == ["test_gemm-1", "test_gemm-2"]

    # Asked again before it is merged, it is the same pull request.
    results, output = workflow.run(asked, only=["propose"])
    assert results["propose"] == "success", output
    assert len(site.said("github.json")["pulls"]) == 1
    git(site.project, "merge", "-q", "nsys-baselines/main")
    assert "Nothing has changed." in workflow.run(asked, only=["propose"])[1]


# GitLab, Buildkite


def test_gitlab(site: Site) -> None:
    pipeline = load(CI / "gitlab/gitlab-ci.yml")
    record, judge = pipeline["record"], pipeline["judge"]
    for index in range(1, record["parallel"] + 1):
        done = site.tools.run(
            "\n".join(record["script"]),
            site.project,
            labels=record["tags"],
            CI_NODE_INDEX=str(index),
            CI_NODE_TOTAL=str(record["parallel"]),
        )
        assert done.code == 0, done.output
    assert record["artifacts"]["paths"] == ["recordings"]
    assert site.recordings(site.project / "recordings") == ["1", "2"]
    done = site.run("\n".join(judge["script"]))
    assert done.code == 0, done.output
    assert "4 passed" in done.output
    assert judge["needs"] == ["record"]
    for path in (*judge["artifacts"]["paths"], judge["artifacts"]["reports"]["junit"]):
        assert (site.project / path).exists()


def test_buildkite(site: Site) -> None:
    site.commit(SLOWER)
    site.copy("buildkite", ".buildkite")
    record, judge = load(site.project / ".buildkite/pipeline.yml")["steps"]
    for index in range(record["parallelism"]):
        done = site.tools.run(
            record["command"],
            site.project,
            labels=[record["agents"]["queue"]],
            BUILDKITE_PARALLEL_JOB=str(index),
            BUILDKITE_PARALLEL_JOB_COUNT=str(record["parallelism"]),
        )
        assert done.code == 0, done.output
        assert record["artifact_paths"] == "recordings/**/*"
        kept = site.kept / "artifacts/recordings"
        shutil.copytree(site.project / "recordings", kept, dirs_exist_ok=True)
    done = site.run(judge["command"])
    assert done.code == 1, done.output
    assert site.recordings(site.project / "recordings") == ["0", "1"]
    said = site.said("annotation.json")
    assert (said["style"], said["context"]) == ("error", "nsys")
    assert "4 regressed" in said["body"]
    assert (site.project / judge["artifact_paths"]).exists()


# Clusters


def fewer(path: Path, *pairs: tuple[str, str]) -> None:
    """Two tasks in the place of eight."""
    text = path.read_text()
    for eight, two in pairs:
        assert eight in text
        text = text.replace(eight, two)
    path.write_text(text)


def test_slurm(site: Site) -> None:
    site.copy("slurm")
    fewer(site.project / "record.sbatch", ("--array=1-8", "--array=1-2"))
    done = site.tools.run("./gate.sh", site.project, labels=["gpu"])
    assert done.code == 0, done.output
    assert site.recordings(site.project / "recordings/1000") == ["1", "2"]
    assert "4 passed" in (site.project / "gpu-gate-1001.log").read_text()
    assert (site.project / "junit.xml").read_text().count("<testcase") == 4


def test_kubernetes_where_a_node_dies(site: Site) -> None:
    site.copy("kubernetes")
    spec = load(site.project / "record.yaml")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (parts,) = (one["value"] for one in container["env"] if one["name"] == "PARTS")
    assert int(parts) == spec["completions"] == spec["parallelism"]
    eight = ("completions: 8", "completions: 2"), ('value: "8"', 'value: "2"')
    fewer(site.project / "record.yaml", *eight)
    died = site.tools.run("./gate.sh", site.project, labels=["gpu"], CI_PIPELINE_ID="77", DEAD="0")
    assert died.code == 1, died.output
    recordings = site.kept / "recordings/77"
    assert site.recordings(recordings) == ["1"]
    assert "1 failed, 2 passed" in died.output
    assert "FAILED recordings::complete - 1 of 2 parts are there: 1" in died.output
    assert "2 ok, 1 unmeasured" in (recordings / "nsys.md").read_text()

    # The wait is the last word of CI: where all are there, it is that of the gate.
    done = {name: job["complete"] for name, job in site.said("jobs.json").items()}
    assert done == {"gpu-tests-77": False, "gpu-gate-77": False}


def test_containers(site: Site) -> None:
    site.copy("containers")
    site.commit(SLOWER)  # what got slower there fails here
    done = site.tools.run("./gate.sh", site.project, labels=["gpu"])
    assert done.code == 1, done.output
    assert site.recordings(site.project / "recordings") == ["0", "1"]
    assert done.output.rstrip().splitlines()[-1].startswith("4 failed in ")


def test_the_image_installs_what_the_recipes_call() -> None:
    """No image is built here; that its steps are commands is seen where pages are looked at."""
    text = (CI / "containers/Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE)
    assert stages == re.findall(r"--target=(\w+)", text)[::-1] == ["judge", "record"]
    for name in (
        "nsight-systems-cli-$NSYS",
        "pytest-nsys",
        "pytest-split",
        "signed-by=$key",
        "COPY . .",
    ):
        assert name in text
    images = set(re.findall(r"--tag=(\S+)", text))
    used = [CI / "kubernetes/record.yaml", CI / "kubernetes/judge.yaml", CI / "containers/gate.sh"]
    for path in used:
        assert set(re.findall(r"registry\.example\.com/\S+", path.read_text())) <= images


# Projects and teams


def test_each_project_of_a_repository_is_judged_by_itself(site: Site) -> None:
    site.copy("monorepo")
    packages = site.project / "packages"
    for name in ("attention", "optimizer"):
        for part in ("pytest.ini", "baselines", "test_it.py"):
            (packages / name).mkdir(parents=True, exist_ok=True)
            copied = shutil.copytree if part == "baselines" else shutil.copy
            copied(site.project / part, packages / name / part)
    (packages / "optimizer/test_it.py").write_text(SLOWER)
    done = site.tools.run("./record.sh", site.project, labels=["gpu"])
    assert done.code == 0, done.output
    assert site.recordings(site.project / "recordings") == ["attention", "optimizer"]
    done = site.run("./judge.sh")
    assert done.code == 1, done.output
    reports = {
        name: (site.project / f"report/{name}.md").read_text()
        for name in ("attention", "optimizer")
    }
    assert "4 ok" in reports["attention"]
    assert "4 regressed" in reports["optimizer"]
    assert "<!-- pytest-nsys optimizer -->" in reports["optimizer"]

    shutil.rmtree(site.project / "recordings/attention")
    done = site.run("./judge.sh")
    assert done.code == 1, "a recording that is missing is a failure"


def test_two_branches_that_recorded_a_test(site: Site) -> None:
    (path,) = (site.project / "baselines").rglob("test_gemm-1-*.json")
    timeline = path.with_suffix(".timeline.json.gz")
    text = path.read_text()
    for branch, us in (("theirs", 101), ("main", 102)):
        git(site.project, "switch", "-q", *(["-c"] if branch == "theirs" else []), branch)
        path.write_text(text.replace("100000", f"{us}000"))
        timeline.write_bytes(branch.encode())
        git(site.project, "commit", "-qam", branch)
    review, merge = commands("team")
    attributes = (ROOT / "docs/recipes/team.md").read_text().partition("```text\n")[2]
    (site.project / ".gitattributes").write_text(attributes.partition("```")[0])
    shown = site.run(f"{review}\ngit diff theirs main").output
    assert re.search(r"^-  gpu.kernel_time +101 us", shown, re.MULTILINE), shown
    assert re.search(r"^\+  gpu.kernel_time +102 us", shown, re.MULTILINE), shown

    site.run("git -c user.name=t -c user.email=t@example.org merge theirs")
    assert "<<<<<<<" in path.read_text()
    assert "<<<<<<<" in site.run("git diff").output
    done = site.run(merge)
    assert done.code == 0, done.output
    assert "joined: 2 processes" in done.output
    assert not git(site.project, "diff", "--name-only", "--diff-filter=U")
    assert not timeline.exists()
