"""``pytest-nsys compare``: captures side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.errors import NsysError
from pytest_nsys.measure.measurement import Environment, WindowMeasurement
from pytest_nsys.offline.side_by_side import side_by_side
from pytest_nsys.offline.side_by_side_text import side_by_side_lines, side_by_side_markdown
from pytest_nsys.offline.subjects import Compared, Side, Subject, letters, read_units
from tests.support.command import (
    LONGER,
    SHORTER,
    Answer,
    document_of,
    record,
    served,
    step,
    swept,
)
from tests.support.exports.tables import changed
from tests.support.exports.traces import TraceBuilder
from tests.support.harness import ROOT


@pytest.fixture(scope="module")
def three(captures: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A capture, and two of the same with longer and shorter kernels."""
    folder = tmp_path_factory.mktemp("three")
    before = captures["train"]
    return [
        before,
        changed(before, folder / "longer.sqlite", LONGER),
        changed(before, folder / "shorter.sqlite", SHORTER),
    ]


def line(out: str, name: str) -> str:
    """The last line of that name: that of a kernel, where a category has the same."""
    found = [line for line in out.splitlines() if line.strip().startswith(f"{name} ")]
    return " ".join(found[-1].split())


def test_values_stand_side_by_side_with_their_change_against_the_first(
    command: Callable[..., Answer], three: list[Path]
) -> None:
    code, out, err = command("compare", *three, "--range", "bwd", "--top", 3)
    assert (code, err) == (0, "")
    legend = [text for text in out.splitlines() if text[:3] in ("A  ", "B  ", "C  ")]
    names = zip("ABC", three, strict=True)
    assert legend == [f"{letter}  {path}" for letter, path in names]
    assert out.count("median of 16 instances") == 3
    assert "A -> B: kernel time +20.0%, GPU busy 13.2% -> 14.6%\nA -> C: kernel time -20.0%" in out
    time = line(out, "gpu.kernel_time")
    assert time == "gpu.kernel_time 90.94 us 109.1 us +20.0% 72.76 us -20.0%"
    assert line(out, "gpu.kernel_count") == "gpu.kernel_count 12 12 = 12 ="
    assert "kernel time by category:" in out
    assert "kernels, the largest first:" in out
    assert " other kernels " in out
    assert all(len(text) <= 80 for text in out.splitlines() if text not in legend)


def test_units_give_time_per_unit_and_units_per_second(
    command: Callable[..., Answer], three: list[Path]
) -> None:
    _, out, _ = command("compare", *three, "--range", "bwd", "--per", "tokens=2,4,2")
    time = line(out, "gpu.kernel_time.per_token")
    assert time == "gpu.kernel_time.per_token 45.47 us 27.28 us -40.0% 36.38 us -20.0%"
    speed = line(out, "tokens per second").split()
    assert (speed[5], speed[-1]) == ("+100%", "="), "of a rate, a share is told"


def test_more_captures_than_a_line_holds_make_several_tables(
    command: Callable[..., Answer], three: list[Path]
) -> None:
    _, out, _ = command("compare", *three, *three, three[0], "--range", "bwd", "--top", 2)
    heads = [text.split() for text in out.splitlines() if text.startswith("  ") and " A " in text]
    assert len(heads) > 3
    assert all(head[0] == "A" for head in heads)
    assert set("".join("".join(head) for head in heads)) == set("ABCDEFG")
    assert all(len(text) <= 80 for text in out.splitlines() if text.startswith("  "))


