"""The drawing of bars: to scale, complete, and escaped."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.kernels.category import CATEGORIES
from pytest_nsys.report.html.bars_svg import Stack, bars_svg

LEFT, RIGHT = 164.0, 986.0

TIMES = st.floats(0, 1e10).filter(lambda ns: ns == 0 or ns > 1)
STACKS = st.lists(
    st.builds(
        Stack,
        st.text(max_size=40),
        st.dictionaries(st.sampled_from([*CATEGORIES, "of its project"]), TIMES, max_size=5),
        st.none() | TIMES,
    ),
    max_size=5,
)


def rects(root: ElementTree.Element) -> list[list[tuple[str, float, float]]]:
    """By bar, the class, left and width of its pieces, from left to right."""
    found = []
    for bar in (group for group in root.iterfind("g") if group.get("class") == "op"):
        pieces = [(group.get("class") or "", group[0]) for group in bar.iterfind("g")]
        pieces += [(rect.get("class") or "", rect) for rect in bar.iterfind("rect")]
        found.append([(n, float(r.get("x") or 0), float(r.get("width") or 0)) for n, r in pieces])
    return found


@given(STACKS)
def test_bars_are_to_one_scale_and_complete(stacks: list[Stack]) -> None:
    root = ElementTree.fromstring(bars_svg(stacks))
    drawn = rects(root)
    assert len(drawn) == len(stacks)
    extent = max([1, round(max((stack.extent for stack in stacks), default=1))])
    scale = (RIGHT - LEFT) / extent
    for stack, pieces in zip(stacks, drawn, strict=True):
        at = LEFT
        for _, x, width in pieces:
            assert x == pytest.approx(at, abs=0.1)
            at += width
        assert at == pytest.approx(LEFT + stack.extent * scale, abs=0.2)
        filled = sum(width for name, _, width in pieces if name != "rest")
        assert filled == pytest.approx(stack.kernels * scale, abs=0.1)
        order = [[*CATEGORIES].index(name) for name, _, _ in pieces if name != "rest"]
        assert order == sorted(order)


def test_what_no_kernel_takes_is_hollow_and_all_is_said() -> None:
    stack = Stack("<vLLM> & more", {"gemm": 300.0, "norm": 100.0, "ours": 100.0}, 1000.0)
    svg = bars_svg([stack, Stack("other", {"gemm": 250.0})], ident="b 1")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == (
        "<vLLM> & more, 500 ns of kernels, 50% of 1 us; other, 250 ns of kernels"
    )
    (first, second) = rects(root)
    assert [name for name, _, _ in first] == ["gemm", "norm", "other", "rest"]
    assert [name for name, _, _ in second] == ["gemm"]
    titles = [title.text for title in root.iter("title")]
    assert titles[:4] == [
        "gemm: 300 ns",
        "norm: 100 ns",
        "other kernels: 100 ns",
        "no kernel: 500 ns",
    ]
    assert 'fill="url(#b-1-gemm)"' in svg
    shown = ["".join(text.itertext()) for text in root.iter("text")]
    assert {"gemm", "norm", "other kernels", "<vLLM> & more", "1 us"} <= {*shown}
    assert "n" * 25 + "\u2026" in bars_svg([Stack("n" * 100, {"gemm": 1.0})])


def test_without_kernels_there_is_an_empty_bar() -> None:
    root = ElementTree.fromstring(bars_svg([Stack("idle", {}, 0.0)]))
    assert rects(root) == [[]]
