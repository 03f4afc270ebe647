"""The Markdown report: short, whole, and not to be broken by any name in it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pytest_nsys.errors import ReportError
from pytest_nsys.report.markdown import (
    LIMIT,
    append_summary,
    render_markdown,
    write_markdown,
)
from pytest_nsys.report.run import RunReport, Unmeasured
from pytest_nsys.storage.baselines import Change
from pytest_nsys.support.text import code, prose
from pytest_nsys.verdict.verdict import Requirement, Verdict
from tests.support.builders import (
    ENVIRONMENT,
    GEMM,
    before,
    kernel,
    measurement,
    slower,
    steady,
    verdict,
    window,
)

HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</code></td></details><details open>",
    "a|b\\|c\\\\|d`e``f```",
    "first\nsecond\r\n\r\n# title\n- item",
    "@everyone and @octo-org/team and someone@example.org",
    "![image](http://evil.example/x.png) [link](javascript:alert(1))",
    "https://evil.example www.evil.example <https://evil.example>",
    "*bold* _it_ __it__ ~~gone~~ $math$ #12 &amp; &#124; \\",
    "\u202egnp.exe\u2066\u200b\x00\x1b[31m",
    "<!-- comment",
    "--> - + 1. > = ---",
    "- item",
    "1. first",
    "> said",
    "| --- | --- |",
    "x" * 100_000,
    "\udc80",
]


class _Page(HTMLParser):
    """The tags, attributes, comments and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.targets: list[str] = []
        self.comments: set[str] = set()
        self.text = ""
        self.plain = ""
        self._code = 0
        self._rows: list[int] = []
        self.feed(html)
        self.close()

    @property
    def widths(self) -> set[int]:
        """How many cells the rows of tables have."""
        return set(self._rows)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [value or "" for name, value in attrs if name in ("href", "src")]
        self._code += tag == "code"
        if tag == "tr":
            self._rows.append(0)
        if tag in ("td", "th"):
            self._rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        self.plain += "" if self._code else data

    def handle_comment(self, data: str) -> None:
        self.comments.add(data)


def page(markdown: str) -> _Page:
    """As GitHub renders it: tables, and links made of what looks like an address."""
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return _Page(renderer.render(markdown))


def hostile(text: str) -> RunReport:
    """A run with the same text wherever a name comes from outside."""
    environment = replace(ENVIRONMENT, gpu=text)
    now = measurement(
        window(kernel(text, 3, 9e5)),
        window(kernel(text, 3, 9e5), name=text),
        nodeid=text,
        environment=environment,
    )
    then = before(now, window(kernel(GEMM, 2, 3e5)), window(kernel(GEMM, 2, 3e5), name=text))
    worse = verdict(now, then)
    requirements = (Requirement("test", "violated", text), Requirement(text, "over budget", text))
    fresh = verdict(measurement(window(kernel(GEMM, 3, 3e5)), nodeid=text), mode="gate")
    return RunReport(
        mode="gate",
        verdicts=(replace(worse, unmet=requirements), fresh, replace(fresh, notes=(text,))),
        unmeasured=(Unmeasured(text, text),),
        command=text,
        notes=(text,),
    )


def test_it_says_what_got_worse_by_how_much_and_why() -> None:
    run = RunReport(
        mode="gate", verdicts=(steady(), slower()), command="pytest --nsys-baseline ..."
    )
    text = render_markdown(run, "https://ci.example/run/1/nsys.html")
    seen = page(text)
    assert text.splitlines()[:2] == [
        "<!-- pytest-nsys -->",
        "## GPU performance: 1 ok, 1 regressed",
    ]
    assert "NVIDIA H200" in seen.text
    assert seen.targets == ["https://ci.example/run/1/nsys.html"]
    assert "tests/test_decode.py::test_decode[bf16-8]" in seen.text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    columns = "| metric | baseline | current | change | limit | culprits |"
    assert rows[0] == columns
    (bytes_row,) = [row for row in rows if "memcpy.h2d.bytes" in row]
    assert "| 4 KiB | 8 KiB | +100% | 0 |" in bytes_row
    assert "h2d 4 KiB" in bytes_row
    (time_row,) = [row for row in rows if "gpu.kernel_time" in row]
    assert "flash_fwd_splitkv_kernel" in time_row
    assert "pytest --nsys 'tests/test_decode.py::test_decode[bf16-8]'" in seen.text
    assert len(text) < 3500


