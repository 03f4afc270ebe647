"""``examples/record.py``, and the recordings that it made of the suites in ``examples/``."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.harness import ROOT, Project

RECORDED: tuple[str, ...] = ()
"""Recordings with slips that are there; without the end of their name they are those without."""

TESTS = """
    import os
    import pytest
    import simgpu

    SLIP = os.environ["EXAMPLES_REGRESSION"] == "1"
    pytestmark = pytest.mark.nsys(rounds=3)

    def test_slower():
        simgpu.launch("gemm", 200 if SLIP else 100)

    @pytest.mark.nsys(require=["*flash*"])
    def test_required():
        simgpu.launch("gemm" if SLIP else "flash_fwd", 100)
"""


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, as a module of its own."""
    spec = importlib.util.spec_from_file_location("record", ROOT / "examples/record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "record", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def suites(simulated: Project, record: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two tests with slips, in the place of the suites."""
    slips = {
        "test_it.py::test_slower": record.Slip("a slow kernel", frozenset({"gpu.kernel_time"})),
        "test_it.py::test_required": record.Slip("another kernel", frozenset({"*flash*"})),
    }
    monkeypatch.setattr(record, "EXAMPLES", simulated.path.parent)
    monkeypatch.setattr(record, "SLIPS", {simulated.path.name: slips})
    return simulated


def test_it_records_and_finds_every_slip_caught(
    suites: Project, record: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suites.write(TESTS)
    out = tmp_path / "out"
    arguments = [f"--out={out}", f"--suites={suites.path.name}"]
    assert record.main(arguments) == 0
    text = capsys.readouterr().out
    assert text.count(" caught\n") == 2
    assert "gpu.kernel_time +100" in text
    assert "As it should be" in text
    assert {path.name for path in (out / "recordings").iterdir()} == {"h200", "h200-slips"}
    assert (out / "gate.html").is_file()
    assert (out / "slips.html").is_file()
    with pytest.raises(SystemExit):
        record.main(arguments)
    assert "is not empty" in capsys.readouterr().err


def test_a_slip_that_is_not_caught_is_told(
    record: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slip = record.Slip("a slow kernel", frozenset({"gpu.kernel_time"}))
    monkeypatch.setattr(record, "SLIPS", {"suites": {"test_slower": slip}})
    passed = record.Gate(0, {"test_slower": frozenset()}, headlines={"test_slower": "as it was"})
    monkeypatch.setattr(record.Suite, "run", lambda *_, **__: passed)
    assert record.main([f"--out={tmp_path}"]) == 2
    text = capsys.readouterr().out
    assert "slips: test_slower passed, with a slow kernel" in text
    assert "replay of slips: test_slower passed, with a slow kernel" in text
    assert text.count("NOT CAUGHT") == 1


def test_what_was_not_measured_or_fails_by_another_cause_is_told(record: ModuleType) -> None:
    slips = {
        "a": record.Slip("s", frozenset({"sync.count"})),
        "b": record.Slip("t", frozenset({"sync.count"})),
    }
    suite = record.Suite("suites", Path("out"), Path("baselines"))
    suite.slips = slips
    unchanged = record.Gate(
        1, {"a": frozenset({"mem.peak"})}, frozenset({"a"}), {"a": "more memory"}, {"b": "no GPU"}
    )
    assert [*record.wrong_of_unchanged(suite, {"gate": unchanged})] == [
        "gate: exit code 1",
        "gate: a failed: more memory",
        "gate: b was not measured: no GPU",
    ]
    assert [*record.wrong_of_slips(suite, {"slips": unchanged})] == [
        "slips: a failed, but not by sync.count",
        "slips: b was not measured: no GPU",
    ]


def test_where_nothing_can_be_measured_it_says_why(
    project: Project, record: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record.main([f"--out={tmp_path / 'out'}"]) == 1
    text = capsys.readouterr().out
    assert "nsys (NVIDIA Nsight Systems) was not found" in text
    assert "gate" not in text


def test_recordings_of_suites(record: ModuleType, tmp_path: Path) -> None:
    """Without slips all pass, and with them each fails by its culprit; none is missing."""
    found = sorted((ROOT / "examples").glob("*/recordings/*-slips"))
    assert [str(path.relative_to(ROOT / "examples")) for path in found] == [*RECORDED]
    for slips in found:
        folder, name = slips.parents[1], slips.name.removesuffix("-slips")
        suite = record.Suite(folder.name, tmp_path, folder / "baselines")
        gate = ["--nsys-baseline", "-v"]
        unchanged = suite.run("replay", *gate, f"--nsys-replay={slips.parent / name}")
        broken = suite.run("slips", *gate, f"--nsys-replay={slips}", slips=True)
        assert [*record.wrong_of_unchanged(suite, {"replay": unchanged})] == []
        assert [*record.wrong_of_slips(suite, {"slips": broken})] == []


def test_suites_are_imported_without_frameworks(record: ModuleType, project: Project) -> None:
    """Each test of the table is collected where none is installed, and skips."""
    for name, slips in record.SLIPS.items():
        folder = project.path / name
        shutil.copytree(ROOT / "examples" / name, folder)
        for module in ("torch", "triton", "cupy", "jax"):
            (folder / f"{module}.py").write_text("raise ModuleNotFoundError('not here')\n")
        done = project.pytester.run(
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            f"--rootdir={folder}",
            folder,
        )
        assert done.ret == 0
        skipped = {
            line.split()[0].rpartition("/")[2] for line in done.outlines if "SKIPPED" in line
        }
        assert skipped == {*slips}
