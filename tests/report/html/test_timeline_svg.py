"""The drawing of timelines: to scale, complete, escaped, and readable without colours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.insights.timeline import Label, Lane, Timeline
from pytest_nsys.insights.timeline.build import timeline_of
from pytest_nsys.insights.timeline.model import Point, in_timeline
from pytest_nsys.kernels.category import CATEGORIES
from pytest_nsys.report.html.timeline_svg import (
    SIDES,
    Mark,
    bar_names,
    short_name,
    tick_texts,
    ticks,
    timeline_notes,
    timeline_svg,
    timelines_notes,
    timelines_svg,
)
from pytest_nsys.storage.recordings.stored import load_stored
from pytest_nsys.windows.cut import whole
from tests.support.harness import ROOT, TESTS
from tests.support.page_reader import contrast
from tests.support.timelines import element, timeline, timelines

CAPTURES = TESTS / "captures"
TEMPLATES = ROOT / "pytest_nsys" / "report" / "html" / "templates"
LEFT, RIGHT = 164.0, 986.0


def parsed(svg: str) -> ElementTree.Element:
    """The drawing as XML, which is stricter than HTML."""
    return ElementTree.fromstring(svg)


def elements(root: ElementTree.Element, block: str) -> list[tuple[str, float, float, str]]:
    """Class, left, width and tooltip of what is drawn of a timeline, "now" or "then"."""
    (found,) = (group for group in root.iterfind("g") if group.get("class") == block)
    return [
        (
            (group.get("class") or "").split()[1],
            float(rect.get("x") or 0),
            float(rect.get("width") or 0),
            rect.findtext("title") or "",
        )
        for lane in found.iterfind("g")
        for group in lane.iterfind("g")
        if (group.get("class") or "").startswith("op")
        for rect in group.iterfind("rect")
    ]


def texts(root: ElementTree.Element) -> list[str]:
    """All texts that are drawn."""
    return ["".join(text.itertext()) for text in root.iter("text")]


def test_the_baseline_is_above_at_one_scale_and_the_longer_one_is_as_wide_as_it_gets() -> None:
    then = timeline(element(0, 500), length=500)
    now = timeline(element(0, 500), element(500, 500, 2), length=1000)
    root = parsed(timeline_svg(now, then))
    blocks = [group.get("class") for group in root.iterfind("g")]
    assert blocks.index("then") < blocks.index("now")
    ((_, left, width, _),) = elements(root, "then")
    assert (left, width) == (LEFT, (RIGHT - LEFT) / 2)
    (second, first) = elements(root, "now")  # by category
    assert first[:3] == ("gemm", LEFT, (RIGHT - LEFT) / 2)
    assert second[:3] == ("elementwise", LEFT + (RIGHT - LEFT) / 2, (RIGHT - LEFT) / 2)


def test_it_scales_and_says_what_it_is() -> None:
    root = parsed(timeline_svg(timeline(element(0, 900)), timeline(element(0, 800), length=900)))
    assert root.get("role") == "img"
    assert root.get("aria-label") == (
        "GPU timeline of one round: baseline, 900 ns with 1 GPU operation in 1 stream; "
        "current, 1 us with 1 GPU operation in 1 stream"
    )
    assert re.fullmatch(r"0 0 1000 [\d.]+", root.get("viewBox") or "")


def test_several_sides_are_below_each_other_at_one_scale() -> None:
    memory = (Point(0, 0), Point(100, 64))
    lengths = [250, 500, 1000, *[100] * SIDES]
    sides = [
        (f"Side <{n}>", replace(timeline(element(0, ns), length=ns), memory=memory))
        for n, ns in enumerate(lengths)
    ]
    root = parsed(timelines_svg(sides))
    titles = [text for text in texts(root) if text.endswith("takes 1 us")]
    assert titles == ["Side <2>: 1 GPU operation; the body takes 1 us"]
    blocks = [group.get("class") or "" for group in root.iterfind("g")]
    assert blocks[0] == "legend"
    assert blocks[-1] == "memory"
    assert len(blocks) == SIDES + 2
    widths = [elements(root, block)[0][2] for block in blocks[1:4]]
    assert widths == [(RIGHT - LEFT) / 4, (RIGHT - LEFT) / 2, RIGHT - LEFT]
    assert f"Side <{SIDES - 1}>" in texts(root)
    (drawn,) = (group for group in root.iterfind("g") if group.get("class") == "memory")
    lines = [path for path in drawn.iterfind("path") if path.findtext("title")]
    assert len({path.get("stroke-dasharray") for path in lines}) == SIDES
    assert timelines_notes(sides) == ()


def test_alone_it_is_drawn_alone() -> None:
    root = parsed(timeline_svg(timeline(element(0, 900))))
    assert [group.get("class") for group in root.iterfind("g")] == ["legend", "now"]
    assert "baseline" not in (root.get("aria-label") or "")


def test_every_element_says_what_it_is_how_long_it_takes_and_when() -> None:
    rows = [element(100, 50), element(200, 30, 1, operations=7, mixed=True)]
    drawn = elements(parsed(timeline_svg(timeline(*rows))), "now")
    assert [row[3] for row in drawn] == [
        "gemm_a\n50 ns from 100 ns on (gemm)",
        "7 operations of gemm, mostly gemm_b\ntogether 30 ns, from 200 ns on",
    ]


def test_what_is_wide_enough_is_named_in_the_drawing() -> None:
    root = parsed(timeline_svg(timeline(element(0, 500), element(600, 1, 2))))
    assert "gemm_a" in texts(root)
    assert "add" not in texts(root)


def test_categories_differ_in_pattern_and_are_named_in_the_legend() -> None:
    labels = [Label("k", name) for name in [*CATEGORIES, "h2d", "d2h", "memset", "graph", "sync"]]
    rows = [element(100 * n, 90, n) for n in range(len(labels))]
    made = replace(timeline(*rows, length=100 * len(labels)), labels=tuple(labels))
    root = parsed(timeline_svg(made, ident="a b<c"))
    patterns = {
        pattern.get("id"): ElementTree.tostring(pattern.find("path"))  # type: ignore[arg-type]
        if pattern.find("path") is not None
        else b""
        for pattern in root.iter("pattern")
    }
    assert set(patterns) == {f"a-b-c-{label.category}" for label in labels}
    assert len(set(patterns.values())) == len(labels)
    fills = {group.get("fill") for group in root.iter("g") if "op" in (group.get("class") or "")}
    assert fills == {f"url(#{name})" for name in patterns}
    (legend,) = (group for group in root.iterfind("g") if group.get("class") == "legend")
    assert len(texts(legend)) == len(set(texts(legend))) == len(labels)


def test_a_category_of_the_projects_own_is_drawn_as_other_and_named_in_the_tooltip() -> None:
    made = replace(timeline(element(0, 900)), labels=(Label("k", "fft\" onload='x"),))
    ((name, _, _, tooltip),) = elements(parsed(timeline_svg(made)), "now")
    assert name == "other"
    assert tooltip.endswith("(fft\" onload='x)")


def test_copies_are_lower_than_kernels() -> None:
    root = parsed(timeline_svg(timeline(element(0, 400), element(500, 400, 3))))
    heights = {
        (group.get("class") or "").split()[1]: [
            float(rect.get("height") or 0) for rect in group.iterfind("rect")
        ][-1]
        for group in root.iter("g")
        if (group.get("class") or "").startswith("op")
    }
    assert heights["h2d"] < heights["gemm"]


def test_what_is_too_thin_is_widened_only_where_nothing_follows() -> None:
    rows = [element(0, 1), element(1, 1, 2), element(500_000, 1)]
    drawn = elements(parsed(timeline_svg(timeline(*rows, length=1_000_000))), "now")
    widths = {(row[0], row[1]): row[2] for row in drawn}
    assert sorted(widths.values()) == [0.05, 0.6, 0.6]
    assert widths["gemm", LEFT] == 0.05


def test_work_that_goes_on_after_the_body_is_marked_and_said() -> None:
    root = parsed(timeline_svg(timeline(element(500, 1500))))
    assert "Current: 1 GPU operation; the body takes 1 us, the GPU is done at 2 us" in texts(root)
    assert [path for path in root.iter("path") if path.get("class") == "end"]
    within = parsed(timeline_svg(timeline(element(0, 500))))
    assert not [path for path in within.iter("path") if path.get("class") == "end"]


def test_memory_is_a_step_line_of_each_at_one_scale() -> None:
    now = replace(timeline(element(0, 900)), memory=(Point(0, 0), Point(500, 2**30)))
    then = replace(now, memory=(Point(0, 2**29),))
    root = parsed(timeline_svg(now, then))
    (memory,) = (group for group in root.iterfind("g") if group.get("class") == "memory")
    lines = {
        path.get("class"): path.get("d")
        for path in memory.iterfind("path")
        if path.find("title") is not None
    }
    assert set(lines) == {"then line", "now line"}
    steps = re.fullmatch(
        r"M164 ([\d.]+)H575V([\d.]+)H986", (lines["now line"] or "").replace(".0", "")
    )
    assert steps
    bottom, top = map(float, steps.groups())
    level = re.fullmatch(r"M164 ([\d.]+)H986", lines["then line"] or "")
    assert level
    assert float(level[1]) == pytest.approx((bottom + top) / 2)
    assert "up to 1 GiB" in texts(memory)
    assert {"baseline", "current"} <= set(texts(memory))


def test_without_memory_or_where_none_is_live_there_is_no_line() -> None:
    for memory in ((), (Point(0, 0),)):
        root = parsed(timeline_svg(replace(timeline(element(0, 9)), memory=memory)))
        assert not [group for group in root.iter("g") if group.get("class") == "memory"]


def test_an_empty_round_is_drawn_too() -> None:
    root = parsed(timeline_svg(Timeline(0), Timeline(0)))
    assert texts(root).count("nothing was recorded") == 2


def test_no_more_elements_are_drawn_than_asked_for_and_it_is_said() -> None:
    many = timeline(*(element(at * 10, 6, at % 3) for at in range(900)), length=9000)
    few = timeline(element(0, 10))
    assert len(elements(parsed(timeline_svg(many, few, most=50)), "now")) <= 50
    (note,) = timeline_notes(many, few, most=50)
    assert note.startswith("Current: 900 operations, waits and ranges are drawn as ")
    assert timeline_notes(many, few, most=900) == ()
    assert timeline_notes(few) == ()
    assert timelines_notes([("vLLM", many)], most=50) == (note.replace("Current", "vLLM"),)


HOSTILE = "</title></svg><script>alert(1)</script>&\"'\u202e\x00\ud800]]>" + "x" * 500


def test_names_of_any_kind_are_only_text() -> None:
    made = Timeline(
        1000,
        (Lane("gpu", HOSTILE[:200]), Lane("range", HOSTILE[:200])),
        (Label(HOSTILE[:200], "gemm"), Label(HOSTILE[:200], HOSTILE[:200])),
        (element(0, 1000), element(0, 1000, 1, lane=1)),
    )
    svg = timeline_svg(made, made, ident='"><script>')
    svg.encode()
    root = parsed(svg)
    assert "<script" not in svg
    assert {tag.tag for tag in root.iter()} <= {
        *("svg", "defs", "pattern", "rect", "path", "g", "text", "title"),
    }
    assert any("<U+202E><U+0000><U+D800>" in (title.text or "") for title in root.iter("title"))


@given(timelines(), st.one_of(st.none(), timelines()), st.integers(1, 20))
def test_whatever_is_drawn_is_xml_without_events_styles_and_references(
    now: Timeline, then: Timeline | None, most: int
) -> None:
    svg = timeline_svg(now, then, most=most)
    for tag in parsed(svg).iter():
        assert not {name for name in tag.attrib if name.startswith("on") or "href" in name}
        assert "style" not in tag.attrib
        assert all("url(" not in v or v.startswith("url(#timeline-") for v in tag.attrib.values())
    assert timeline_svg(now, then, most=most) == svg


@given(st.integers(1, 2**53))
def test_ticks_are_few_round_and_distinct(extent: int) -> None:
    found = ticks(extent)
    assert found[0] == 0
    assert 2 <= len(found) <= 9
    assert found[-1] <= extent
    assert len(set(tick_texts(found))) == len(found)
    assert re.fullmatch(r"[125]0*", str(found[1]))


def test_ticks_are_in_one_unit() -> None:
    assert tick_texts(ticks(1_200_000)) == [
        *("0", "0.2 ms", "0.4 ms", "0.6 ms", "0.8 ms", "1 ms", "1.2 ms"),
    ]
    assert tick_texts(ticks(458_000)) == ["0", "100 us", "200 us", "300 us", "400 us"]
    assert tick_texts(ticks(3)) == ["0", "1 ns", "2 ns", "3 ns"]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (Label("at::native::reduce_kernel<512, 1>", "reduce"), "reduce_kernel"),
        (Label("nvjet_sm90_*", "gemm"), "nvjet_sm90_*"),
        (Label("<lambda>", "other"), "<lambda>"),
        (Label("a::b(c)", "range"), "a::b(c)"),
        (Label("h2d 4 MiB", "h2d"), "h2d 4 MiB"),
    ],
)
def test_kernels_are_named_by_what_says_most(label: Label, shown: str) -> None:
    assert short_name(label) == shown


def test_kernels_of_one_template_are_named_by_what_tells_them_apart() -> None:
    gemm, add, mul, erf, short = (
        Label(text, "elementwise")
        for text in (
            "gemm",
            "at::vectorized<at::AUnaryFunctor<Half, Half, at::AddFunctor<float>>>",
            "at::vectorized<at::AUnaryFunctor<Half, Half, at::MulFunctor<float>>>",
            "at::vectorized<at::erf_kernel()::{lambda(Half)}>",
            "at::vectorized",
        )
    )
    assert bar_names([gemm, add, mul, erf, short]) == {
        gemm: "gemm",
        add: "AddFunctor<float",
        mul: "MulFunctor<float",
        erf: "erf_kernel()::{lambda(Half)}",
        short: "at::vectorized",
    }
    ends = [Label(f"Kernel2<cutlass_80_s16816gemm_f16_{end}>", "gemm") for end in ("nn", "tn")]
    assert [*bar_names(ends).values()] == ["s16816gemm_f16_nn", "s16816gemm_f16_tn"]


def changed(root: ElementTree.Element, block: str) -> dict[str, str | None]:
    """The marks above what has changed of a timeline: where they are, by what has become of it."""
    (found,) = (group for group in root.iterfind("g") if group.get("class") == block)
    marks = (path for lane in found.iterfind("g") for path in lane.iterfind("path"))
    return {
        name.split()[1]: path.get("d")
        for path in marks
        if (name := path.get("class") or "").startswith("changed")
    }


def test_kernels_that_have_changed_are_marked() -> None:
    now = timeline(element(0, 400), element(500, 100, 1), element(800, 100, 2))
    then = timeline(element(0, 500), element(600, 100, 2))
    marks: Mapping[str, Mark] = {"gemm_a": "slower", "gemm_b": "new", "add": "gone"}
    root = parsed(timeline_svg(now, then, marks=marks))
    assert changed(root, "now") == {"slower": "M164 -1.5h328.8", "new": "M575 -1.5h82.2"}
    assert changed(root, "then") == {"gone": "M657.2 -1.5h82.2"}
    legend = [text for text in texts(root) if text.partition(":")[0] in marks.values()]
    assert legend == [
        "new: the baseline has none",
        "slower: each takes longer",
        "gone: the current run has none",
    ]
    tooltips = {row[3] for row in elements(root, "now")}
    assert sum("slower: each takes longer" in text for text in tooltips) == 1
    assert not changed(parsed(timeline_svg(now, then)), "now")
    together = timeline(element(0, 400, operations=3, mixed=True))
    assert not changed(parsed(timeline_svg(together, then, marks=marks)), "now")


def test_marks_find_names_that_timelines_have_cut() -> None:
    long = "k" * 300
    made = replace(timeline(element(0, 900)), labels=(Label(in_timeline(long), "gemm"),))
    assert changed(parsed(timeline_svg(made, made, marks={long: "new"})), "now")


@pytest.mark.parametrize("name", ["streams", "llama_node", "nccl", "unified", "graph_graph"])
def test_real_captures_are_drawn_whole(name: str) -> None:
    trace = load_stored(CAPTURES / f"{name}.sqlite.xz")
    cut = whole(trace)
    found = timeline_of(trace, int(cut.starts[0]), int(cut.ends[0]))
    svg = timeline_svg(found, found)
    root = parsed(svg)
    drawn = elements(root, "now")
    assert drawn == elements(root, "then")
    assert len(drawn) <= 1200
    assert all(LEFT <= left <= RIGHT + 0.01 for _, left, _, _ in drawn)
    assert {row[0] for row in drawn} == {label.category for label in found.labels if label.category}
    assert len(svg) < 2 * 300 * len(drawn) + 30_000


def test_every_class_has_a_colour_in_the_dark() -> None:
    css = (TEMPLATES / "timeline.css").read_text()
    dark = css[css.index("prefers-color-scheme: dark") :]
    names = [*CATEGORIES, "h2d", "d2h", "d2d", "p2p", "unified", "memset", "graph", "sync"]
    missing = [
        name for name in names if f".timeline .{name} .base, .timeline .{name}.thin" not in dark
    ]
    assert missing == []


def test_names_in_elements_have_enough_contrast() -> None:
    """WCAG: 4.5 between text and what it is on, in both themes."""
    css = (TEMPLATES / "timeline.css").read_text()
    dark = re.findall(r"\.thin \{ fill: (#\w{6}); \}", css)
    labels = [Label("k", name) for name in [*CATEGORIES, "h2d", "d2h", "d2d", "p2p", "unified"]]
    labels += [Label("k", name) for name in ("memset", "graph", "sync")]
    rows = [element(100 * n, 90, n) for n in range(len(labels))]
    root = parsed(timeline_svg(replace(timeline(*rows, length=2000), labels=tuple(labels))))
    light = [rect.get("fill") or "" for p in root.iter("pattern") for rect in p.iterfind("rect")]
    assert len(light) == len(dark) == len(labels)
    for colour in light:
        assert contrast(colour, "#ffffff") >= 4.5, colour
    for colour in dark:
        assert contrast(colour, "#111417") >= 4.5, colour