def test_the_same_as_json_and_markdown(command: Callable[..., Answer], three: list[Path]) -> None:
    arguments = ("compare", *three, "--range", "bwd", "--per", "token=2")
    document = document_of(command(*arguments, "--format=json"))
    assert document["schema"] == 1
    assert [side["path"] for side in document["captures"]] == [str(path) for path in three]
    assert document["captures"][0]["gpu"] == "NVIDIA H200"
    assert [side["instances"] for side in document["captures"]] == [16] * 3
    (one,) = document["compared"]
    assert (one["test"], one["window"], one["units"]) == ("", "test", [{"token": 2}] * 3)
    values = {metric["key"]: metric["values"] for metric in one["metrics"]}
    assert values["gpu.kernel_time"][0] == 90_944
    assert values["gpu.kernel_time.per_token"][0] == 90_944 / 2
    for kind in ("categories", "kernels"):
        for side in range(3):
            total = sum(row["total_ns"][side] for row in one[kind])
            # The sum of the kernels' medians is not quite the median of their sums.
            assert total == pytest.approx(values["gpu.kernel_time"][side], rel=0.01)
    assert sum(row["count"][0] for row in one["kernels"]) == 12
    code, out, _ = command(*arguments, "--format=markdown")
    assert code == 0
    rows = [text for text in out.splitlines() if text.startswith("|")]
    assert "| metrics | A | B | C |" in rows
    assert {text.count("|") for text in rows} == {5, 7}, "of three captures, or of five figures"


