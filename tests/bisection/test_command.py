"""``pytest-nsys bisect``, with a stand-in for pytest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.bisection.bench import Bench
from pytest_nsys.cli.main import main
from tests.support.commits import make_history
from tests.support.harness import git, until
from tests.support.quick_python import kernels, write_quick_python

Run = Callable[..., tuple[int, str, str]]


def _levels(*levels: float | str) -> list[dict[str, str | bytes]]:
    files = [one if isinstance(one, str) else kernels(one) for one in levels]
    return [{"kernels.json": one, "n": f"{n}"} for n, one in enumerate(files)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a repository, in which commands are run."""
    found = tmp_path / "repository"
    found.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.chdir(found)
    write_quick_python(tmp_path / "python")
    return found


@pytest.fixture
def bisect(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; gives its exit code, what it printed, and what it told on the way."""

    def run(*arguments: str, python: bool = True) -> tuple[int, str, str]:
        more = ["--python", str(tmp_path / "python")] if python else []
        capsys.readouterr()
        code = main(["bisect", *more, *arguments])
        assert not [*(tmp_path / "temporary").iterdir()], "nothing is left behind"
        return code, *capsys.readouterr()

    return run


def test_the_commit_is_named_with_what_it_changed(bisect: Run, folder: Path) -> None:
    """In a checkout on another branch, that is dirty and bisects something itself."""
    broken = kernels(1, broken="cannot import name 'x'")
    hashes = make_history(folder, _levels(1000, 1000, 1000, 1000, 1040, broken, 1040, 1040))
    git(folder, "bisect", "start", hashes[5], hashes[1])
    (folder / "kernels.json").write_text("no JSON")
    (folder / "staged").touch()
    git(folder, "add", "staged")
    looked = ("status", "--porcelain"), ("for-each-ref",), ("reflog", "HEAD"), ("bisect", "log")
    before = [git(folder, *words) for words in looked]
    code, out, err = bisect(f"{hashes[0]}..main", "test_it.py")
    assert code == 0
    lines = out.splitlines()
    found = hashes[4][:10]
    assert lines[0] == (
        f"{found} is the first commit that made test_it.py::test_step (gpu.kernel_time)"
    )
    assert max(map(len, lines)) <= 88
    for line in (
        f"  commit   {hashes[4]}",
        "  author   t <t@example.org>",
        "  subject  change 4",
        f"  change   gpu.kernel_time +4.0% (1 ms -> 1.04 ms), beside its parent {hashes[3][:10]}",
        "  culprit  gemm +40 us (1x)",
        "  GOOD-BAD gpu.kernel_time +4.0% (1 ms -> 1.04 ms)",
        "           gemm +40 us (1x)",
        "  files    kernels.json | 2 +-",
        f"     1  {hashes[3][:10]}  good       1.000  change 3",
        "        cannot import name 'x'",
        f"look further: git show {found}",
    ):
        assert line in lines
    assert f"measuring BAD ({hashes[7][:10]}) beside GOOD ({hashes[0][:10]})" in err
    assert [git(folder, *words) for words in looked] == before
    assert not [*(folder / ".git").glob("pytest-nsys*")]


def test_json_has_all_of_it(bisect: Run, folder: Path) -> None:
    hashes = make_history(folder, _levels(1000, 1000, 1040))
    code, out, _ = bisect(f"{hashes[0]}..", "test_it.py", "--format=json")
    document = json.loads(out)
    assert code == 0
    assert document["found"] is True
    assert [one["hash"] for one in document["suspects"]] == [hashes[2]]
    assert document["suspects"][0]["subject"] == "change 2"
    assert document["parent"] == hashes[1]
    assert document["change"]["amount"] == pytest.approx(40_000)
    assert document["total"]["target"]["key"] == "gpu.kernel_time"
    assert [step["verdict"] for step in document["steps"]] == ["good"]
    assert document["runs"] == 3


def test_where_nothing_got_worse_nothing_is_searched(bisect: Run, folder: Path) -> None:
    hashes = make_history(folder, _levels(1000, 1000, 1001))
    code, out, err = bisect(f"{hashes[0]}..main", "test_it.py")
    assert code == 1
    assert f"BAD ({hashes[2][:10]}) is not worse than GOOD" in out
    assert "test_it.py::test_step: ok" in out
    assert "step 1" not in err
    code, out, _ = bisect(f"{hashes[0]}..main", "test_it.py", "--format=json")
    assert (code, json.loads(out)["suspects"]) == (1, [])


def test_suspects_that_are_left_are_listed(bisect: Run, folder: Path) -> None:
    broken = kernels(1, broken="x")
    hashes = make_history(folder, _levels(1000, broken, 1040))
    code, out, _ = bisect(f"{hashes[0]}..main", "test_it.py")
    assert code == 3
    assert out.startswith("one of these 2 commits is the first that made")
    assert f"  {hashes[2][:10]}  change 2" in out
    assert f"  {hashes[1][:10]}  change 1" in out
    assert "look further: mend what was skipped" in out


def test_a_set_up_that_fails_is_skipped_between_and_told_at_the_ends(
    bisect: Run, folder: Path
) -> None:
    changes = _levels(1000, 1000, 1000, 1040)
    changes[1]["bad"], changes[2]["bad"] = "", "x"
    hashes = make_history(folder, changes)
    code, out, _ = bisect(
        f"{hashes[0]}..main", "test_it.py", "--setup=sh -c 'echo says; ! grep -q 2 n'"
    )
    assert code == 3
    assert "        the set-up failed: says" in out.splitlines()
    code, _, err = bisect(f"{hashes[0]}..main", "test_it.py", "--setup=false")
    assert code == 2
    assert "GOOD and BAD cannot be measured: the set-up failed" in err
    assert not [*(folder / ".git").glob("pytest-nsys*")], "there is nothing to go on with"
    code, _, err = bisect(f"{hashes[0]}..main", "test_it.py", "--setup='")
    assert (code, "quote it as for a shell" in err) == (2, True)


def test_the_ini_file_says_how_revisions_are_made_ready(
    bisect: Run, folder: Path, tmp_path: Path
) -> None:
    hashes = make_history(folder, _levels(1000, 1040))
    (folder / "conftest.py").write_text("raise SystemExit")
    settings = f"nsys_against_python = {tmp_path / 'python'}\nnsys_against_setup = touch done\n"
    (folder / "pytest.ini").write_text(f"[pytest]\n{settings}")
    code, out, _ = bisect(f"{hashes[0]}..main", "test_it.py", python=False)
    assert code == 0
    assert hashes[1] in out


def test_files_are_brought_along(
    bisect: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test files that GOOD lacks, and what the user names."""
    hashes = make_history(folder, _levels(1000, 1000, 1040))
    (folder / "deep").mkdir()
    (folder / "deep/test_new.py").touch()
    (folder / "deep/settings").touch()
    seen = []
    run = Bench._run

    def looking(self: Bench, here: object, *more: object) -> object:
        tree: Path = here.tree  # type: ignore[attr-defined]
        seen.append(sorted(path.name for path in tree.glob("deep/*")))
        return run(self, here, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Bench, "_run", looking)
    code, _, err = bisect(f"{hashes[0]}..main", "deep/test_new.py::test", "--with", "deep/settings")
    assert code == 0
    assert seen == [["settings", "test_new.py"]] * 3
    assert "deep/test_new.py of this folder is brought along to every commit" in err
    assert bisect(f"{hashes[0]}..main", "test_none.py")[0] == 2
    code, _, err = bisect(f"{hashes[0]}..main", "../test_it.py")
    assert (code, "lies outside the repository" in err) == (2, True)


def test_submodules_are_for_the_set_up(bisect: Run, folder: Path, tmp_path: Path) -> None:
    make_history(tmp_path / "module", [{"inner": "x"}])
    hashes = make_history(folder, _levels(1000, 1000))
    allowed = ("-c", "protocol.file.allow=always")
    git(folder, *allowed, "submodule", "--quiet", "add", str(tmp_path / "module"), "module")
    (folder / "kernels.json").write_text(kernels(1040))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "slower")
    update = f"git {' '.join(allowed)} submodule update --init"
    setup = f"--setup=sh -c '{update} && test ! -e .gitmodules -o -e module/inner'"
    code, out, _ = bisect(f"{hashes[0]}..main", "test_it.py", setup)
    assert (code, "  subject  slower" in out) == (0, True)


