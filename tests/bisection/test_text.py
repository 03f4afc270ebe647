"""What is said of a search."""

from __future__ import annotations

from dataclasses import replace

from pytest_nsys.bisection.record import Change, Record, Step
from pytest_nsys.bisection.search import Outcome, Range
from pytest_nsys.bisection.sides import Target
from pytest_nsys.bisection.text import Commit, Report, report_document, report_lines

GOOD, BAD, FOUND = "a" * 40, "b" * 40, "c" * 40
COUNT = Target("t.py::t", "decode", "gpu.kernel_count", "1", "exact", "up")
TOTAL = Change(COUNT, 0, 4, 4, 4, 4, "", is_certain=True, others=("u.py::u: mem.peak", "v"))
STEPS = (Step(FOUND, "bad", amount=4, processes=1), Step("d" * 40, "skip", "it is broken"))


def _describe(commit: str) -> Commit:
    return Commit(commit, "A <a@b>", "today", f"subject {commit[0]}", ("f | 1 +", "1 file"))


def _report(outcome: Outcome, total: Change | None = TOTAL, seconds: float = 61.0) -> Report:
    record = Record(runs=4, seconds=seconds, total=total, steps=STEPS)
    return Report(Range(GOOD, BAD), outcome, record, _describe, ["pytest", "t.py"])


def test_a_count_has_no_ratio_and_no_noise() -> None:
    part = replace(TOTAL, amount=1, here=1, low=1, high=1)
    lines = [*report_lines(_report(Outcome((FOUND,), part, GOOD)))]
    assert lines[0] == "cccccccccc is the first commit that made t.py::t (gpu.kernel_count, decode)"
    for line in (
        "  change   gpu.kernel_count +1 (0 -> 1), beside its parent aaaaaaaaaa",
        "           a part of what BAD lost; search the rest with GOOD = this commit",
        "  files    f | 1 +",
        "           1 file",
        "  also     u.py::u: mem.peak is worse at BAD; it was not searched for",
        "           v is worse at BAD; it was not searched for",
        "        bbbbbbbbbb  BAD            -  subject b",
        "     1  cccccccccc  bad            4  subject c",
        "     2  dddddddddd  skip           -  subject d",
        "        it is broken",
        "4 runs of pytest, 1 min 1 s",
    ):
        assert line in lines
    assert not [line for line in lines if "noise" in line or "confidence" in line]


def test_what_is_not_certain_is_not_called_the_first() -> None:
    unsure = replace(TOTAL, is_certain=False)
    lines = [*report_lines(_report(Outcome((FOUND,), unsure, GOOD)))]
    assert lines[0] == "cccccccccc is where the search came to its end, and that is not certain"
    assert "           which noise explains: several commits may each have made a part" in lines
    lines = [*report_lines(_report(Outcome((FOUND,), None, GOOD)))]
    assert "  change   it could not be measured beside its parent aaaaaaaaaa" in lines
    lines = [*report_lines(_report(Outcome((FOUND,))))]
    assert "  change   it could not be measured beside its parent" in lines
    assert lines[-1] == "look further: git show cccccccccc"


def test_of_many_suspects_some_are_shown() -> None:
    suspects = tuple(f"{number:040}" for number in range(23))
    lines = [*report_lines(_report(Outcome(suspects)))]
    assert lines[0].startswith("one of these 23 commits")
    assert "  and 3 more" in lines
    document = report_document(_report(Outcome(suspects)))
    assert len(document["suspects"]) == 23
    assert (document["found"], document["change"]) == (False, None)


def test_a_search_that_was_none() -> None:
    report = _report(Outcome(why_not=("t.py::t: ok",)), None)
    assert [*report_lines(report)] == [
        "BAD (bbbbbbbbbb) is not worse than GOOD (aaaaaaaaaa), as far as can be told:",
        "  t.py::t: ok",
        "nothing was searched; more processes see smaller changes: -- --nsys-processes=5",
    ]
    assert report_document(report)["not_worse"] == ["t.py::t: ok"]
