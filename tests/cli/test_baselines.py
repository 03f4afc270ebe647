"""``pytest-nsys baselines``: what a folder of baselines holds, and keeping it in order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.measure.measurement import Part
from pytest_nsys.storage.baselines import BaselineStore
from tests.support import made
from tests.support.command import Answer

TESTS = """
    import pytest

    pytestmark = pytest.mark.nsys

    def test_kept(): pass

    @pytest.mark.skip
    def test_skipped(): pass

    @pytest.mark.parametrize("n", [1, 2])
    def test_many(n): pass
"""
NAMES = ("kept", "skipped", "many[1]", "many[2]", "many[3]", "gone")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaselineStore:
    """Baselines of two devices in the current folder."""
    monkeypatch.chdir(tmp_path)
    store = BaselineStore(Path("baselines"))
    kernels = [Part(f"kernel_{number}_" + "x" * 70, 1, ns=100 - number) for number in range(12)]
    body = made.kernels(*kernels, token=256)
    copies = made.window({"memcpy.h2d.bytes": [4096] * 5}, Part("h2d 4 KiB", 1, bytes=4096),
                         kind="copies", name="load")  # fmt: skip
    environment = replace(made.ENVIRONMENT, date="2026-01-31", versions={"python": "3.11"})
    one = made.measurement(body, copies, environment=environment)
    for name in NAMES:
        store.write(replace(one, nodeid=f"test_it.py::test_{name}"))
    store.write(replace(one, nodeid="test_it.py::test_kept", device="nvidia-h100"))
    return store


def test_baselines_are_listed_by_device_age_and_name(
    store: BaselineStore, command: Callable[..., Answer]
) -> None:
    code, out, err = command("baselines", "list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "nvidia-h100:",
        "  2026-01-31  test_it.py::test_kept",
        "nvidia-h200:",
        *(f"  2026-01-31  test_it.py::test_{name}" for name in ("gone", "kept")),
        *(f"  2026-01-31  test_it.py::test_many[{number}]" for number in (1, 2, 3)),
        "  2026-01-31  test_it.py::test_skipped",
        "7 baselines",
    ]
    assert command("baselines", "list", "--device=nvidia-h100")[1].endswith("\n1 baseline\n")
    assert command("baselines", "list", "*many[[]?]")[1].endswith("0 baselines\n")
    assert command("baselines", "list", "*many[?]")[1].endswith("3 baselines\n")
    assert command("baselines", "list", "--older-than=1", "skipped")[1].endswith("1 baseline\n")
    assert command("baselines", "list", "--older-than=99999")[1] == "0 baselines\n"
    rows = json.loads(command("baselines", "list", "kept", "--format=json")[1])
    assert [(row["nodeid"], row["device"], row["rounds"]) for row in rows] == [
        ("test_it.py::test_kept", "nvidia-h100", 5),
        ("test_it.py::test_kept", "nvidia-h200", 5),
    ]
    Path(rows[0]["path"]).write_text("{")
    code, out, err = command("baselines", "list")
    assert (code, out.splitlines()[-1]) == (2, "6 baselines")
    assert "test_kept.json:1: this is not JSON" in err
    code, _, err = command("baselines", "list", "--baseline-dir=nowhere")
    assert (code, err.splitlines()[0]) == (
        2,
        f"pytest-nsys: there is no folder of baselines {Path('nowhere').absolute()}",
    )


def test_a_baseline_is_shown_on_a_page_of_80_columns(
    store: BaselineStore, command: Callable[..., Answer]
) -> None:
    code, out, err = command("baselines", "show", "test_it.py::test_kept", "--device=nvidia-h200")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:4] == [
        "test_it.py::test_kept",
        "  baselines/nvidia-h200/test_it.py/test_kept.json",
        "  2026-01-31, NVIDIA H200, nsys 2025.3.2, driver 580.1, python 3.11",
        "  1 process of 5 rounds, after 1 to warm up; --trace=cuda,nvtx",
    ]
    for line in (
        "the test's body (256 tokens a round):",
        "    and 2 more",
        "window 'load':",
        "    1x h2d 4 KiB, 0 ns, 4 KiB",
    ):
        assert line in lines
    assert "gpu.kernel_count 12 12" in [" ".join(line.split()) for line in lines]
    assert all(len(line) <= 80 for line in lines)
    both = command("baselines", "show", "test_it.py::test_kept")[1]
    assert both.count("test_it.py::test_kept\n") == 2
    assert command("baselines", "show", "many")[1].count("test_it.py::test_many[") == 3
    code, out, err = command("baselines", "show", "test_it.py::test_kebt")
    assert (code, out) == (2, "")
    assert err.splitlines()[:2] == [
        "pytest-nsys: there is no baseline of 'test_it.py::test_kebt' in baselines",
        "  test_it.py::test_kept",
    ]
    assert "What to do: name the test as 'pytest-nsys baselines list' does" in err
    assert command("baselines", "show", "")[0] == 2


def test_a_file_is_shown_wherever_it_lies_and_without_its_name(
    store: BaselineStore, command: Callable[..., Answer], tmp_path: Path
) -> None:
    """As git has it, which compares what is shown of two copies."""
    path = next(store.root.rglob("nvidia-h200/test_it.py/test_kept.json"))
    shown = command("baselines", "show", "test_it.py::test_kept", "--device=nvidia-h200")[1]
    copy = tmp_path / "blob.json"
    copy.write_bytes(path.read_bytes())
    code, out, err = command("baselines", "show", copy)
    assert (code, err) == (0, "")
    assert out.splitlines() == [one for one in shown.rstrip().splitlines() if ".json" not in one]

    copy.write_text("{")
    code, out, err = command("baselines", "show", copy)
    assert (code, out) == (2, "")
    assert f"{copy}:1: this is not JSON" in err
    code, _, err = command("baselines", "show", "gone.json")
    assert code == 2
    assert "there is no baseline of 'gone.json'" in err


def test_a_baseline_is_shown_with_its_commit(
    store: BaselineStore, command: Callable[..., Answer]
) -> None:
    path = next(store.root.rglob("nvidia-h200/test_it.py/test_kept.json"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"cuda": ', '"commit": "abc1234+dirty", "cuda": ', 1), "utf-8")
    out = command("baselines", "show", "test_it.py::test_kept", "--device=nvidia-h200")[1]
    assert "python 3.11, commit abc1234+dirty" in " ".join(out.split())


def test_baselines_are_renamed_for_all_devices(
    store: BaselineStore, command: Callable[..., Answer]
) -> None:
    code, out, _ = command("baselines", "rename", "test_it.py::test_kept", "test_it.py::test_new")
    assert (code, out.splitlines()) == (
        0,
        [
            f"baselines/{device}/test_it.py/test_kept.json -> "
            f"baselines/{device}/test_it.py/test_new.json"
            for device in ("nvidia-h100", "nvidia-h200")
        ],
    )
    code, _, err = command("baselines", "rename", "test_it.py::test_new", "test_it.py::test_gone")
    assert code == 2
    assert "test_it.py::test_gone has a baseline already" in err
    code, _, err = command("baselines", "rename", "test_it.py::test_kep", "x.py::test")
    assert code == 2
    assert "there is no baseline of 'test_it.py::test_kep'" in err
    old = "test_it.py::test_many"
    for new in (
        *("", "foo", "test_it.py::", "::test", "../x.py::y", "/x.py::y", "./x.py::y", "x.txt::y"),
        *("x.py:: y", "x.py::A::", "x.py::y[1]", old),
    ):
        code, out, err = command("baselines", "rename", old, new)
        assert (code, out) == (2, ""), new
        assert f"{new!r} cannot be what {old!r} is called now" in err
    for new in ("x.py::test", "foo", "..", "test_it.py"):
        assert command("baselines", "rename", "test_it.py", new)[0] == 2
    code, out, _ = command("baselines", "rename", "test_it.py", "sub/test_it.py")
    assert (code, len(out.splitlines())) == (0, 7)
    assert not Path("baselines/nvidia-h200/test_it.py").exists()


def test_only_baselines_whose_tests_are_gone_are_pruned_and_only_when_told(
    store: BaselineStore, command: Callable[..., Answer]
) -> None:
    project = Path("test_it.py")
    project.write_text("\n".join(line[4:] for line in TESTS.splitlines()))
    Path("pytest.ini").write_text("[pytest]\naddopts = -k kept\n")
    code, out, err = command("baselines", "prune")
    assert (code, err) == (1, "")
    assert out.splitlines()[-1] == ("collected as a whole: 1 test file; remove these 2 with --yes")
    gone = sorted(line.rpartition("(")[2] for line in out.splitlines()[:-1])
    assert gone == ["test_it.py::test_gone)", "test_it.py::test_many[3])"]
    assert len(list(store.root.rglob("*.json"))) == 7
    code, out, _ = command("baselines", "prune", "--yes", "--", "test_it.py")
    assert (code, out.count("removed")) == (0, 2)
    assert len(list(store.root.rglob("*.json"))) == 5
    code, out, _ = command("baselines", "prune", "--", "test_it.py::test_many")
    assert (code, out) == (0, "nothing to remove; collected as a whole: 0 test files\n")
    project.write_text("import no_such_module")
    code, out, _ = command("baselines", "prune", "--yes")
    assert (code, out) == (0, "nothing to remove; collected as a whole: 0 test files\n")
    project.unlink()
    code, out, _ = command("baselines", "prune", "--device=nvidia-h100")
    assert (code, out.count("has no test")) == (0, 0), "no test at all was collected"
    Path("test_other.py").write_text("def test_kept(): pass")
    code, out, _ = command("baselines", "prune", "--device=nvidia-h100")
    assert (code, out.count("has no test")) == (1, 1)
    code, _, err = command("baselines", "prune", "--", "--no-such-option")
    assert code == 2
    assert "pytest could not collect the tests" in err
    assert "--no-such-option" in err
    assert "Warning" not in err
    code, out, err = command("baselines", "prune", "--yes", "--", "test_nowhere.py")
    assert (code, out) == (2, "")
    assert "file or directory not found: test_nowhere.py" in err


def test_prune_leaves_what_may_be_of_a_file_that_it_did_not_look_at(
    store: BaselineStore,
    command: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = Path("project")
    project.mkdir()
    store.root.rename(project / "baselines")
    (project / "test_it.py").write_text("import pytest\ndef test_kept(): pass")
    # One folder above, where node ids start with that folder's name.
    code, out, _ = command("baselines", "prune", "--baseline-dir=project/baselines", "--yes")
    first, *_, todo, last = out.splitlines()
    assert code == 1
    assert first.endswith(f"(test_it.py::test_kept) may be of {project.resolve()}/test_it.py")
    assert todo.startswith("run it where node ids start as they did")
    assert last == "nothing to remove; collected as a whole: 1 test file"
    assert len(list(project.rglob("*.json"))) == 7
    # A part of a file, by the name of its module.
    monkeypatch.chdir("project")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", os.environ.get("PYTHONPATH", "")]))
    code, out, _ = command("baselines", "prune", "--yes", "--", "--pyargs", "test_it::test_kept")
    assert (code, out) == (0, "nothing to remove; collected as a whole: 0 test files\n")


def test_folders_are_merged_and_what_is_left_is_named(
    store: BaselineStore, command: Callable[..., Answer]
) -> None:
    other = BaselineStore(Path("other"))
    one = store.read("nvidia-h200", "test_it.py::test_kept")
    assert one is not None
    other.write(replace(one, warmup=5))
    code, out, _ = command("baselines", "merge", "other")
    assert (code, out.splitlines()) == (
        1,
        [
            "baselines/nvidia-h200/test_it.py/test_kept.json: left: 1 warm-up calls here, 5 there",
            "1 left: say --take=ours, theirs or newer, or record them anew",
        ],
    )
    code, out, _ = command("baselines", "merge", "other", "--take=theirs")
    assert code == 0
    assert "taken from theirs" in out
    code, out, _ = command("baselines", "merge")
    assert (code, out) == (0, "there is no conflict: nothing to merge\n")
    assert command("baselines", "merge", "nowhere")[0] == 2
    path = Path("baselines/nvidia-h200/test_it.py/test_kept.json")
    text = path.read_text()
    for broken in (f"<<<<<<< ours\n{text}", f"{text}=======\n{text}", f"{text}>>>>>>> x\n"):
        path.write_text(broken)
        code, out, err = command("baselines", "merge", "--take=ours")
        assert (code, out) == (2, "")
        assert "a merge conflict is unresolved" in err
        assert path.read_text() == broken
