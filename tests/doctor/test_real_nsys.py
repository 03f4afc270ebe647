"""``pytest-nsys doctor`` with both real nsys, whole and broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.run import checkup_document, examine_here
from tests.support.capture_bench import NAMES, nothing_left, real


def examined(nsys: NsysTool | Path) -> tuple[int, dict[str, Any]]:
    """The exit code and document of the doctor; its findings by check, the last of each counts."""
    path = nsys.path if isinstance(nsys, NsysTool) else nsys
    document = checkup_document(examine_here(str(path)))
    code = 0 if document["healthy"] else 1
    return code, {**document, "by": {found["check"]: found for found in document["findings"]}}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Temporary files of the test alone; neither files nor processes of a trial are left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with nothing_left(folder):
        yield folder
    assert list(folder.glob("pytest-nsys-*")) == []


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", NAMES)
def test_all_but_the_gpu_is_fine_with_a_real_nsys(name: str) -> None:
    nsys = real(name)
    code, document = examined(nsys)
    by = document["by"]
    problems = [f["check"] for f in document["findings"] if f["status"] == "problem"]
    assert problems == ([] if by["GPU"]["status"] == "ok" else ["GPU"]), document
    assert code == (1 if problems else 0)
    assert by["nsys"]["what"] == f"nsys {nsys.version_text} is used"
    for check in ("importer", "libraries", "nvtx"):
        assert by[check]["status"] == "ok"
    # A warning if the old nsys needed more than one attempt.
    assert by["trial capture"]["status"] in ("ok", "warning")
    assert by["trial capture"]["what"].startswith("nsys recorded and exported")
    assert len(document["trial"]) == 5
    assert all(step["seconds"] >= 0 for step in document["trial"])


@pytest.mark.usefixtures("alone")
def test_an_nsys_without_its_importer_is_found_out_by_probe_and_trial(tmp_path: Path) -> None:
    whole = real("2023").path.parent
    target = tmp_path / "nsight" / whole.name
    target.mkdir(parents=True)
    for part in whole.iterdir():
        (target / part.name).symlink_to(part)
    (target / "nsys").unlink()
    shutil.copy2(whole / "nsys", target / "nsys")
    code, document = examined(target / "nsys")
    assert code == 1
    assert document["by"]["importer"]["status"] == "problem"
    tried = document["by"]["trial capture"]
    assert tried["status"] == "problem"
    assert "could not make a report" in tried["what"] or "left no report" in tried["what"]
    assert tried["what"].startswith("failed while making the report: ")