def test_it_has_the_table_of_figures() -> None:
    text = render_markdown(RunReport(mode="gate", verdicts=(steady(), slower())))
    table = text[text.index("### Figures") :]
    assert table.splitlines()[2:] == [
        "| test | kernel time | change | kernels | copies | syncs |  |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | :--- |",
        "| <code>tests/test_decode.py::test_prefill</code> | 2.24 ms ±0.0% | +0.1% "
        "| 64 | 0 | 0 |  |",
        "| <code>tests/test_decode.py::test_decode&#91;bf16-8&#93;</code> | 2.532 ms ±0.0% | +7.0% "
        "| 193 | 2 +1 | 1 | regressed |",
    ]


def test_windows_and_chosen_metrics_have_columns() -> None:
    now = measurement(window(kernel(GEMM, 1, 1e6)), window(kernel(GEMM, 1, 1e6), name="a|b"))
    run = RunReport(
        mode="gate", verdicts=(verdict(now),), columns=("kernel[*|*].time", "wall.time")
    )
    table = render_markdown(run).partition("### Figures\n\n")[2].splitlines()
    assert table[0] == "| test | window | kernel&#91;&#42;&#124;&#42;&#93;.time | wall.time |  |"
    assert table[3].startswith(
        "| <code>tests/test_decode.py::test_decode&#91;bf16-8&#93;</code> "
        "| <code>a&#124;b</code> | "
    )


def test_of_many_figures_those_that_tell_most_are_open() -> None:
    calm = [steady(f"t.py::test_{number}") for number in range(30)]
    text = render_markdown(RunReport(mode="gate", verdicts=(*calm, slower())))
    first, _, folded = text.partition("<details><summary>11 other rows: figures</summary>")
    assert first.partition("### Figures")[2].count("<code>") == 20
    assert "test_decode" in first.partition("### Figures")[2]
    assert folded.count("<code>") == 11
    assert page(first.partition("### Figures")[2]).widths == {7}


def test_what_got_better_and_what_changed_below_the_limit_is_told() -> None:
    then, now = (
        measurement(window(kernel(GEMM, 1, 1e6), kernel("silu", 1, ns)), nodeid=name)
        for name, ns in (("a", 1e4), ("a", 2e4))
    )
    calm = verdict(now, before(now, *then.windows.values()), mode="gate")
    quick = verdict(then, before(then, window(kernel(GEMM, 1, 2e6))), mode="gate")
    seen = page(render_markdown(RunReport(mode="gate", verdicts=(calm, quick))))
    assert "gpu.kernel_time -49.5%, limit 3% or 5 us: nvjet_sm90_hsh_*_TNN -1 ms" in seen.text
    assert "largest changes below the limit: silu +100%, 10 us of 1.02 ms" in seen.text


def test_jobs_that_comment_on_one_pull_request_have_names() -> None:
    text = render_markdown(RunReport(mode="gate", name="H200 & --> <b>"))
    first, second, *_ = text.splitlines()
    assert first == "<!-- pytest-nsys H200-b- -->"
    assert second == "## GPU performance of H200 &#38; --> &#60;b>: no measured tests"


def test_the_rest_is_folded_and_sorted_by_verdict() -> None:
    new = verdict(measurement(window(kernel(GEMM, 3, 3e5)), nodeid="t.py::new"), mode="gate")
    base = steady("t.py::unclear")
    unclear = replace(base, status="inconclusive", failed=True)
    run = RunReport(
        mode="gate",
        verdicts=(new, unclear, replace(steady("t.py::known"), status="expected")),
        unmeasured=(Unmeasured("t.py::died", "the worker died"), Unmeasured("t.py::s", "skipped")),
        changes=(Change(Path("b.json"), None, base.measurement),),
        notes=("the capture lost 3 events",),
    )
    text = render_markdown(run)
    summaries = re.findall(r"<summary>(.*?)</summary>", text)
    assert summaries == ["1 inconclusive", "1 expected", "1 new", "1 not measured", "1 notes"]
    assert text.count("<details>") == text.count("</details>") == 5
    seen = page(text)
    assert "t.py::unclear (fails): inconclusive" in seen.text
    assert "t.py::died: the worker died" in seen.text
    assert "t.py::s" not in seen.text
    assert "baselines written: 1 new, 0 updated" in seen.text
    assert "2 of 3 measured tests failed" in seen.text
    assert "[full report]" not in text


def test_a_run_without_measured_tests_says_so() -> None:
    assert render_markdown(RunReport(mode="profile")).startswith(
        "<!-- pytest-nsys -->\n## GPU performance: no measured tests\n"
    )