def test_recordings_are_compared_test_by_test_and_window_by_window(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    def made(tests: int, ns: int, tokens: int) -> TraceBuilder:
        builder = step(tests, kernel_ns=ns)
        for round_ in range(3):
            at = 9_000_000_000 + round_ * 1_000_000
            builder.window(at, at + 500_000, nodeid="t.py::units", round=round_, tokens=tokens)
            builder.window(at, at + 90, nodeid="t.py::units", name="part", kind="range")
            builder.kernel("gemm", at + 10, 2 * ns)
        return builder

    before = record(tmp_path / "before", made(2, 100_000, 4))
    other = record(tmp_path / "other", made(1, 200_000, 8))
    last = record(tmp_path / "last", made(1, 100_000, 4))
    code, out, err = command("compare", before, other, last, "--metric", "kernel[gemm].time")
    assert (code, err) == (0, "")
    titles = [text for text in out.splitlines() if text.startswith("t.py::")]
    assert titles == ["t.py::t0", "t.py::t1", "t.py::units", "t.py::units [part]"]
    assert "kernel[gemm].time" in out
    assert "gpu.kernel_time.per_token" in out
    document = document_of(command("compare", before, other, last, "--format=json"))
    tests = {(one["test"], one["window"]): one for one in document["compared"]}
    body = tests["t.py::units", "test"]
    assert body["units"] == [{"token": 4}, {"token": 8}, {"token": 4}]
    values = {metric["key"]: metric["values"] for metric in body["metrics"]}
    assert values["gpu.kernel_time.per_token"] == [50_000] * 3
    assert values["tokens per second"] == [8_000, 16_000, 8_000]
    gone = tests["t.py::t1", "test"]
    assert gone["units"] == [{}, None, None]
    assert gone["kernels"][0]["total_ns"] == [100_000, None, None]
    assert " - " in out
    _, text, _ = command("compare", before, other, last, "--format=markdown")
    assert "### <code>t.py::t1</code>" in text
    assert "### <code>t.py::units</code> <code>part</code>" in text
    whole = document_of(command("compare", before, other, "--range=step", "--format=json"))
    assert [one["test"] for one in whole["compared"]] == [""]


def test_a_kernel_that_does_not_run_is_called_none(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    paths = []
    for name in ("gemm", "softmax"):
        builder = TraceBuilder()
        builder.range("a", 0, 10_000)
        builder.kernel(name, 10, 500)
        paths.append(builder.export(tmp_path / f"{name}.sqlite"))
    _, out, _ = command("compare", *paths)
    assert line(out, "gemm") == "gemm 1x 500 ns none"
    assert line(out, "softmax") == "softmax none 1x 500 ns +500 ns"
    _, out, _ = command("compare", *paths, "--top=0")
    assert line(out, "2 other kernels") == "2 other kernels 1x 500 ns 1x 500 ns ="


@pytest.mark.parametrize(
    "lines", [["token"], ["token="], ["token=0"], ["=3"], ["token=1,2"], ["to ken=1"], ["t=fast"]]
)
def test_units_that_cannot_be_read_are_told(lines: list[str]) -> None:
    with pytest.raises(NsysError):
        read_units(lines, 3)


def test_units_are_singular_and_of_each_capture() -> None:
    assert read_units(["tokens=5", "image=1,2,3", "s=2"], 3) == {
        "token": [5, 5, 5],
        "image": [1, 2, 3],
        "s": [2, 2, 2],
    }


@pytest.mark.parametrize("name", ["compare", "diff"])
def test_the_argument_that_is_wrong_is_blamed(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path, name: str
) -> None:
    several = ROOT / "examples" / "engines" / "recordings" / "h200-vllm"
    missing = several.with_name("h200-vlm")
    notes = tmp_path / "notes.txt"
    notes.write_text("no capture at all")
    for pair in ((several, missing), (missing, several)):
        code, out, err = command(name, *pair)
        assert (code, out) == (2, "")
        assert err.startswith(f"pytest-nsys: there is no {missing}\n")
    code, out, err = command(name, several, notes)
    assert (code, out) == (2, "")
    assert str(notes) in err
    assert str(several) not in err
    code, out, err = command(name, several, several.parent)
    assert (code, out) == (2, "")
    assert err.startswith(f"pytest-nsys: {several.parent} holds recordings\n  h200-engines, h200-v")
    assert f"name one, such as {several.parent / 'h200-engines'}" in err
    code, out, err = command(name, several, captures["train"])
    assert (code, out) == (2, "")
    assert f"is a recording of tests, and {captures['train']} is one capture" in err
    assert f"such as {several / 'capture-1.sqlite.xz'}" in err


def test_what_cannot_be_compared_is_told(
    command: Callable[..., Answer], captures: dict[str, Path], tmp_path: Path
) -> None:
    path = captures["train"]
    code, out, err = command("compare", path, tmp_path / "missing.sqlite")
    assert (code, out) == (2, "")
    assert "missing.sqlite" in err
    assert command("compare", path, path, "--metric", "gpu.kernel_tme")[0] == 2
    assert command("compare", path, path, "--range", "none")[0] == 2
    alone = record(tmp_path / "alone", step(1), problem="lost")
    code, _, err = command("compare", alone, alone)
    assert code == 2
    assert "holds no measured test" in err
    with pytest.raises(SystemExit):
        command("compare", path, path, "--top", "-1")
    for arguments in ((path,), (path, path, "--by", "engine"), (path, "--range", "step")):
        code, out, err = command("compare", *arguments)
        assert (code, out) == (2, "")
        assert "only tests of recordings are compared by their parameters" in err
        assert ("leave out --range" in err) is ("--range" in arguments)
    plain = record(tmp_path / "plain", step(2))
    code, out, err = command("compare", plain, "--range", "none")
    assert (code, out) == (2, "")
    assert "none has a window 'none'" in err
    code, _, err = command("compare", plain)
    assert code == 2
    assert "has no test with several parameters\n  2 tests were measured" in err


def test_versions_and_commits_in_which_captures_differ_stand_below_their_paths() -> None:
    def side(torch: str, **more: Any) -> Side:
        return Side("a", Environment(gpu="H", versions={"torch": torch, "numpy": "2"}, **more))

    sides = (side("2.10"), side("2.11", commit="0123456789abcdef"), Side("a", Environment()))
    lines = side_by_side_lines(Compared(sides, ()), [], 3)
    assert lines == [
        *("A  a", "   H, torch 2.10, numpy 2"),
        *("B  a", "   H, torch 2.11, numpy 2, commit 0123456789ab"),
        "C  a",
    ]
    same = side_by_side_lines(Compared(sides[:1] * 2, ()), [], 3)
    assert same == ["A  a", "   H", "B  a", "   H"]
    text = side_by_side_markdown(Compared(sides, ()), [], 3)
    assert text.startswith("- A: <code>a</code> (H, torch 2.10, numpy 2)\n")


def test_letters_go_on_after_z() -> None:
    assert letters(28)[-3:] == ("Z", "AA", "AB")


def test_the_examples_compare(command: Callable[..., Answer]) -> None:
    folder = ROOT / "examples" / "recordings"
    code, out, _ = command("compare", folder / "h200", folder / "h200-slips", "--format=json")
    assert code == 0
    compared = json.loads(out)["compared"]
    assert len({one["test"] for one in compared}) >= 3
    # Its body ends while its kernels still run: how fast it was nobody knows.
    (decode,) = (one for one in compared if one["test"].endswith("::test_decode"))
    assert [one["rate"] for one in decode["throughput"]] == [None, None]
    keys = {metric["key"] for metric in decode["metrics"]}
    assert "gpu.kernel_time.per_token" in keys
    assert "tokens per second" not in keys


def test_what_a_client_saw_of_units_counts_and_what_is_unknown_is_left_open() -> None:
    def window(**samples: float) -> WindowMeasurement:
        named = {key.replace("_", ".", 1): ((value,),) for key, value in samples.items()}
        return WindowMeasurement("test", named, {"token": 10})

    sides = (window(wall_time=1e9), window(wall_time=1e9, client_tokens_per_s=7), window(), None)
    found = side_by_side(Subject("t", "test", letters(4), sides))
    rates = {line.name: line.values for line in found.metrics}
    assert rates["tokens per second"] == (10, 7, None, None)
    assert (found.categories, found.kernels) == ((), ())
    same = tuple([Side("a", Environment())] * 4)
    lines = side_by_side_lines(Compared(same, (found.subject,)), [found], 3)
    assert lines[:4] == ["A  a", "B  a", "C  a", "D  a"], (
        "of what nothing is known, nothing is said"
    )
    assert not any("kernel" in line and line.endswith(":") for line in lines)


SIZES = [{"dtype": dtype, "size": size} for dtype in ("fp16", "bf16") for size in ("64", "128")]


def said(out: str) -> list[str]:
    """All but the paths of captures."""
    lines = [line for line in out.splitlines() if not line.startswith(("/", "A  /", "B  /"))]
    assert all(len(line) <= 80 for line in lines), max(lines, key=len)
    return lines


def test_one_recording_has_its_engines_side_by_side(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    path = served(tmp_path / "rec", {"vllm": 80, "sglang": 100, "transformers": 120})
    code, out, err = command("compare", path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        str(path),
        "   NVIDIA H200, driver 580.1, nsys 2025.3.2",
        "",
        "t.py::test_serving [load]",
        "",
        "engine vllm -> sglang: tokens/s =, TTFT p50 +25.0%, latency p95 +6.2%, kernel",
        "  time per token +25.0%, GPU busy 45% -> 55%",
        "engine vllm -> transformers: tokens/s =, TTFT p50 +50.0%, latency p95 +12.3%,",
        "  kernel time per token +50.0%, GPU busy 45% -> 66%",
        "",
        "kernel time per token, and the tokens/s that it allows:",
        "  engine        per token  tokens/s   limit  reached   busy  TTFT p50       p95",
        "  vllm              80 us     5,000  12,500      40%  44.7%      4 ms  16.25 ms",
        "  sglang           100 us     5,000  10,000      50%  55.2%      5 ms  17.25 ms",
        "  transformers     120 us     5,000   8,333      60%  65.6%      6 ms  18.25 ms",
        "",
        "metrics:",
        "                               vllm            sglang      transformers",
        "  gpu.kernel_time              8 ms      10 ms +25.0%      12 ms +50.0%",
        "  gpu.kernel_count               10              10 =              10 =",
        "  gpu.busy                     8 ms      10 ms +25.0%      12 ms +50.0%",
        "  gpu.busy_pct               44.69%  55.25% +10.56 pp  65.57% +20.88 pp",
        "  wall.time                   20 ms           20 ms =           20 ms =",
        "  client.ttft_p50              4 ms       5 ms +25.0%       6 ms +50.0%",
        "  gpu.kernel_time.per_token   80 us     100 us +25.0%     120 us +50.0%",
        "  wall.time.per_token        200 us          200 us =          200 us =",
        "  tokens per second            5000            5000 =            5000 =",
        "",
        "kernel time by category:",
        "         vllm        sglang  transformers",
        "  other  8 ms  10 ms +25.0%  12 ms +50.0%",
        "",
        "kernels, the largest first:",
        "              vllm            sglang      transformers",
        "  decode  10x 8 ms  10x 10 ms +25.0%  10x 12 ms +50.0%",
    ]
    (one,) = document_of(command("compare", path, "--format=json"))["compared"]
    assert (one["test"], one["window"], one["varied"]) == ("t.py::test_serving", "load", ["engine"])
    assert one["sides"][1] == {
        "name": "sglang",
        "capture": 0,
        "test": "t.py::test_serving[sglang]",
        "parameters": {"engine": "sglang"},
    }
    assert one["throughput"][1] == {
        "unit": "token",
        "kernel_ns": 100_000,
        "rate": 5000,
        "limit": 10_000,
        "reached": 50,
        "busy": pytest.approx(55.25, abs=0.01),
        "ttft_ns": 5_000_000,
        "latency_ns": 17_250_000,
    }
    page = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    for key in (*one, *one["sides"][0], *one["throughput"][0], *one["metrics"][0]):
        assert f"`{key}`" in page, "it is documented"
    _, out, _ = command("compare", path, "--format=markdown")
    head = "| kernel time per token, and the tokens/s that it allows: engine | per token |"
    assert head in out
    assert (
        "| <code>sglang</code> | 100 us | 5,000 | 10,000 | 50% | 55.2% | 5 ms | 17.25 ms |" in out
    )
    assert "engine vllm -&gt; sglang: tokens/s =" in out.replace("->", "-&gt;")


def test_a_name_that_is_too_long_beside_its_figures_stands_above_them(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    path = served(tmp_path / "rec", {"transformers-v5": 80, "vllm": 100})
    lines = said(command("compare", path)[1])
    at = lines.index("  transformers-v5")
    figures = "80 us 5,000 12,500 40% 44.7% 4 ms 16.25 ms"
    assert lines[at + 1].split() == figures.split()
    assert lines[at + 2].startswith("  vllm  ")


def test_tests_of_two_recordings_are_paired_by_what_is_equal(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    first = served(tmp_path / "first", {"vllm": 80})
    code, out, err = command("compare", first, served(tmp_path / "second", {"sglang": 60}))
    assert (code, err) == (0, "")
    lines = said(out)
    assert lines[lines.index("t.py::test_serving [load]") :][:6] == [
        "t.py::test_serving [load]",
        "  A  engine vllm",
        "  B  engine sglang",
        "",
        "engine vllm -> sglang: tokens/s =, TTFT p50 =, latency p95 =, kernel time per",
        "  token -25.0%, GPU busy 45% -> 34%",
    ]
    assert "gpu.kernel_time.per_token 80 us 60 us -25.0%" in [
        " ".join(one.split()) for one in lines
    ]
    _, out, _ = command(
        "compare", first, served(tmp_path / "third", {"sglang": 60}), "--format=markdown"
    )
    assert "- A: engine vllm\n- B: engine sglang" in out


def test_a_server_that_was_started_otherwise_is_told_by_its_arguments(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    recordings = [
        served(tmp_path / dtype, {"vllm": us}, server=("vllm", "--dtype", dtype, "--port", "..."))
        for dtype, us in (("float16", 80), ("bfloat16", 60), ("float32", 90))
    ]
    out = command("compare", *recordings)[1]
    assert "\n`--dtype float16` -> `bfloat16`: tokens/s =, TTFT p50 =, latency p95 =" in out
    assert "\n`--dtype float16` -> `float32`: tokens/s =" in out
    unknown = served(tmp_path / "unknown", {"vllm": 60})
    for other in (unknown, recordings[0]):
        assert "\nA -> B: tokens/s =" in command("compare", recordings[0], other)[1]


def test_a_recording_without_names_of_parameters_is_compared_by_parts_of_ids(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    old = swept(tmp_path / "old", SIZES, kept=False)
    code, out, err = command("compare", old, "--by", "part2")
    assert (code, err) == (0, "")
    assert "keeps no names of parameters: they are parts of the" in " ".join(out.split())
    assert "t.py::test_gemm, part1 fp16" in out
    assert "part2 64 -> 128: kernel time +99.0%, GPU busy 2.02% -> 4.02%" in out
    assert "part2  kernel time  kernels  copies  syncs  peak" in out
    (note,) = document_of(command("compare", old, "--format=json"))["notes"]
    assert note.startswith(f"{old} keeps no names")
    _, out, _ = command("compare", old, "--format=markdown")
    assert "> " in out


def test_by_chooses_the_parameter_and_every_group_has_its_tables(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    path = swept(tmp_path / "rec", SIZES)
    everything = document_of(command("compare", path, "--format=json"))["compared"]
    assert [(one["window"], one["varied"]) for one in everything] == [
        ("test", ["dtype", "size"]),
        ("load", ["dtype", "size"]),
    ]
    names = [side["name"] for side in everything[0]["sides"]]
    assert names == ["fp16, 64", "fp16, 128", "bf16, 64", "bf16, 128"]
    by = document_of(command("compare", path, "--by", "dtype", "--format=json"))["compared"]
    assert [(one["window"], one["parameters"]) for one in by] == [
        (window, {"size": size}) for size in ("64", "128") for window in ("test", "load")
    ]
    faster = swept(tmp_path / "faster", SIZES, faster=2)
    both = ("compare", path, faster, "--by", "dtype", "--by", "size")
    code, out, _ = command(*both)
    assert code == 0
    assert "B bf16, 128" in out
    assert "metrics:" not in out
    # Both captures have these values, so each step says which it is between.
    assert "dtype fp16 (capture A) -> bf16 (capture A): " in out
    assert "dtype fp16 (capture A) -> bf16 (capture B): " in out
    assert len(document_of(command(*both, "--format=json"))["compared"][0]["metrics"]) > 4
    out = command(*both, "--metric", "api.count", "--top", "0")[1]
    assert "metrics:" in out
    assert "gpu.busy " not in out
    code, out, err = command("compare", path, "--by", "dtyp")
    assert (code, out) == (2, "")
    assert "did you mean 'dtype'?" in err
    both_differ = [{"engine": "a", "size": "1"}, {"engine": "b", "size": "2"}]
    code, out, err = command("compare", swept(tmp_path / "x", both_differ), "--by", "engine")
    assert (code, out) == (2, "")
    assert "has no two tests that differ in engine alone\n  2 tests were measured" in err
    values = [{"mode": "a-mode-with-a-long-name"}, {"mode": "another-mode-with-one"}]
    long = swept(tmp_path / "long", values)
    lines = said(command("compare", long)[1])
    assert "  A  mode a-mode-with-a-long-name" in lines
    longer = swept(tmp_path / "longer", values)
    lines = said(command("compare", long, longer, "--by", "mode")[1])
    assert "  C  mode a-mode-with-a-long-name (capture B)" in lines
    assert "  B             200 us        1       0      0     -" not in lines


def test_what_has_nothing_to_be_compared_with_is_named(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = step(1)
    values = {"t.py::a[1]": {"n": "1"}, "t.py::a[2]": {"n": "2"}}
    for number, nodeid in enumerate(values):
        at = 5_000_000_000 + number * 1_000_000_000
        builder.window(at, at + 1000, nodeid=nodeid)
        builder.kernel("gemm", at + 10, 100)
    path = record(tmp_path / "rec", builder, parameters=values)
    _, out, _ = command("compare", path)
    assert out.endswith("without another to compare it with:\n  t.py::t0\n")
    _, out, _ = command("compare", path, "--format=markdown")
    assert out.endswith("Without another to compare it with:\n- <code>t.py::t0</code>\n")


def test_recordings_without_a_test_in_common_are_told_to_have_none(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    paths = []
    for name in ("one", "other"):
        builder = TraceBuilder()
        builder.window(1000, 9000, nodeid=f"t.py::{name}")
        builder.kernel("gemm", 2000, 100)
        paths.append(record(tmp_path / name, builder))
    code, out, _ = command("compare", *paths)
    assert code == 0
    assert "note: the recordings have no test in common: " in out
    assert "no test in common" not in command("compare", paths[0], paths[0])[1]


def test_the_page_has_what_the_tables_have(
    command: Callable[..., Answer], tmp_path: Path, three: list[Path]
) -> None:
    path = tmp_path / "page.html"
    recording = swept(tmp_path / "rec", SIZES)
    plain = command("compare", recording, "--by", "size")
    assert command("compare", recording, "--by", "size", "--html", path) == plain
    text = html_text(path)
    assert f"{recording}: parameters side by side" in text
    assert "size 64 -> 128: kernel time +99.0%, GPU busy 2.02% -> 4.02%" in text
    assert "101 us of kernels, 1.12% of 9 ms" in path.read_text()
    assert "t.py::test_gemm [load], dtype bf16" in text
    assert f"Made by pytest-nsys compare {recording} --by=size" in text
    code, _, err = command("compare", recording, "--html", tmp_path)
    assert (code, "cannot be written" in err) == (2, True)
    asked = ("--range", "bwd", "--per", "token=2", "--metric", "api.count", "--top", "1")
    assert command("compare", *three, *asked, "--html", path)[0] == 0
    text = html_text(path)
    assert "3 captures side by side" in text
    assert "A -> C: tokens/s =, kernel time per token -20.0%" in text
    assert "--range=bwd --per=token=2 --metric=api.count" in text
    names = {"t.py::a[1]": {"n": "1"}, "t.py::a[2]": {"n": "2"}}
    builder = step(1)
    for nodeid in names:
        builder.window(8_000_000_000, 8_000_001_000, nodeid=nodeid)
    assert (
        command("compare", record(tmp_path / "b", builder, parameters=names), "--html", path)[0]
        == 0
    )
    assert "Without another to compare it with t.py::t0" in html_text(path)


def html_text(path: Path) -> str:
    """The texts of a page, without its drawings."""
    body = path.read_text(encoding="utf-8").partition("<body>")[2].partition("<script>")[0]
    body = re.sub(r"<svg.*?</svg>", " ", body, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_a_body_that_does_not_wait_for_its_kernels_has_no_rate(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    builder = TraceBuilder()
    nodeids = {f"t.py::a[{n}]": {"n": n} for n in ("1", "2")}
    for number, nodeid in enumerate(nodeids, 1):
        at = number * 1_000_000_000
        builder.window(at, at + 1_000, nodeid=nodeid, tokens=10)
        builder.kernel("gemm", at + 10, number * 10_000)
    path = record(tmp_path / "rec", builder, parameters=nodeids)
    (one,) = document_of(command("compare", path, "--format=json"))["compared"]
    assert [(part["kernel_ns"], part["rate"]) for part in one["throughput"]] == [
        (1000, None),
        (2000, None),
    ]
    _, out, _ = command("compare", path, "--html", tmp_path / "page.html")
    assert "  1       1 us         -  1,000,000        -  100%" in out.splitlines()
