"""The search, in real histories, with measurements that are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.bisection.bench import Broken, Ran
from pytest_nsys.bisection.search import Outcome, Search
from pytest_nsys.errors import BisectError
from tests.support.commits import make_history
from tests.support.drawn_bench import drawn_search
from tests.support.harness import git
from tests.support.quick_python import kernels

BROKEN = kernels(1, broken="cannot import name 'x'")


def _history(folder: Path, *levels: float | str, noise: float = 0.0) -> list[str]:
    """A history of so many microseconds each; a text is the whole file."""
    files = [one if isinstance(one, str) else kernels(one, noise=noise) for one in levels]
    changes = [{"kernels.json": one, "n": str(n)} for n, one in enumerate(files)]
    return make_history(folder, changes)


def _search(folder: Path, *levels: float | str, noise: float = 0.0) -> tuple[Outcome, list[str]]:
    hashes = _history(folder / "repository", *levels, noise=noise)
    search, _ = drawn_search(folder / "repository", folder, hashes[0], hashes[-1])
    return search.run(), hashes


def _after(
    search: Search, monkeypatch: pytest.MonkeyPatch, runs: int, then: Callable[[], Broken]
) -> None:
    """Let a search measure so often, and something else happen from then on."""
    measure, left = search._bench.measure, runs

    def changed(*given: str) -> Ran | Broken:
        nonlocal left
        left -= 1
        return measure(*given) if left >= 0 else then()  # type: ignore[arg-type]

    monkeypatch.setattr(search._bench, "measure", changed)


@pytest.mark.parametrize("first", [1, 9, 30, 60])
def test_the_commit_is_found_within_as_many_runs_as_it_takes_to_halve(
    first: int, tmp_path: Path
) -> None:
    levels = [1000 if number < first else 1040 for number in range(61)]
    hashes = _history(tmp_path / "repository", *levels, noise=0.0005)
    search, store = drawn_search(tmp_path / "repository", tmp_path, hashes[0], hashes[-1])
    outcome = search.run()
    assert outcome.suspects == (hashes[first],)
    assert outcome.is_found
    assert outcome.parent == hashes[first - 1]
    assert outcome.change is not None
    assert 0.02 < outcome.change.here / outcome.change.good - 1 < 0.06
    assert outcome.change.culprit.startswith("gemm +")
    assert store.record.runs <= math.ceil(math.log2(60)) + 2


def test_commits_that_cannot_be_measured_are_gone_around(tmp_path: Path) -> None:
    levels: list[float | str] = [1000.0] * 10 + [1040.0] * 10
    for broken in (2, 4, 13, 14, 15):
        levels[broken] = BROKEN
    outcome, hashes = _search(tmp_path, *levels)
    assert outcome.suspects == (hashes[10],)


def test_what_lies_beside_the_change_and_cannot_be_measured_is_a_suspect(tmp_path: Path) -> None:
    outcome, hashes = _search(tmp_path, 1000, 1000, BROKEN, BROKEN, 1040, 1040)
    assert outcome.suspects == (hashes[4], hashes[3], hashes[2])
    assert not outcome.is_found
    assert outcome.change is None


def test_other_changes_are_not_what_is_looked_for(tmp_path: Path) -> None:
    """A drift of 1 %, and what got better before or worse for a while."""
    outcome, hashes = _search(tmp_path, 1000, 1005, 1010, 1010, 1050, 1050, 1050, 1050)
    assert outcome.suspects == (hashes[4],)
    folder = tmp_path / "better"
    outcome, hashes = _search(folder, 1000, 900, 900, 800, 800, 1100, 1100, 1060, 1060, 1040)
    assert outcome.suspects == (hashes[5],)


def test_of_several_steps_one_is_found(tmp_path: Path) -> None:
    outcome, hashes = _search(tmp_path, 1000, 1000, 1030, 1030, 1030, 1030, 1060, 1060)
    assert outcome.suspects[0] in (hashes[2], hashes[6])
    assert outcome.is_found
    assert outcome.change is not None
    assert outcome.change.amount == pytest.approx(30e3)


def test_a_drift_has_no_first_commit(tmp_path: Path) -> None:
    """Every commit makes next to nothing of it: none is blamed."""
    levels = [1000 + 2.5 * number for number in range(17)]
    outcome, _ = _search(tmp_path, *levels, noise=0.001)
    assert not outcome.is_found


def test_noise_that_hides_the_change_is_told(tmp_path: Path) -> None:
    noisy = kernels(1250, noise=0.5)
    levels = [kernels(1000), noisy, noisy, noisy, kernels(1500)]
    hashes = _history(tmp_path / "repository", *levels)
    search, store = drawn_search(tmp_path / "repository", tmp_path, hashes[0], hashes[-1])
    search.run()
    for step in store.record.steps:
        if step.verdict == "skip":
            assert step.why == "it is too noisy to tell"
            assert step.processes == 6, "it was measured again, with twice as many processes"


def test_what_is_not_worse_is_not_searched(tmp_path: Path) -> None:
    outcome, _ = _search(tmp_path, 1000, 1000, 1001)
    assert outcome.why_not == ("test_it.py::test_step: ok",)
    assert not outcome.suspects


@pytest.mark.parametrize("bad", [BROKEN, kernels(1, no_test=True)])
def test_a_bad_commit_that_cannot_be_measured_is_told(bad: str, tmp_path: Path) -> None:
    with pytest.raises(BisectError, match=r"cannot be measured|was measured that"):
        _search(tmp_path, 1000, 1000, bad)


def test_a_test_that_good_does_not_have_is_to_be_brought_along(tmp_path: Path) -> None:
    with pytest.raises(BisectError, match="was measured that") as caught:
        _search(tmp_path, kernels(1000, no_test=True), 1000, 1040)
    assert "it has no such test" in caught.value.evidence
    assert "--with FILE" in caught.value.remedy


def test_a_merge_is_entered_or_taken_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    hashes = _history(folder, *[1000] * 3)
    git(folder, "checkout", "--quiet", "-b", "side", hashes[1])
    for number, us in enumerate((1000, 1040, 1040)):
        (folder / "kernels.json").write_text(kernels(us))
        (folder / "side").write_text(str(number))
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", f"side {number}")
    guilty = git(folder, "rev-parse", "side~1")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
    merge = git(folder, "rev-parse", "HEAD")
    search, _ = drawn_search(folder, tmp_path, hashes[0], merge)
    assert search.run().suspects == (guilty,)
    (tmp_path / "whole").mkdir()
    search, _ = drawn_search(folder, tmp_path / "whole", hashes[0], merge, first_parent=True)
    outcome = search.run()
    assert outcome.suspects == (merge,)
    assert outcome.parent == hashes[2]


def test_good_need_not_be_in_the_history_of_bad(tmp_path: Path) -> None:
    """git bisect measures first where they parted."""
    folder = tmp_path / "repository"
    hashes = _history(folder, 1000, 1000, 1000, 1040, 1040)
    git(folder, "checkout", "--quiet", "-b", "release", hashes[1])
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "release")
    release = git(folder, "rev-parse", "release")
    search, _ = drawn_search(folder, tmp_path, release, hashes[-1])
    assert search.run().suspects == (hashes[3],)
    git(folder, "checkout", "--quiet", "-b", "mended", hashes[4])
    (folder / "kernels.json").write_text(kernels(1000))
    git(folder, "commit", "--quiet", "-am", "mended")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "more")
    ends = git(folder, "rev-parse", "mended"), git(folder, "rev-parse", "main")
    (tmp_path / "other").mkdir()
    search, _ = drawn_search(folder, tmp_path / "other", *ends)
    with pytest.raises(BisectError, match="where they parted it was as bad as BAD"):
        search.run()


def test_good_after_bad_is_a_mistake(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    hashes = _history(folder, 1000, 1000, 1040)
    search, store = drawn_search(folder, tmp_path, hashes[2], hashes[0])
    with pytest.raises(BisectError, match="no commits to search") as caught:
        search.run()
    assert "mistook good and bad" in caught.value.evidence
    assert not store.record.runs


def test_a_first_commit_has_no_parent_to_be_measured_beside(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    hashes = _history(folder, 1000, 1040)
    git(folder, "checkout", "--quiet", "--orphan", "other")
    git(folder, "commit", "--quiet", "-m", "other")
    other = git(folder, "rev-parse", "HEAD")
    search, _ = drawn_search(folder, tmp_path, hashes[0], other)
    assert search.run() == Outcome((other,))


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = [1000 if number < 11 else 1040 for number in range(20)]
    hashes = _history(tmp_path / "repository", *levels, noise=0.0005)
    search, store = drawn_search(tmp_path / "repository", tmp_path, hashes[0], hashes[-1])

    def interrupt() -> Broken:
        raise KeyboardInterrupt

    _after(search, monkeypatch, 3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        search.run()
    before = store.record.steps
    assert len(before) == 2
    search, store = drawn_search(tmp_path / "repository", tmp_path, hashes[0], hashes[-1])
    store.load()
    assert search.run().suspects == (hashes[11],)
    assert store.record.steps[:2] == before
    assert store.record.runs <= math.ceil(math.log2(19)) + 2


def test_where_nothing_can_be_measured_any_more_the_commits_are_not_to_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = _history(tmp_path / "repository", *[1000] * 20, *[1040] * 20)
    search, store = drawn_search(tmp_path / "repository", tmp_path, hashes[0], hashes[-1])
    _after(search, monkeypatch, 3, lambda: Broken("no GPU"))
    with pytest.raises(BisectError, match="nothing can be measured any more") as caught:
        search.run()
    assert "no GPU" in caught.value.evidence
    assert len(store.record.steps) == 2
    assert "skip" not in [step.verdict for step in store.record.steps]


def test_what_was_found_and_cannot_be_measured_again_is_not_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = _history(tmp_path / "repository", 1000, 1000, 1040)
    search, _ = drawn_search(tmp_path / "repository", tmp_path, hashes[0], hashes[-1])
    _after(search, monkeypatch, 2, lambda: Broken("no GPU"))
    outcome = search.run()
    assert outcome.suspects == (hashes[2],)
    assert not outcome.is_found


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    hashes = _history(tmp_path / "repository", 1000, 1040)
    _, store = drawn_search(tmp_path / "repository", tmp_path, *hashes)
    store.folder.mkdir(parents=True)
    (store.folder / "state.json").write_text("{")
    with pytest.raises(BisectError, match="cannot be read"):
        store.load()
    store.forget()
    store.load()


def test_a_record_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    hashes = _history(tmp_path / "repository", 1000, 1040)
    search, store = drawn_search(tmp_path / "repository", tmp_path, *hashes)
    store.folder.parent.write_text("in the way")
    with pytest.raises(BisectError, match="cannot be kept"):
        search.run()
