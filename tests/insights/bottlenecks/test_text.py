"""Findings as text."""

from __future__ import annotations

from pytest_nsys.insights.bottlenecks import Bottleneck
from pytest_nsys.insights.bottlenecks.bottleneck import bottleneck_lines
from pytest_nsys.support.text import WIDTH


def test_a_finding_is_its_sentence_its_evidence_and_its_advice() -> None:
    finding = Bottleneck("sync-bound", 0.5, "It waits.", ("one", "two"), "Do not wait.")
    assert bottleneck_lines([finding]) == [
        "sync-bound: It waits.",
        "  - one",
        "  - two",
        "  try: Do not wait.",
    ]


def test_long_lines_are_wrapped_and_names_without_spaces_broken() -> None:
    name = "k" * 200
    lines = bottleneck_lines([Bottleneck("one-kernel", 0.9, "word " * 40, (name,), "word " * 40)])
    assert all(len(line) <= WIDTH for line in lines)
    assert "".join(line.strip(" -") for line in lines).count("k" * 70) >= 2
    assert sum(line.count("k") for line in lines if "-kernel" not in line) == 200
    assert [line[:7] for line in lines if line.startswith("  try:")] == ["  try: "]


def test_no_finding_is_no_line() -> None:
    assert bottleneck_lines([]) == []
