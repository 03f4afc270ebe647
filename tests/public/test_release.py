"""What a release needs beside the code: a citation, a workflow that publishes, one version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import pytest_nsys
from tests.support.harness import ROOT

WORKFLOW = ROOT / ".github/workflows/release.yml"


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("citation-file-format", ROOT / "CITATION.cff"),
        ("github-workflows", WORKFLOW),
        ("github-workflows", ROOT / ".github/workflows/ci.yml"),
        ("dependabot", ROOT / ".github/dependabot.yml"),
    ],
    ids=lambda each: getattr(each, "name", None),
)
def test_files_have_the_form_that_others_read(schema: str, path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*check, path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_publishes_is_pinned_and_may_do_no_more_than_that() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    actions = re.findall(r"uses: (.*)", text)
    assert len(actions) == 5
    for action in actions:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v[\d.]+", action)
    document = YAML(typ="safe").load(text)
    publish = document["jobs"]["publish"]
    assert document["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    assert publish["needs"] == "build"
    assert "permissions" not in document["jobs"]["build"]
    assert not any("run" in step for step in publish["steps"])


def test_all_name_one_version() -> None:
    version = pytest_nsys.__version__
    assert YAML(typ="safe").load(ROOT / "CITATION.cff")["version"] == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (newest, *_) = re.findall(r"^## ([\d.]+) \((\d{4}-\d\d-\d\d|unreleased)\)$", changelog, re.M)
    assert newest[0] == version


def test_the_changelog_has_the_usual_categories_alone() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    usual = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for version in re.split(r"^## .*$", changelog, flags=re.M)[1:]:
        found = re.findall(r"^### (.*)$", version, re.M)
        assert found
        assert {*found} <= usual
        assert len(found) == len({*found})
        assert not version.partition("###")[0].count("\n- ")
