"""Verdicts in words and tables, as they stand in a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date

import pytest
from _pytest._io import TerminalWriter
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS, lookup
from pytest_nsys.measure.measurement import Measurement, Part, WindowMeasurement
from pytest_nsys.measure.processes import join_processes
from pytest_nsys.plan.expected import ExpectedChange
from pytest_nsys.plan.marker import Spec
from pytest_nsys.plan.options import Mode
from pytest_nsys.report.longrepr import explain_verdict
from pytest_nsys.report.run import RunReport, Unmeasured
from pytest_nsys.report.text import comparison_lines, summary_lines, verdict_lines, worse_line
from pytest_nsys.storage.baselines import Change
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Comparison, Contribution, Requirement, Verdict
from pytest_nsys.verdict.wording import (
    accept,
    brief,
    describe,
    describe_contribution,
    find_out,
    format_limit,
    headline,
    notable,
    reproduce,
    short_names,
    shorten,
)
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)
GEMM, NORM = Part("gemm", 2, ns=900_000), Part("rms_norm", 4, ns=100_000)
BEFORE = made.measurement(made.kernels(GEMM, NORM))


def _slower(nodeid: str = "t.py::test") -> Measurement:
    return replace(
        made.measurement(
            made.kernels(replace(GEMM, ns=1_400_000), replace(NORM, count=5, ns=125_000))
        ),
        nodeid=nodeid,
    )


def _verdict(now: Measurement, then: Measurement | None = BEFORE, mode: Mode = "gate") -> Verdict:
    return judge(SPEC, now, then, Policy(mode))


def test_the_first_line_names_metric_change_limit_culprit_and_values() -> None:
    assert headline(_verdict(_slower())) == (
        "gpu.kernel_time +52.5%, limit 3% or 5 us: gemm +500 us (2x); 1 ms -> 1.525 ms (and 1 more)"
    )


def test_the_first_line_names_the_window_where_it_is_not_the_body() -> None:
    quick, slow = (made.kernels(replace(GEMM, ns=ns), name="decode") for ns in (5e5, 9e5))
    body = made.kernels(GEMM)
    verdict = _verdict(made.measurement(body, slow), made.measurement(body, quick))
    assert headline(verdict) == (
        "[decode] gpu.kernel_time +80.0%, limit 3.5% (noise): gemm +400 us (2x); 500 us -> 900 us"
    )


def test_a_count_names_how_many_there_were_and_are() -> None:
    now = made.measurement(made.kernels(GEMM, replace(NORM, count=6)))
    assert headline(_verdict(now)) == ("gpu.kernel_count +2, limit 0: rms_norm +2 (4 -> 6); 6 -> 8")


def test_bytes_are_named_in_bytes() -> None:
    then, now = (
        made.measurement(
            made.window(
                {"gpu.kernel_count": [1], "memcpy.h2d.bytes": [4096 * n]},
                Part("h2d 4 KiB", n, bytes=4096 * n),
                kind="copies",
            )
        )
        for n in (1, 3)
    )
    assert headline(_verdict(now, then)) == (
        "memcpy.h2d.bytes +200%, limit 0: h2d 4 KiB +8 KiB (1x -> 3x); 4 KiB -> 12 KiB"
    )


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Contribution("k", None, Part("k", 2, ns=5e4), 5e4), "k +50 us (new, 2x)"),
        (Contribution("k", Part("k", 3, ns=5e4), None, -5e4), "k -50 us (gone, was 3x)"),
        (Contribution("k", Part("k", 3), Part("k", 4), 1e3), "k +1 us (3x -> 4x)"),
        (Contribution("k", Part("k", 3), Part("k", 3), 1e3), "k +1 us (3x)"),
        (Contribution("k", Part("k", 2.5), Part("k", 3), -7.0), "k -7 ns (2.5x -> 3x)"),
    ],
)
def test_a_culprit_in_time_says_what_happened_to_it(part: Contribution, text: str) -> None:
    comparison = Comparison("test", lookup("gpu.kernel_time"), "regressed", True, 1.0, 2.0)
    assert describe_contribution(comparison, part) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Contribution("k", None, Part("k", 2), 2), "k +2 (0 -> 2)"),
        (Contribution("k", Part("k", 2), None, -2), "k -2 (2 -> 0)"),
        (Contribution("k", Part("k", 2), Part("k", 5), 3), "k +3 (2 -> 5)"),
    ],
)
def test_a_culprit_in_numbers_says_from_what_to_what(part: Contribution, text: str) -> None:
    comparison = Comparison("test", lookup("sync.count"), "regressed", True, 1.0, 2.0)
    assert describe_contribution(comparison, part) == text


def test_without_culprit_tolerance_or_values_the_rest_is_said() -> None:
    comparison = Comparison("test", lookup("wall.time"), "regressed", True, 1e3, 2e3)
    assert describe(comparison) == "wall.time +100%; 1 us -> 2 us"
    assert describe(replace(comparison, baseline=None)) == "wall.time: regressed"
    assert describe(replace(comparison, baseline=None, note="why")) == "why"


def test_the_first_line_of_a_broken_demand_is_the_demand() -> None:
    spec = replace(SPEC, forbid=("gemm",), budget={"gpu.kernel_count": 1.0})
    one = judge(replace(spec, budget={}), BEFORE, BEFORE, Policy("gate"))
    assert headline(one) == "'gemm' is forbidden: gemm (2x)"
    two = judge(spec, BEFORE, BEFORE, Policy("gate"))
    assert headline(two) == "gpu.kernel_count is 6, over its budget of 1 (and 1 more)"
    named = replace(one, unmet=(Requirement("prefill", "violated", "no good"),))
    assert headline(named) == "[prefill] no good"
    assert headline(judge(spec, _slower(), BEFORE, Policy("gate"))).endswith("(and 3 more)")


def test_the_first_line_without_anything_worse() -> None:
    assert headline(_verdict(BEFORE)) == "ok"
    assert headline(_verdict(BEFORE, None)) == (
        "new: no baseline yet: record one with --nsys-update-new"
    )
    assert headline(_verdict(replace(BEFORE, warmup=2))) == (
        "incomparable: the baseline was recorded with 1 warm-up calls, this run has 2"
    )
    assert headline(_verdict(BEFORE, _slower())) == (
        "gpu.kernel_time -34.4%, limit 3% or 5 us; 1.525 ms -> 1 ms"
    )


def test_a_long_name_loses_its_namespaces_and_its_middle() -> None:
    assert shorten("at::native::reduce_kernel<512>") == "reduce_kernel<512>"
    name = "void at::native::<unnamed>::vectorized_kernel<" + "x" * 80 + "float, int>"
    short = shorten(name)
    assert len(short) == 52
    assert short.startswith("void vectorized_kernel<xxx")
    assert short.endswith("xxfloat, int>")
    assert "..." in short


@given(st.text())
def test_a_shortened_name_leaves_room_for_what_it_changed(name: str) -> None:
    assert len(shorten(name)) <= 52


def test_of_kernels_of_one_template_what_tells_them_apart_is_kept() -> None:
    template = "at::native::vectorized_elementwise_kernel<at::native::{}, std::array<char*, 2>>"
    functors = [
        "AUnaryFunctor<Half, Half, Half, at::native::binary_internal::MulFunctor<float>>",
        "BinaryFunctor<Half, Half, Half, at::native::binary_internal::MulFunctor<float>>",
        "FillFunctor<float>",
    ]
    labels = [template.format(functor) for functor in functors]
    assert [*short_names(labels, 40).values()] == [
        "vectorized_el...AUnaryFunctor<Ha...at>>>",
        "vectorized_el...BinaryFunctor<Ha...at>>>",
        "vectorized_element...FillFunctor<float>>",
    ]


def test_in_brief_a_kernel_that_is_the_only_one_of_its_template_has_no_arguments() -> None:
    then = made.measurement(made.kernels(GEMM))
    kernels = [Part(f"softmax_warp_forward<Half, {'x' * n}>", 1, ns=1e6 / n) for n in (30, 31)]
    for parts, said in (
        (kernels[:1], "softmax_warp_forward +33.33 us (new, 1x): gpu.kernel_time "),
        (kernels, "softmax_warp_forward...> +33.33 us (new, 1x): gpu.kernel_time "),
    ):
        assert brief(_verdict(made.measurement(made.kernels(GEMM, *parts)), then)).startswith(said)


def test_names_that_differ_in_their_namespaces_alone_keep_them() -> None:
    labels = ["at::native::gemm", "gemm", "c10::copy"]
    assert [*short_names(labels).values()] == ["at::native::gemm", "gemm", "copy"]


_PIECES = ("at::native::", "c10::", "*, ", ", std::array<char>", "gemm", "x" * 40, "<1>", "_")


@given(
    st.sets(st.lists(st.sampled_from(_PIECES), max_size=8).map("".join), max_size=12),
    st.integers(16, 60),
)
def test_short_names_of_different_kernels_differ(labels: set[str], most: int) -> None:
    short = short_names(labels, most)
    assert short.keys() == labels
    assert len({*short.values()}) == len(labels)
    assert all(len(name) <= most for name in short.values())


@given(
    st.lists(st.integers(-(10**9), 10**9).filter(bool), max_size=12),
)
def test_the_culprits_named_and_the_others_are_all_there_is(changes: list[int]) -> None:
    ordered = sorted(changes, reverse=True)
    culprits = tuple(
        Contribution(f"k{number}", None, None, float(change))
        for number, change in enumerate(ordered)
    )
    comparison = Comparison(
        "test", lookup("gpu.kernel_time"), "regressed", True, 1.0, 2.0, culprits=culprits
    )
    named, rest = notable(comparison)
    assert sum(part.change for part in named) + rest == sum(changes)
    assert len(named) <= 5
    assert [part for part in culprits if part in named] == list(named)
    assert bool(named) is bool(changes)


def test_a_failed_test_shows_tables_culprits_and_how_to_repeat_it() -> None:
    assert verdict_lines(_verdict(_slower("t.py::test[a b]"))) == [
        "",
        "the test's body:",
        "  metric            baseline   current  change       limit",
        "  gpu.kernel_time       1 ms  1.525 ms  +52.5%  3% or 5 us  <- worse",
        "  gpu.kernel_count         6         7      +1           0  <- worse",
        "",
        "gpu.kernel_time changed by:",
        "  gemm +500 us (2x)",
        "  rms_norm +25 us (4x -> 5x)",
        "",
        "to measure it again: pytest --nsys 't.py::test[a b]'",
        "to accept it: pytest --nsys-update 't.py::test[a b]'",
    ]


def test_the_command_to_repeat_a_test_can_be_pasted_into_a_shell() -> None:
    plain = _verdict(_slower("t.py::test"))
    odd = _verdict(_slower("t.py::test[it's]"))
    assert reproduce(plain) == "pytest --nsys t.py::test"
    assert reproduce(odd) == """pytest --nsys 't.py::test[it'"'"'s]'"""
    assert accept(odd) == """pytest --nsys-update 't.py::test[it'"'"'s]'"""
    assert accept(_verdict(BEFORE)) == ""
    against = replace(odd, against="my branch")
    assert reproduce(against).startswith("pytest --nsys-against='my branch' ")
    assert accept(against) == ""


def test_what_noise_hides_has_a_command_that_says_how_much_to_measure() -> None:
    window = made.window({"gpu.kernel_time": [0.8e6, 0.9e6, 1e6, 1.1e6, 1.2e6]})
    noisy = replace(made.measurement(window), nodeid="t.py::test[a b]")
    verdict = judge(replace(SPEC, allow_empty=True), noisy, noisy, Policy("gate"))
    assert verdict.status == "inconclusive"
    command = "pytest-nsys power 't.py::test[a b]'"
    lines = summary_lines(RunReport("gate", (verdict,)))
    assert lines.count(f"  what would tell: {command}") == 1
    assert verdict_lines(verdict)[-1] == f"to see what is too noisy to tell: {command}"
    assert find_out(replace(verdict, against="main")) == "", "no baseline is stored"
    (part,) = (one for one in verdict.comparisons if one.gated)
    sure = replace(verdict, comparisons=(replace(part, current=9e6),))
    assert find_out(sure) == "", "what moved by more than noise is doubted for another reason"
    assert find_out(_verdict(_slower())) == ""
    assert not any("pytest-nsys power" in line for line in comparison_lines(verdict))


def test_requirements_and_notes_are_shown() -> None:
    spec = replace(SPEC, forbid=("gemm", "rms_norm"))
    lines = verdict_lines(judge(spec, BEFORE, None, Policy("gate")))
    assert "requirements that do not hold:" in lines
    assert "  'gemm' is forbidden: gemm (2x)" in lines
    assert "note: no baseline yet: record one with --nsys-update-new" in lines
    assert not any("accept" in line for line in lines)


def test_what_is_the_reason_for_everything_is_said_once() -> None:
    verdict = _verdict(replace(BEFORE, warmup=2))
    lines = [headline(verdict), *verdict_lines(verdict)]
    assert sum("1 warm-up calls" in line for line in lines) == 1
    verdict = judge(replace(SPEC, forbid=("gemm",)), BEFORE, None, Policy("gate"))
    lines = [headline(verdict), *verdict_lines(verdict)]
    assert sum("'gemm' is forbidden" in line for line in lines) == 1


def test_a_table_that_is_too_wide_has_signs_in_the_place_of_words() -> None:
    key = "memcpy.d2h.bytes.per_token"
    spec = replace(SPEC, tolerance={key: Tolerance(0.1, 2.0**20), "wall.time": Tolerance(0.05)})
    then, now = (
        made.measurement(
            made.window(
                {
                    "gpu.kernel_count": [1.0],
                    "memcpy.d2h.bytes": [1024.0 * 2**20 * factor],
                    "wall.time": [1e9 / factor],
                },
                units={"token": 1024.0},
            )
        )
        for factor in (1.001, 612.345)
    )
    lines = verdict_lines(judge(spec, now, then, Policy("gate")))
    assert lines[1:7] == [
        "the test's body:",
        "  metric                       baseline    current    change          limit",
        "  gpu.kernel_count                    1          1         =              0",
        "! memcpy.d2h.bytes            1.001 GiB  612.3 GiB  +61,073%              0",
        "* wall.time                      999 ms   1.633 ms    -99.8%  26.5% (noise)",
        "! memcpy.d2h.bytes.per_token  1.001 MiB  612.3 MiB  +61,073%   10% or 1 MiB",
    ]


def test_many_small_culprits_are_summed_up() -> None:
    small = [Part(f"k{number}", 1, ns=10_000) for number in range(20)]
    then = made.measurement(made.kernels(GEMM, *small))
    now = made.measurement(
        made.kernels(replace(GEMM, ns=2e6), *[replace(part, ns=20_000) for part in small])
    )
    lines = verdict_lines(_verdict(now, then))
    at = lines.index("gpu.kernel_time changed by:")
    assert lines[at + 1] == "  gemm +1.1 ms (2x)"
    assert len([line for line in lines[at:] if line.startswith("  k")]) <= 4
    assert any(" others +" in line for line in lines[at:])


def test_rows_that_are_zero_then_and_now_are_left_out() -> None:
    both = made.measurement(
        made.window({"gpu.kernel_count": [3], "memcpy.h2d.count": [0], "sync.count": [0]})
    )
    text = "\n".join(verdict_lines(_verdict(both, both)))
    assert "gpu.kernel_count" in text
    assert "sync.count" not in text


def test_a_comparison_of_captures_is_a_line_and_tables() -> None:
    lines = comparison_lines(_verdict(_slower()))
    assert lines[0].startswith("t.py::test: gpu.kernel_time +52.5%")
    assert max(map(len, lines)) <= 80
    assert lines[-1] == ""
    assert not any("measure it again" in line for line in lines)
    assert ["metric", "before", "after", "change", "limit"] in [line.split() for line in lines]
    assert not any("baseline" in line for line in lines), "neither of two captures is one"


def test_a_comparison_of_captures_ends_with_how_many_are_worse() -> None:
    worse, same = _verdict(_slower()), _verdict(BEFORE)
    apart = _verdict(replace(BEFORE, warmup=2))
    assert worse_line([same]) == "0 of 1 worse"
    assert worse_line([same, worse, worse]) == "2 of 3 worse: test, test"
    # One that cannot be compared fails a gate, and is not known to be worse.
    assert worse_line([replace(apart, failed=False)]) == "0 of 1 worse, 1 incomparable"
    assert worse_line([worse] * 12).endswith(", test and 2 more")


# From nothing to what one test can do: a minute of kernels, a GPU's memory, 100,000 calls.
amounts = st.one_of(st.just(0.0), st.integers(10**4, 10**11).map(float), st.floats(1e4, 1e11))
counts = st.one_of(st.integers(0, 10**5).map(float), st.integers(0, 10**5).map(lambda n: n / 2))
gated_samples = st.fixed_dictionaries(
    {
        metric.key: (counts if metric.unit == "1" else amounts).map(lambda value: [value])
        for metric in METRICS
        if metric.gated
    }
)


@given(gated_samples, gated_samples)
def test_tables_of_all_gated_metrics_fit_eighty_columns(
    then: dict[str, list[float]], now: dict[str, list[float]]
) -> None:
    verdict = _verdict(made.measurement(made.window(now)), made.measurement(made.window(then)))
    lines = comparison_lines(verdict)[1:]
    # Noise as large as that is only where one of two single rounds is many times the other.
    allowed = 84 if any("(noise)" in line for line in lines) else 80
    for line in lines:
        assert len(line) <= allowed, line


def test_the_representation_of_a_failed_test_is_the_first_line_and_the_rest() -> None:
    verdict = _verdict(_slower())
    shown = explain_verdict(verdict, ("tests/t.py", 41, "test"))
    text = str(shown)
    assert text.splitlines() == [headline(verdict), *verdict_lines(verdict)]
    assert shown.reprcrash.message == (
        "gemm +500 us (2x): gpu.kernel_time +52.5%, limit 3% or 5 us; 1 ms -> 1.525 ms (and 1 more)"
    )
    assert (shown.reprcrash.path, shown.reprcrash.lineno) == ("tests/t.py", 42)
    assert explain_verdict(verdict, ("t.py", None, "")).reprcrash.lineno == 1
    out = io.StringIO()
    writer = TerminalWriter(out)
    writer.fullwidth = 80
    shown.toterminal(writer)
    assert out.getvalue().splitlines() == [
        "gpu.kernel_time +52.5%, limit 3% or 5 us: gemm +500 us (2x); 1 ms -> 1.525 ms",
        "  (and 1 more)",
        *verdict_lines(verdict),
    ]


def test_on_a_terminal_with_colours_the_first_line_is_red() -> None:
    out = io.StringIO()
    writer = TerminalWriter(out)
    writer.hasmarkup = True
    writer.fullwidth = 80
    explain_verdict(_verdict(_slower()), ("t.py", 0, "")).toterminal(writer)
    first, second, third, *_ = out.getvalue().splitlines()
    assert first.startswith("\x1b[")
    assert "(and 1 more)" in second
    assert second.startswith("\x1b[")
    assert "\x1b[" not in third


def _summary(*verdicts: Verdict, mode: Mode = "gate", **rest: object) -> list[str]:
    return summary_lines(RunReport(mode=mode, verdicts=verdicts, **rest))  # type: ignore[arg-type]


def test_the_summary_counts_and_names_what_got_worse_first() -> None:
    lines = _summary(_verdict(BEFORE), _verdict(_slower("t.py::slow")))
    assert lines[0] in ("1 ok, 1 regressed", "1 regressed, 1 ok")
    assert lines[1] == "FAILED t.py::slow"
    assert lines[2] == (
        "  gemm +500 us (2x): gpu.kernel_time +52.5%, limit 3% or 5 us; 1 ms -> 1.525 ..."
    )
    assert len(lines) == 3


def test_of_very_many_failures_the_first_are_told() -> None:
    lines = _summary(*(_verdict(_slower(f"t.py::slow_{number}")) for number in range(40)))
    assert sum(line.startswith("FAILED ") for line in lines) == 30
    assert lines[-1] == "  and 10 more FAILED"


def test_what_the_short_summary_tells_the_summary_does_not() -> None:
    run = RunReport(mode="gate", verdicts=(_verdict(_slower("t.py::slow")),))
    assert summary_lines(run, told=["t.py::slow"]) == ["1 regressed"]


def test_what_got_better_is_named_whatever_else_got_worse() -> None:
    then = made.measurement(
        made.kernels(GEMM, name="prefill"), made.kernels(replace(GEMM, ns=1.2e6), name="decode")
    )
    now = made.measurement(
        made.kernels(replace(GEMM, ns=1.2e6), name="prefill"), made.kernels(GEMM, name="decode")
    )
    assert _summary(_verdict(now, then))[-3:] == [
        "improved: t.py::test",
        "  [decode] gpu.kernel_time -25.0%, limit 3% or 5 us: gemm -300 us (2x); 1.2 ms",
        "    -> 900 us",
    ]


def test_kernels_that_changed_within_the_limit_of_all_are_named() -> None:
    silu, rope = Part("silu", 1, ns=15_000), Part("rope", 2, ns=30_000)
    then = made.measurement(made.kernels(GEMM, NORM, silu, rope))
    now = made.measurement(
        made.kernels(GEMM, replace(NORM, ns=101_000), replace(silu, ns=25_000), rope)
    )
    assert _summary(_verdict(now, then)) == [
        "1 ok",
        "t.py::test",
        "  largest changes below the limit: silu +66.7%, 10 us of 1.056 ms",
    ]


def test_the_summary_of_nothing_says_so() -> None:
    assert _summary() == ["no measured tests"]


def test_the_summary_says_how_to_record_what_is_new() -> None:
    fresh = [_verdict(replace(BEFORE, nodeid=f"t.py::t{n}"), None, "profile") for n in range(12)]
    lines = _summary(*fresh, mode="profile")
    assert lines[0] == "12 new"
    assert lines[1:] == ["  record their baselines with: pytest --nsys-update-new"]
    known = _verdict(BEFORE, mode="profile")
    lines = _summary(known, *fresh, mode="profile")
    assert lines[1:11] == [f"new: t.py::t{n}" for n in range(10)]
    assert lines[11:] == [
        "  and 2 more new",
        "  record their baselines with: pytest --nsys-update-new",
    ]


def test_the_summary_names_improvements_and_what_was_not_measured() -> None:
    lines = _summary(
        _verdict(BEFORE, _slower()),
        unmeasured=(
            Unmeasured("t.py::skipped", "skipped"),
            Unmeasured("t.py::failed", "failed"),
            Unmeasured("t.py::lost", "the worker died"),
        ),
        kept="/tmp/raw",
    )
    assert lines[0] == "3 unmeasured, 1 improved"
    assert lines[1] == "improved: t.py::test"
    assert lines[2].startswith("  gpu.kernel_time -34.4%")
    assert lines[3].startswith("  gpu.kernel_count -1")
    assert lines[4] == "not measured: t.py::lost: the worker died"
    assert lines[5].startswith("raw reports are in /tmp/raw; they hold")


def test_of_very_many_that_were_not_measured_the_summary_names_the_first() -> None:
    lost = tuple(Unmeasured(f"t.py::t{n}", "it was not collected") for n in range(5000))
    lines = _summary(unmeasured=lost)
    assert len(lines) == 12
    assert lines[-2:] == [
        "not measured: t.py::t9: it was not collected",
        "  and 4990 more not measured",
    ]


def test_the_summary_of_recording_says_what_was_recorded_and_what_moved(
    tmp_path: pytest.TempPathFactory,
) -> None:
    from pathlib import Path

    now = _slower()
    changes = (
        Change(Path("a.json"), None, replace(BEFORE, nodeid="t.py::first")),
        Change(Path("b.json"), BEFORE, now),
        Change(Path("c.json"), BEFORE, replace(BEFORE, nodeid="t.py::same")),
    )
    every = [change.after for change in changes] + [replace(BEFORE, nodeid="t.py::unchanged")]
    verdicts = [judge(SPEC, measured, None, Policy("update")) for measured in every]
    assert _summary(*verdicts, mode="update", changes=changes) == [
        "2 updated, 1 recorded, 1 unchanged",
        "recorded t.py::first",
        "updated t.py::test",
        "  gpu.kernel_time 1 ms -> 1.525 ms (+52.5%)",
        "    gemm +500 us (2x)",
        "    rms_norm +25 us (4x -> 5x)",
        "  gpu.kernel_count 6 -> 7 (+1)",
        "updated t.py::same",
    ]


def test_an_update_names_kernels_windows_and_metrics_that_came_or_went() -> None:
    from pathlib import Path

    def then_and_now(*parts: Part, **more: float) -> WindowMeasurement:
        window = made.kernels(*parts)
        samples = {**window.samples, **{key: ((value,),) for key, value in more.items()}}
        return replace(window, samples=samples)

    old, new = (Part(name, 1, ns=4e5, category="gemm") for name in ("old_gemm", "new_gemm"))
    rest = Part("rest", 1, ns=1e5)
    before = made.measurement(
        then_and_now(old, rest, **{"mem.peak": 5.0, "kernel[old*].time": 4e5}),
        made.kernels(rest, name="prefill"),
        made.kernels(rest, name="steady"),
    )
    after = made.measurement(
        then_and_now(replace(new, ns=9e5), replace(rest, ns=1.01e5), **{"sync.count": 1.0}),
        made.kernels(replace(rest, ns=1.01e5), name="steady"),
        made.kernels(rest, name="decode"),
    )
    change = Change(Path("a.json"), before, after)
    assert _summary(mode="update", changes=(change,))[1:] == [
        "updated t.py::test",
        "  gpu.kernel_time 500 us -> 1.001 ms (+100%)",
        "    new_gemm +500 us (1x): was old_gemm",
        "  sync.count is new",
        "  mem.peak is gone",
        "  kernel[old*].time is gone",
        "  [steady] gpu.kernel_time 100 us -> 101 us (+1.0%)",
        "  window 'decode' is new",
        "  window 'prefill' is gone",
    ]


def test_a_tolerance_of_any_size_fits_its_column() -> None:
    spec = replace(SPEC, tolerance={"gpu.kernel_time": Tolerance(0.125, 2.5e6)})
    lines = verdict_lines(judge(spec, _slower(), BEFORE, Policy("gate")))
    assert any("12.5% or 2.5 ms" in line for line in lines)


def _processes(*medians: float) -> Measurement:
    return join_processes([made.measurement(made.kernels(replace(GEMM, ns=ns))) for ns in medians])


def test_every_session_of_what_is_not_ok_is_shown() -> None:
    then, now = _processes(1e6, 1.001e6, 0.999e6), _processes(1.1e6, 1.2e6, 1.15e6)
    lines = verdict_lines(_verdict(now, then))
    at = lines.index("gpu.kernel_time by process:")
    assert lines[at - 1 : at + 4] == [
        "",
        "gpu.kernel_time by process:",
        "  baseline  1 ms, 1.001 ms, 999 us",
        "  current   1.1 ms, 1.2 ms, 1.15 ms",
        "",
    ]
    lines = verdict_lines(_verdict(_processes(*[1.2e6] * 7), then))
    assert "  current   1.2 ms, 1.2 ms, 1.2 ms, 1.2 ms, 1.2 ms, and 2 more" in lines
    assert not any("by process" in line for line in verdict_lines(_verdict(then, then)))
    assert not any("by process" in line for line in verdict_lines(_verdict(_processes(9e6), then)))


def test_the_first_line_of_what_was_accepted_says_so() -> None:
    entry = ExpectedChange(reason="new tiles", until=date(2999, 1, 1))
    verdict = judge(SPEC, _slower(), BEFORE, Policy("gate", expected=(entry,)))
    assert headline(verdict).endswith("1 ms -> 1.525 ms; accepted until 2999-01-01: new tiles")
    assert not any("to accept it" in line for line in verdict_lines(verdict))


def test_the_first_line_of_what_cannot_be_told_says_what_could_be() -> None:
    noisy = made.measurement(
        made.window({"gpu.kernel_time": [0.8e6, 0.9e6, 1e6, 1.1e6, 1.2e6], "gpu.kernel_count": [6]})
    )
    first = headline(_verdict(noisy))
    assert first.startswith("gpu.kernel_time =, limit ")
    assert " (noise); 1 ms -> 1 ms: gpu.kernel_time is too noisy to tell: a change " in first


def test_a_limit_is_the_tolerance_or_what_is_more() -> None:
    part = Comparison(
        "test", lookup("gpu.kernel_time"), "ok", True, 1e6, 1e6, Tolerance(0.03), noise=1.0
    )
    assert format_limit(part) == format_limit(replace(part, limit=3e4)) == "3%"
    assert format_limit(replace(part, limit=4.6e4)) == "4.6% (noise)"
    assert format_limit(replace(part, limit=2e7)) == "20 ms (noise)"
    assert format_limit(replace(part, tolerance=None)) == ""
    count = replace(part, metric=lookup("sync.count"), noise=None, tolerance=Tolerance())
    assert format_limit(replace(count, baseline=12.0, limit=2.0)) == "2 (range)"
    assert format_limit(replace(count, baseline=12.0, limit=0.0)) == "0"


def test_of_very_many_changes_and_warnings_the_first_are_told() -> None:
    from pathlib import Path

    many = [replace(BEFORE, nodeid=f"t.py::test_{number}") for number in range(15)]
    changes = tuple(Change(Path("a.json"), BEFORE, after) for after in many)
    verdicts = [judge(SPEC, measured, None, Policy("update")) for measured in many]
    warned = [replace(verdict, warnings=("it is odd",)) for verdict in verdicts]
    lines = _summary(*warned, mode="update", changes=changes)
    assert lines[0] == "15 updated"
    assert sum(line.startswith("updated ") for line in lines) == 10
    assert sum(line.startswith("warning: ") for line in lines) == 10
    assert "  and 5 more updated" in lines
    assert "  and 5 more with a warning" in lines