def test_an_update_counts_what_it_recorded() -> None:
    fresh = verdict(measurement(window(kernel(GEMM, 3, 3e5))), mode="update")
    change = Change(Path("a.json"), None, fresh.measurement)
    text = render_markdown(RunReport(mode="update", verdicts=(fresh,), changes=(change,)))
    assert text.splitlines()[1] == "## GPU performance: 1 recorded"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_breaks_a_table_or_brings_markup_or_mentions(text: str) -> None:
    rendered = render_markdown(hostile(text), f"https://ci.example/>{text}")
    harmless = page(render_markdown(hostile("name"), "https://ci.example/"))
    seen = page(rendered)
    assert len(rendered.encode()) <= LIMIT
    assert set(seen.tags) - {"a"} == set(harmless.tags) - {"a"}
    assert seen.attributes <= {"href", "style"}
    assert seen.widths == harmless.widths, "no cell more, no cell less"
    assert all(target.startswith("https://ci.example/") for target in seen.targets)
    assert seen.comments <= {" ", " pytest-nsys "}
    assert not re.search(r"@\w", rendered), "no mention, whoever looks for it"
    assert "\u202e" not in rendered
    assert "\x1b" not in rendered
    assert len(seen.targets) == (len(text) < 10_000), "an address without end is no link"


@given(st.text(max_size=60))
def test_a_name_is_read_as_it_is(text: str) -> None:
    if not text.isprintable():
        return
    spelled = " ".join(text.split())
    for line in (f"a {code(text)} b", f"| x |\n| --- |\n| {code(text)} |"):
        assert spelled in page(line).text
    assert page(f"- {prose(text)}\n").text.strip() == spelled


def test_what_is_too_much_is_counted() -> None:
    worse, one = slower(), replace(steady(), status="inconclusive")
    many = tuple(
        replace(worse, nodeid=f"tests/test_{n}.py::test_{'x' * 90}_{n}") for n in range(300)
    )
    run = RunReport(mode="gate", verdicts=many)
    text = render_markdown(run)
    assert LIMIT * 0.9 < len(text.encode()) <= LIMIT
    shown = text.count("Measure it again")
    assert f"and {300 - shown} more worse\n" in text
    unclear = [replace(one, nodeid=str(n)) for n in range(9000)]
    new = replace(steady(), status="new")
    text = render_markdown(RunReport(mode="gate", verdicts=(*many, *unclear, new)))
    assert len(text.encode()) <= LIMIT
    assert "\n1 new: left out, this text is long enough\n" in text
    text = render_markdown(RunReport(mode="gate", verdicts=tuple(unclear)))
    shown = text.count("\n- <code>")
    assert f"and {9000 - shown} more inconclusive\n\n</details>" in text
    assert text.count("<details>") == text.count("</details>") == 1
    assert len(text.encode()) <= LIMIT


def test_a_test_with_many_metrics_and_requirements_shows_the_first() -> None:
    verdict_: Verdict = slower()
    many = replace(
        verdict_,
        comparisons=verdict_.worse * 10,
        unmet=tuple(Requirement("test", "violated", f"requirement {n}") for n in range(12)),
    )
    text = render_markdown(RunReport(mode="gate", verdicts=(many,)))
    assert f"and {len(many.worse) - 10} more metrics" in text
    assert "- requirement 9\n- and 2 more requirements" in text


def test_a_demand_that_does_not_hold_needs_no_table() -> None:
    requirements = (Requirement("test", "over budget", "gpu.kernel_time is 3 ms, the budget 2 ms"),)
    over = replace(steady(), status="over budget", unmet=requirements, failed=True)
    text = render_markdown(RunReport(mode="gate", verdicts=(over,)))
    assert "- gpu.kernel_time is 3 ms, the budget 2 ms" in text
    assert "|" not in text.partition("### Figures")[0]


def test_a_command_that_cannot_be_shown_as_it_is_is_left_out() -> None:
    for nodeid in ("t.py::t[\u202e]", "t.py::t[a\nb]", "t.py::" + "x" * 600):
        text = render_markdown(RunReport(mode="gate", verdicts=(slower(nodeid),)))
        assert "Measure it again" not in text


def test_files_are_replaced_and_summaries_added_to(tmp_path: Path) -> None:
    run = RunReport(mode="gate", verdicts=(slower(),))
    path = tmp_path / "new" / "nsys.md"
    for _ in range(2):
        write_markdown(run, path)
    assert path.read_text() == render_markdown(run)
    append_summary(run, path)
    assert path.read_text() == render_markdown(run) + "\n" + render_markdown(run)
    with pytest.raises(ReportError, match="job summary"):
        append_summary(run, tmp_path)
