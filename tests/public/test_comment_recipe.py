"""The recipe of a comment that updates itself, run as the page shows it, with a stand-in for gh."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.report.markdown import render_markdown
from pytest_nsys.report.run import RunReport
from tests.support.harness import ROOT, write_program

PAGE = (ROOT / "docs/reports.md").read_text(encoding="utf-8")
(RECIPE,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

GH = """#!{python}
# The two requests that the recipe makes, of comments in a file; anything else is an error.
import json, pathlib, re, sys

store = pathlib.Path("comments.json")
comments = json.loads(store.read_text())
arguments = sys.argv[1:]
assert arguments.pop(0) == "api"
flags = {{name for name in ("--paginate", "--silent") if name in arguments}}
arguments = [one for one in arguments if one not in flags]
options = {{}}
for name in ("--method", "--jq", "-F"):
    if name in arguments:
        at = arguments.index(name)
        options[name] = arguments[at + 1]
        del arguments[at : at + 2]
(path,) = arguments
if "--method" not in options:
    assert flags == {{"--paginate"}} and path == "repos/me/it/issues/7/comments"
    form = r'\\.\\[\\] \\| select\\(\\.user\\.login == "(.*?)"\\) \\| '
    form += r'select\\(\\.body \\| startswith\\("([^"]*)"\\)\\) \\| \\.id'
    login, start = re.fullmatch(form, options["--jq"]).groups()
    for one in comments:
        if one["user"]["login"] == login and one["body"].startswith(start):
            print(one["id"])
else:
    name, _, file = options["-F"].partition("=@")
    assert name == "body" and flags == {{"--silent"}}
    body = pathlib.Path(file).read_text()
    if options["--method"] == "POST":
        assert path == "repos/me/it/issues/7/comments"
        user = {{"login": "github-actions[bot]"}}
        comments.append({{"id": len(comments) + 1, "user": user, "body": body}})
    else:
        assert options["--method"] == "PATCH"
        number = int(re.fullmatch("repos/me/it/issues/comments/([0-9]+)", path)[1])
        comments[number - 1]["body"] = body
    store.write_text(json.dumps(comments))
"""


class Pull:
    """A pull request on which jobs comment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "bin").mkdir()
        write_program(folder / "bin/gh", GH.format(python=sys.executable))
        self.write([{"id": 1, "user": {"login": "somebody"}, "body": "<!-- pytest-nsys --> mine"}])

    def write(self, comments: list[dict[str, Any]]) -> None:
        (self._folder / "comments.json").write_text(json.dumps(comments))

    @property
    def bodies(self) -> list[str]:
        comments = json.loads((self._folder / "comments.json").read_text())
        return [comment["body"] for comment in comments]

    def comment(self, run: RunReport) -> str:
        text = render_markdown(run)
        (self._folder / "nsys.md").write_text(text)
        subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", RECIPE],
            cwd=self._folder,
            env={
                "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}",
                "PR": "7",
                "GITHUB_REPOSITORY": "me/it",
            },
            check=True,
            timeout=120,
        )
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