def test_a_shallow_clone_has_only_so_much_history(
    bisect: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = make_history(folder, _levels(1000, 1000, 1000, 1000, 1040, 1040))
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=4", f"file://{folder}", str(shallow))
    monkeypatch.chdir(shallow)
    code, _, err = bisect(f"{hashes[0]}..main", "test_it.py")
    assert code == 2
    assert f"there is no revision '{hashes[0]}' in this shallow clone" in err
    code, out, _ = bisect(f"{hashes[3]}..main", "test_it.py")
    assert (code, hashes[4] in out) == (0, True)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ("main", "is no range of commits"),
        ("..main", "is no range of commits"),
        ("main...main~1", "is no range of commits"),
        ("nowhere..main", "there is no revision 'nowhere'"),
        ("main..main", "are the same commit"),
        ("main..main~1", "no commits to search"),
    ],
)
def test_what_cannot_be_searched_is_told(span: str, said: str, bisect: Run, folder: Path) -> None:
    make_history(folder, _levels(1000, 1040))
    code, _, err = bisect(span, "test_it.py")
    assert (code, said in err) == (2, True)


def test_outside_a_repository_or_without_git_nothing_is_searched(
    bisect: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = bisect("a..b", "test_it.py")
    assert (code, "not a git repository" in err) == (2, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = bisect("a..b", "test_it.py")
    assert (code, "No such file or directory: 'git'" in err) == (2, True)


def test_a_metric_has_to_exist_and_be_gated(bisect: Run, folder: Path) -> None:
    hashes = make_history(folder, _levels(1000, 1020))
    code, _, err = bisect(f"{hashes[0]}..main", "test_it.py", "--metric=gpu.kernel_tim")
    assert (code, "gpu.kernel_time" in err) == (2, True)
    code, _, err = bisect(f"{hashes[0]}..main", "test_it.py", "--metric=wall.time")
    assert (code, "gate it: --metric wall.time=5%" in err) == (2, True)
    assert bisect(f"{hashes[0]}..main", "test_it.py")[0] == 1
    assert bisect(f"{hashes[0]}..main", "test_it.py", "--metric=gpu.kernel_time=1%")[0] == 0


def test_an_interrupted_search_goes_on_or_begins_anew(
    bisect: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = make_history(folder, _levels(*[1000] * 3, *[1040] * 3))
    arguments = (f"{hashes[0]}..main", "test_it.py")
    measure, left = Bench.measure, 2

    def interrupted(*given: str) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return measure(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Bench, "measure", interrupted)
    code, _, err = bisect(*arguments)
    assert (code, "interrupted" in err) == (130, True)
    assert len([*(folder / ".git/pytest-nsys-bisect").glob("*/state.json")]) == 1
    left = 99
    code, out, err = bisect(*arguments)
    assert code == 0
    assert "going on with a search, after 1 step" in err
    assert "measuring BAD" not in err
    assert hashes[3] in out
    left = 2
    assert bisect(*arguments)[0] == 130
    left = 99
    code, _, err = bisect(*arguments, "--restart")
    assert (code, "measuring BAD" in err) == (0, True)
    assert not [*(folder / ".git").glob("pytest-nsys*")]


def _is_in(pid: str, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:  # it has ended
        return False


@pytest.mark.parametrize("how", ["--python", "--setup"])
def test_what_a_killed_search_has_started_ends_and_its_files_go(
    how: str, folder: Path, tmp_path: Path
) -> None:
    hashes = make_history(folder, _levels(1000, 1040))
    temporary = tmp_path / "temporary"
    (tmp_path / "slow").write_text("#!/bin/sh\nexec sleep 321\n")
    (tmp_path / "slow").chmod(0o755)
    command = [sys.executable, "-m", "pytest_nsys", "bisect", f"{hashes[0]}..main", "test_it.py"]
    command += [f"{how}={tmp_path / 'slow'}"]

    def begun() -> list[str]:
        found = subprocess.run(["pgrep", "-f", "sleep 321"], stdout=subprocess.PIPE, text=True)
        return [pid for pid in found.stdout.split() if _is_in(pid, temporary)]

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until(begun, "the measuring begins")
    process.kill()
    process.wait()
    until(lambda: not begun(), "what it started ends")
    until(lambda: not [*temporary.iterdir()], "its files go")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until(begun, "it can be started again")
    other = subprocess.run(command, capture_output=True, text=True)
    assert (other.returncode, "stayed locked by another run" in other.stderr) == (2, True)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    until(lambda: not begun(), "what it started ends")
    until(lambda: not [*temporary.iterdir()], "its files go")


def test_git_bisect_run_understands_a_step(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = kernels(1, broken="x")
    hashes = make_history(folder, _levels(1000, 1000, 1000, broken, 1000, 1040, 1040, 1040))
    good = tmp_path / "good"
    git(folder, "worktree", "add", "--quiet", str(good), hashes[0])
    step = [sys.executable, "-m", "pytest_nsys", "bisect", "--step", str(good), "test_it.py"]
    step += ["--python", str(tmp_path / "python")]
    git(folder, "bisect", "start", "main", hashes[0])
    said = git(folder, "bisect", "run", *step)
    git(folder, "bisect", "reset")
    assert f"{hashes[5]} is the first bad commit" in said
    codes = []
    for commit in (hashes[1], hashes[5], hashes[3]):
        git(folder, "checkout", "--quiet", commit)
        codes.append(main(step[3:]))
    assert codes == [0, 1, 125]
    assert main([*step[3:], "--setup", "false"]) == 125
    assert main([*step[3:], "--setup", "/no/such"]) == 125
    assert "the set-up failed" in capsys.readouterr().err
    assert main([*step[3:], "--metric=gpu.kernel_tim"]) == 128


def test_git_bisect_run_ends_where_a_step_is_none(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any code below 128 but 125 would make it take the commit for a bad one."""
    make_history(folder, _levels(1000, 1000))

    def step(*words: str) -> object:
        try:
            return main(["bisect", *words])
        except SystemExit as ended:  # argparse
            return ended.code

    for wrong in (
        ("--step",),
        ("--step", "main"),
        ("--step", "--no-such", "main", "test_it.py"),
        ("--ste", "main", "test_it.py", "--format=no"),
        ("main", "test_it.py", "--format=no", "--step"),
        ("--step", "main", "test_it.py", "--restart"),
        ("--step", "main", "test_it.py", "--format=json"),
        ("--step", "no-such-commit", "test_it.py"),
        ("--step", "main~1..main", "test_it.py"),
        ("--step", "./no-such-folder", "test_it.py"),
        ("--step", "main", "test_it.py", '--setup="x'),
    ):
        assert step(*wrong) == 128, wrong
        assert "Traceback" not in capsys.readouterr().err
    assert step("main", "test_it.py", "--format=no") == 2
    assert step("main", "test_it.py", "--", "--step") == 2
    capsys.readouterr()

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("pytest_nsys.bisection.bench.run_pytest", broken)
    assert step("--step", "main", "test_it.py") == 128
    assert "a fault of ours" in capsys.readouterr().err
    monkeypatch.chdir("/")
    assert step("--step", "main", "test_it.py") == 128
