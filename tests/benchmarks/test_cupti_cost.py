"""What a run with CUPTI costs: the table, and what misses a target."""

from __future__ import annotations

from benchmarks.cupti_cost import lines, summary

SMALL = {"plain": [6.0, 6.2, 6.1], "cupti": [7.2, 7.3, 9.9], "nsys": [17.0, 17.2, 17.1]}


def test_the_table_says_which_targets_are_kept() -> None:
    large = {"plain": [6.2], "cupti": [7.9], "nsys": [18.0]}
    found = summary({"small": SMALL, "large": large})
    assert (found["cupti_over_plain_s"], found["kernels_10k_more_s"]) == (1.2, 0.5)
    assert found["missed"] == []
    text = "\n".join(lines(found))
    assert "cupti_over_plain_s: 1.20 s, at most 1.5: kept" in text
    assert "takes 43% of one with nsys" in text
    slow = summary({"small": SMALL, "large": {**large, "cupti": [12.0]}})
    assert slow["missed"] == ["kernels_10k_more_s"]
    assert "MISSED" in "\n".join(lines(slow))
