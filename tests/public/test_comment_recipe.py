"""The recipe of a comment that updates itself, with a stand-in for gh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.report.markdown import render_markdown
from pytest_nsys.report.run import RunReport
from tests.support.pipelines import CI, Tools, load

JOB = load(CI / "github/record-and-judge.yml")["jobs"]["comment"]
(RECIPE,) = (step["run"] for step in JOB["steps"] if "run" in step)


class Pull:
    """A pull request on which jobs comment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tools = Tools(folder / "tools")
        self.write([{"id": 1, "user": {"login": "somebody"}, "body": "<!-- pytest-nsys --> mine"}])

    def write(self, comments: list[dict[str, Any]]) -> None:
        self._kept.write_text(json.dumps({"comments": comments, "pulls": []}))

    @property
    def bodies(self) -> list[str]:
        comments = json.loads(self._kept.read_text())["comments"]
        return [comment["body"] for comment in comments]

    @property
    def _kept(self) -> Path:
        return self._tools.folder / "github.json"

    def comment(self, run: RunReport) -> str:
        text = render_markdown(run)
        (self._folder / "nsys.md").write_text(text)
        variables = {"PR": "7", "GITHUB_REPOSITORY": "me/it", "GH_TOKEN": "secret"}
        done = self._tools.run(RECIPE, self._folder, **variables)
        assert done.code == 0, done.output
        return text


@pytest.fixture
def pull(tmp_path: Path) -> Pull:
    return Pull(tmp_path)


def test_the_first_run_comments_and_later_ones_replace_that(pull: Pull) -> None:
    (somebodys,) = pull.bodies
    first = pull.comment(RunReport("gate", notes=("first",)))
    assert pull.bodies == [somebodys, first]
    second = pull.comment(RunReport("gate", notes=("second",)))
    assert pull.bodies == [somebodys, second]


def test_each_of_several_jobs_has_its_own(pull: Pull) -> None:
    (somebodys,) = pull.bodies
    names = ["H200", "H200 (large)", 'a "b" $(c) `d` \\']
    texts = [pull.comment(RunReport("gate", name=name)) for name in names]
    assert pull.bodies == [somebodys, *texts]
    texts[1] = pull.comment(RunReport("gate", name=names[1], notes=("again",)))
    assert pull.bodies == [somebodys, *texts]
