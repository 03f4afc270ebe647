"""Text for people: printable, cut, in lines and in tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.text import (
    WIDTH,
    cut,
    fit_to_print,
    markdown_row,
    one_line,
    printable,
    shortened,
    table,
    telling_parts,
    wrapped,
)


def test_what_moves_the_cursor_is_shown_as_text() -> None:
    assert printable("a\x1b[2J\u202eü") == "a\\x1b[2J\\u202eü"


def test_columns_stand_under_each_other() -> None:
    rows = [("name", "value", ""), ("a", "1", "x"), ("long name", "1000", "")]
    assert table(rows) == [
        "  name       value",
        "  a              1  x",
        "  long name   1000",
    ]


@given(st.text(max_size=40), st.integers(3, 20), st.data())
def test_a_text_that_is_too_long_loses_its_middle(
    text: str, most: int, data: st.DataObject
) -> None:
    head = data.draw(st.integers(0, most - 3))
    short = cut(text, most, head)
    assert len(short) == min(len(text), most)
    if len(text) <= most:
        assert short == text
    else:
        before, after = short[:head], short[head + 3 :]
        assert (text[:head], text[len(text) - len(after) :]) == (before, after)
        assert short[head : head + 3] == "..."


def test_what_tells_names_apart_is_left_in_them() -> None:
    names = ["flash_fwd<64, half_t, false, true>", "flash_fwd<64, half_t, true, true>", "gemm"]
    assert [*shortened(names, 24).values()] == [
        "flash_fwd...false, true>",
        "flash_fwd<...true, true>",
        "gemm",
    ]


@given(st.lists(st.text("ab<", max_size=12), max_size=8), st.integers(1, 6))
def test_the_parts_that_tell_names_apart_do(names: list[str], least: int) -> None:
    told = telling_parts(names, least)
    assert told.keys() == set(names)
    for name, part in told.items():
        assert name.endswith(part)
        assert len(part) >= min(least, len(name))
    assert telling_parts(["gemm<a>", "gemm<b>"]) == {"gemm<a>": "a>", "gemm<b>": "b>"}


def test_of_several_differences_all_are_left_in_that_there_is_room_for() -> None:
    ends = ["h2d_bytes", "h2d_count", "d2h_bytes", "d2h_count"]
    short = shortened((f"TestCases::test_memcpy_{end}" for end in ends), 22)
    assert [*short.values()] == [f"TestCases:...{end}" for end in ends]


def test_where_too_little_is_left_they_are_numbered() -> None:
    names = [f"{start}{'x' * 40}{end}" for start in "ab" for end in ("y" * 60, "z" * 60)]
    names += [f"{'w' * 30}{n}{'w' * 30}" for n in range(12)]
    short = shortened(names, 16)
    assert len({*short.values()}) == len(names)


_NAMES = st.lists(st.text("ab<:_ é", max_size=60), max_size=20)


@given(_NAMES, st.integers(16, 60))
def test_no_two_names_are_shortened_to_the_same(names: list[str], most: int) -> None:
    short = shortened(names, most)
    assert [*short] == [*dict.fromkeys(names)]
    assert len({*short.values()}) == len(short)
    for name, form in short.items():
        assert len(form) <= most
        assert form == name or len(name) > most


@given(st.text("ab<:_", min_size=20, max_size=60), st.integers(16, 60))
def test_a_name_alone_keeps_its_start_and_its_end(name: str, most: int) -> None:
    (form,) = shortened([name], most).values()
    start, _, end = form.partition("...")
    assert name.startswith(start)
    assert name.endswith(end)


def test_a_path_longer_than_a_line_can_be_left_whole() -> None:
    path = "/" + "x" * 40
    assert wrapped(f"note: {path} cannot be written", "", "  ", 20, whole=True) == [
        "note:",
        f"  {path}",
        "  cannot be written",
    ]


def test_a_word_longer_than_a_line_is_broken() -> None:
    lines = wrapped("a " + "x" * 100, "- ", "  ")
    assert max(map(len, lines)) == WIDTH
    assert "".join(lines).replace(" ", "") == "-a" + "x" * 100
    assert wrapped("one-two", "", "") == ["one-two"]


def test_a_row_of_markdown() -> None:
    assert markdown_row(["a", "b"]) == "| a | b |"


@pytest.mark.parametrize(
    "one",
    "\x00\x7f\u00ad\u034f\u061c\u115f\u180b\u180e\u200b\u200c\u200d\u200e\u2028\u202e\u2060\u2065\u3164\ufe00"
    "\ufe0f\ufeff\uffa0\ufffb\uffff\ud800\U0001d173\U000e0001\U000e0100\U000e01ef",
)
def test_what_is_not_seen_is_spelled_out(one: str) -> None:
    assert one_line(f"a{one}b") == f"a<U+{ord(one):04X}>b"


def test_what_is_seen_stays() -> None:
    text = "ge\u0301mm<\u03bc> \u6f22 \u05d0 \U0001f600\t\u00a0"
    assert one_line(text) == text


def test_one_line_is_one_line() -> None:
    assert one_line("a\n::error::b\tc") == "a<U+000A>::error::b\tc"
    assert one_line("\r\x1b[1m") == "<U+000D><U+001B>[1m"
    assert one_line("at::native::gemm<float, 2>") == "at::native::gemm<float, 2>"
    assert one_line("  ::native::reduce<int>") == "  ::native::reduce<int>"
    assert one_line("# 1 [a] ## [b]") == "# 1 [a] ## [b]"


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("::error::x", "<U+003A>:error::x"),
        ("  \t::add-mask::x", "  \t<U+003A>:add-mask::x"),
        ("a ##[error]x", "a <U+0023>#[error]x"),
        ("##vso[task.setvariable]x", "<U+0023>#vso[task.setvariable]x"),
        ("##teamcity[message]", "<U+0023>#teamcity[message]"),
    ],
)
def test_a_line_is_no_order_to_a_ci(line: str, printed: str) -> None:
    assert one_line(line) == printed
    assert fit_to_print(f"{line}\n{line}") == f"{printed}\n{printed}"
