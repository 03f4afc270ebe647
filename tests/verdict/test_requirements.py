"""Requirements that need no baseline: budgets, required and forbidden things, and checks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import numpy as np
import pytest

from pytest_nsys import catalogue
from pytest_nsys.measure.measurement import Part, Parts, WindowMeasurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.verdict import requirements
from pytest_nsys.verdict.requirements import unmet_requirements
from pytest_nsys.verdict.wording import demand
from pytest_nsys.windows.record import MAIN
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)
H2D = "[CUDA memcpy HtoD] [CUDA memcpy Host-to-Device]"


def _window(name: str = MAIN) -> WindowMeasurement:
    return WindowMeasurement(
        name,
        {"gpu.kernel_time": ((2_000_000, 2_400_000, 2_200_000),), "memcpy.h2d.count": ((2, 2),)},
        {"token": 100},
        {
            "kernels": Parts(
                (
                    Part("flash_fwd", 4, ns=2_000_000, raw=("void flash_fwd<64>(T1)",)),
                    Part("gemm_a", 2, ns=200_000),
                    Part("gemm_b", 1, ns=100_000),
                    Part("gemm_c", 1, ns=90_000),
                    Part("gemm_d", 1, ns=80_000),
                )
            ),
            "copies": Parts((Part("h2d 4 KiB", 2, ns=2000, bytes=8192, raw=(H2D,)),)),
            "memsets": Parts((Part("memset 2 KiB", 1, raw=("[CUDA memset]",)),)),
            "calls": Parts(
                (
                    Part("cudaLaunchKernel", 9, raw=("cudaLaunchKernel_v7000",)),
                    Part("cudaMalloc", 0, raw=("cudaMalloc_v3020",)),
                )
            ),
        },
    )


def _texts(*windows: WindowMeasurement, **arguments: object) -> list[str]:
    spec = replace(SPEC, **arguments)  # type: ignore[arg-type]
    found = unmet_requirements(spec, made.measurement(*windows))
    assert {one.window for one in found} <= {window.name for window in windows}
    return [demand(one) for one in found]


def test_what_a_check_says_is_not_in_what_is_handed_on() -> None:
    """Its source and its message may hold anything."""

    def raises(m: WindowMeasurement) -> None:
        raise ValueError("secret")

    def asserts(m: WindowMeasurement) -> None:
        raise AssertionError("secret")

    class Odd(str):
        def __bool__(self) -> bool:
            return False

        def __repr__(self) -> str:
            return "secret"

    checks = (raises, asserts, lambda m: m == "secret", lambda m: Odd("secret"), _source_of_one)
    for check in checks:
        (one,) = unmet_requirements(replace(SPEC, check=check), made.measurement(_window()))
        assert "secret" not in one.text
        assert "secret" in one.said


def _source_of_one(m: WindowMeasurement) -> object:
    yield "secret"


def test_without_requirements_nothing_is_broken() -> None:
    assert unmet_requirements(SPEC, made.measurement(_window())) == ()


@pytest.mark.parametrize(
    ("budget", "texts"),
    [
        ({"gpu.kernel_time": 2_200_000.0}, []),
        ({"gpu.kernel_time": 2e6}, ["gpu.kernel_time is 2.2 ms, over its budget of 2 ms"]),
        ({"memcpy.h2d.count": 0.0}, ["memcpy.h2d.count is 2, over its budget of 0"]),
        ({"memcpy.h2d.count": 2.0}, []),
        (
            {"gpu.kernel_time.per_token": 2e4},
            ["gpu.kernel_time.per_token is 22 us, over its budget of 20 us"],
        ),
        ({"sync.count": 3.0}, ["sync.count has a budget and was not measured"]),
        (
            {"kernel[gemm*].time": 1.0},
            ["kernel[gemm*].time has a budget and was not measured"],
        ),
    ],
)
def test_a_budget_is_a_limit_of_the_median(budget: dict[str, float], texts: list[str]) -> None:
    assert _texts(_window(), budget=budget) == texts


def test_a_budget_of_what_gets_worse_downwards_is_a_lower_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = replace(catalogue.lookup("gpu.kernel_time"), key="gpu.busy_pct", unit="%", worse="down")
    monkeypatch.setattr(requirements, "lookup", lambda key: down)
    window = made.window({"gpu.busy_pct": [80]})
    assert _texts(window, budget={"gpu.busy_pct": 75.0}) == []
    assert _texts(window, budget={"gpu.busy_pct": 90.0}) == [
        "gpu.busy_pct is 80%, under its budget of 90%"
    ]


def test_a_budget_holds_in_named_windows_that_have_the_metric() -> None:
    part = _window("prefill")
    body = replace(_window(), samples={"mem.peak": ((1.0,),), **_window().samples})
    assert len(_texts(body, part, budget={"gpu.kernel_time": 1.0})) == 2
    assert _texts(body, part, budget={"mem.peak": 1.0}) == []


def test_every_budget_is_looked_at() -> None:
    found = unmet_requirements(
        replace(SPEC, budget={"gpu.kernel_time": 1.0, "memcpy.h2d.count": 1.0}),
        made.measurement(_window()),
    )
    assert [one.status for one in found] == ["over budget", "over budget"]


@pytest.mark.parametrize(
    "pattern",
    [
        "flash_fwd",
        "flash_*",
        "*flash_fwd<64>*",
        "*memcpy*HtoD*",
        "*memcpy*Host-to-Device*",
        "h2d *",
        "*memset*",
        "cudaLaunchKernel",
        "cudaLaunch*",
        "cudaLaunchKernel_v7000",
        "[cC]uda*",
    ],
)
def test_patterns_match_kernels_copies_sets_and_calls_by_label_or_raw_name(pattern: str) -> None:
    assert _texts(_window(), require=(pattern,)) == []
    (text,) = _texts(_window(), forbid=(pattern,))
    assert text.startswith(f"{pattern!r} is forbidden: ")


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("flash", "nearest: flash_fwd"),
        ("FLASH*", "nearest: flash_fwd"),
        ("*gemmb*", "nearest: gemm_b, gemm_a, gemm_c"),
        ("*memcpy*DtoH*", "there are: flash_fwd, gemm_a, gemm_b"),
        ("cudaLaunch", "nearest: cudaLaunchKernel"),
        ("", "nearest: flash_fwd, gemm_a, gemm_b"),
    ],
)
def test_what_no_pattern_matches_is_missing_and_not_forbidden(pattern: str, near: str) -> None:
    assert _texts(_window(), forbid=(pattern,)) == []
    (text,) = _texts(_window(), require=(pattern,))
    assert text == f"{pattern!r} is required and missing; {near}"


def test_what_only_some_rounds_have_is_forbidden_and_does_not_meet_a_requirement() -> None:
    assert _texts(_window(), forbid=("cudaMalloc",)) == [
        "'cudaMalloc' is forbidden: cudaMalloc (in some rounds)"
    ]
    (text,) = _texts(_window(), require=("cudaMalloc",))
    assert text.startswith("'cudaMalloc' is required and missing")


def test_a_metric_with_a_tolerance_must_be_measured() -> None:
    named = frozenset({"gpu.kernel_time.per_token", "gpu.kernel_time.per_sample"})
    assert _texts(_window(), named=named) == [
        "gpu.kernel_time.per_sample has a tolerance and was not measured"
    ]


NOTHING = dict.fromkeys(("kernel[gem*].time", "category[conv].time"), ((0.0, 0.0),))
NOTHING |= dict.fromkeys(("api[cudaFree].count", "range[x].kernel[a].count"), ((0.0, 0.0),))


def _without() -> WindowMeasurement:
    window = _window()
    return replace(window, samples={**window.samples, **NOTHING})


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("kernel[gem*].time", "no kernel matches 'gem*'; nearest: gemm_a, gemm_b, gemm_c"),
        ("category[conv].time", "no category matches 'conv'; there is no category at all"),
        ("api[cudaFree].count", "no call matches 'cudaFree'; nearest: cudaLaunchKernel"),
        ("range[x].kernel[a].count", "no kernel matches 'a'; nearest: flash_fwd, gemm_a"),
        ("api[cudaFree].count.per_token", "no call matches 'cudaFree'; nearest: cudaLaunchKernel"),
    ],
)
def test_a_pattern_that_matches_nothing_measures_nothing(key: str, said: str) -> None:
    window = _without()
    assert _texts(window, named=frozenset({key})) == [
        f"{key} has a tolerance and was not measured: {said}; "
        f"where there is to be none, say budget={{{key!r}: 0}}"
    ]
    missing = [f"{key} has a budget and was not measured: {said}"]
    assert _texts(window, budget={key: 5.0}) == ([] if "api[" in key else missing), (
        "of a function that there is, at most five are also none"
    )
    assert _texts(window, budget={key: 0.0}) == [], "that there is none is what is asked for"


def test_of_a_test_without_a_body_one_window_is_to_have_what_a_pattern_matches() -> None:
    other = replace(_without(), name="other", samples={"kernel[gem*].time": ((0.0, 5.0),)})
    named = {"named": frozenset({"kernel[gem*].time"})}
    assert _texts(replace(_without(), name="one"), other, **named) == []


def test_the_first_of_what_is_forbidden_are_named_and_the_rest_counted() -> None:
    assert _texts(_window(), forbid=("gemm*", "h2d*")) == [
        "'gemm*' is forbidden: gemm_a (2x), gemm_b (1x), gemm_c (1x) and 1 more",
        "'h2d*' is forbidden: h2d 4 KiB (2x)",
    ]


def test_forbidden_things_are_forbidden_in_named_windows_and_required_ones_only_in_the_body() -> (
    None
):
    body, part = _window(), replace(_window("prefill"), breakdown={})
    assert len(_texts(body, _window("prefill"), forbid=("gemm*",))) == 2
    assert _texts(body, part, require=("gemm*",)) == []
    assert _texts(made.window({}), require=("x",)) == [
        "'x' is required and missing; there is no kernel, copy or call at all"
    ]


def test_a_check_gets_the_measurement_of_the_body() -> None:
    seen: list[object] = []
    assert _texts(_window(), _window("prefill"), check=seen.append) == []
    assert seen == [_window()]


def test_of_a_test_without_a_body_every_window_is_to_meet_what_is_required_of_a_body() -> None:
    one, other = _window("one"), replace(_window("other"), breakdown={})
    seen: list[object] = []
    assert _texts(one, other, check=seen.append) == []
    assert seen == [one, other]
    assert _texts(one, other, require=("gemm*",)) == [
        "'gemm*' is required and missing; there is no kernel, copy or call at all"
    ]


def test_of_a_test_without_a_body_one_window_is_to_have_what_is_named() -> None:
    one, other = _window("one"), made.window({"client.ttft_p50": [5e6]}, name="other")
    named = {"named": frozenset({"client.ttft_p50", "gpu.busy"})}
    assert _texts(one, other, **named) == ["gpu.busy has a tolerance and was not measured"]
    assert _texts(one, other, budget={"client.ttft_p50": 6e6}) == []
    assert _texts(one, other, budget={"client.ttft_p50": 1e6}) == [
        "client.ttft_p50 is 5 ms, over its budget of 1 ms"
    ]
    assert _texts(one, budget={"client.ttft_p50": 1e6}) == [
        "client.ttft_p50 has a budget and was not measured"
    ]


@pytest.mark.parametrize(
    "check",
    [
        lambda m: m.kernels.count("gemm*") == 5,
        lambda m: m.kernels.time("gemm_a") == 200_000,
        lambda m: m.copies.bytes() == 8192,
        lambda m: m.calls.count("cudaMalloc") == 0,
        lambda m: m["gpu.kernel_time"] == 2.2e6,
        lambda m: m.units["token"] == 100,
        lambda m: None,
        lambda m: 1,
        lambda m: np.bool_(True),
        lambda m: np.array(True),
        lambda m: m.copies.count("p2p *") == 0,
        lambda m: m.calls.count("cudaOfTomorrow") == 0,
        lambda m: m.kernels.count("hardly*") == 0,
        lambda m: m.get("gpu.temperature") is None,
    ],
)
def test_a_check_that_holds_breaks_nothing(check: object) -> None:
    assert _texts(_window(), check=check) == []


def test_a_check_that_returns_false_is_shown() -> None:
    (text,) = _texts(_window(), check=lambda m: m.kernels.count("gemm*") == 7)
    assert text.startswith("check returned False: ")
    assert 'm.kernels.count("gemm*") == 7' in text


def test_a_check_that_returns_false_shows_what_it_looked_at() -> None:
    def check(m: WindowMeasurement) -> bool:
        assert m == _window()
        assert m.kernels == _window().kernels
        assert not m.is_empty
        assert [part.label for part in m.kernels][:2] == ["flash_fwd", "gemm_a"]
        return (
            m["gpu.kernel_time"] > 5
            and m.get("gpu.temperature") is None
            and m.values("memcpy.h2d.count") == (2, 2)
            and len(m.values("gpu.kernel_time")) == 3
            and m.kernels.count("gem*") == 5
            and m.kernels.time() > 0
            and len(m.copies) == 0
        )

    (text,) = _texts(_window(), check=check)
    assert text.startswith(
        "check returned False: ...; values('memcpy.h2d.count') are 2; values('gpu.kernel_time') "
        "are 2 ms to 2.4 ms; kernels.count('gem*') is 5; kernels.time() is 2.47 ms; "
        "len(copies) is 1; def check(m"
    )
    (text,) = _texts(_window(), check=lambda m: m["gpu.kernel_time"] < (m.get("wall.time") or 0))
    assert text.startswith(
        "check returned False: gpu.kernel_time is 2.2 ms; wall.time was not measured; "
    )
    (text,) = _texts(_window(), check=lambda m: m.is_empty)
    assert text.startswith("check returned False: is_empty is False; ")
    (text,) = _texts(_window(), check=lambda m: m.kernels.time("gemm_?") < len(m.copies))
    assert text.startswith(
        "check returned False: kernels.time('gemm_?') is 470 us; len(copies) is 1; "
    )


def test_a_check_without_a_message_shows_it_too() -> None:
    def silent(m: WindowMeasurement) -> None:
        if m.kernels.bytes("gemm") == 0 or m.calls.count():
            raise AssertionError

    (text,) = _texts(_window(), check=silent)
    assert text.startswith("check failed: kernels.bytes('gemm') is 0 B; def silent(m")
    (text,) = _texts(_window(), check=lambda m: 0 * m.get("gpu.kernel_time"))
    assert " of type int: 0 (gpu.kernel_time is 2.2 ms; " in text


def test_a_check_that_asserts_says_what_it_asserted() -> None:
    def check(m: WindowMeasurement) -> None:
        raise AssertionError("too many gemms")

    def silent(m: WindowMeasurement) -> None:
        raise AssertionError

    def long(m: WindowMeasurement) -> None:
        raise AssertionError("assert 1 == 2\n +  where 1 = f()")

    assert _texts(_window(), check=check) == ["check failed: too many gemms"]
    assert _texts(_window(), check=long) == ["check failed: assert 1 == 2 + where 1 = f()"]
    (text,) = _texts(_window(), check=silent)
    assert text.startswith("check failed: def silent(m")


def test_a_check_that_raises_something_else_fails_with_its_type() -> None:
    (text,) = _texts(_window(), check=lambda m: m["gpu.temperature"])
    assert text.startswith("check raised KeyError: 'gpu.temperature was not measured' (")
    (text,) = _texts(_window(), check=lambda m: {}["x"])
    assert text.startswith("check raised KeyError: 'x' (")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda m: m["gpu.kernel_tme"] < 5, "metric 'gpu.kernel_tme': did you mean"),
        (lambda m: (m.get("gpu.kernel_tme") or 0) < 5, "metric 'gpu.kernel_tme': did you mean"),
        (lambda m: m["api[cudaMalocc].count"] == 0, "is called 'cudaMalocc': did you mean"),
        (lambda m: m.calls.count("cudaMalocc") == 0, "the calls: did you mean 'cudaMalloc'?"),
        (lambda m: not m.calls.matching("Malloc"), "the calls: did you mean '*Malloc'?"),
        (lambda m: m.calls.time("memcpy HtoD") == 0, "did you mean memcpy.h2d.count?"),
        (lambda m: m.copies.count("memcpy HtoD") == 0, "did you mean '*memcpy*HtoD*'?"),
        (lambda m: m.copies.bytes("cudaMemcpy*") == 0, "did you mean m.calls with 'cudaMemcpy*'?"),
        (lambda m: m.copies.count("memset*") == 0, "did you mean m['memset.count']?"),
        (lambda m: m.kernels.count("cudaMalloc") == 0, "did you mean m.calls with 'cudaMalloc'?"),
        (
            lambda m: m.kernels.count("memcpy DtoH") == 0,
            "any of the kernels: did you mean m.copies with '*memcpy*DtoH*'?",
        ),
    ],
)
def test_a_check_that_asks_for_what_there_cannot_be_does_not_hold(check: object, said: str) -> None:
    (text,) = _texts(_window(), check=check)
    assert text.startswith("check asks for what there cannot be: ")
    assert said in text


def test_a_check_that_calls_pytest_fail_is_a_failed_check() -> None:
    (text,) = _texts(_window(), check=lambda m: pytest.fail("too slow"))
    assert text == "check failed: too slow"
    (text,) = _texts(_window(), check=lambda m: pytest.skip("not now"))
    assert text.startswith("check raised Skipped: not now")


class _Endless:
    def __bool__(self) -> bool:
        raise ValueError

    def __await__(self) -> object:
        return self


class _Falsy:
    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


async def _waits(m: WindowMeasurement) -> bool:
    return False


def _yields(m: WindowMeasurement) -> Iterator[bool]:
    yield False


async def _both(m: WindowMeasurement) -> AsyncIterator[bool]:
    yield False


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            lambda m: np.array([1, 2]) == 1,
            "check returned ndarray, which is neither true nor false",
        ),
        (lambda m: np.array([1, 2]) == 1, "return a bool, such as that of .all() or .any()"),
        (lambda m: np.bool_(False), "check returned "),
        (lambda m: _waits(m), "check returned a coroutine, which nobody awaits"),
        (lambda m: _both(m), "check returned something to be awaited, which nobody does"),
        (lambda m: _Endless(), "check returned something to be awaited, which nobody does"),
        (lambda m: _yields(m), "check returned a generator, which nobody iterates"),
        (lambda m: m.kernels.count, "check returned a function, which nobody calls"),
        (lambda m: sys.exit("done"), "check raised SystemExit: done ("),
        (lambda m: sys.exit(0), "check raised SystemExit: 0 ("),
        (lambda m: _raised(GeneratorExit()), "check raised GeneratorExit:  ("),
        (lambda m: _raised(asyncio.CancelledError()), "check raised CancelledError:  ("),
        (lambda m: _raised(_Mute()), "check raised _Mute:  ("),
        (lambda m: (False, "why"), "check returned tuple, which is neither true nor false"),
        (lambda m: [], "check returned list, which is neither true nor false"),
        (lambda m: map(bool, [0]), "check returned map, which is neither true nor false"),
        (lambda m: "no", "check returned str, which is neither true nor false; return a bool"),
        (lambda m: object(), "check returned object, which"),
        (lambda m: NotImplemented, "check returned NotImplementedType, which"),
        (lambda m: float("nan"), "check returned NaN, which"),
        (lambda m: _Falsy(), "check returned something false of type _Falsy: "),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_says_neither_yes_nor_no_lets_nothing_pass(check: object, said: str) -> None:
    (text,) = _texts(_window(), check=check)
    assert said in text


def _raised(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), pytest.exit.Exception("enough")])
def test_a_check_can_end_the_run(error: BaseException) -> None:
    with pytest.raises(type(error)):
        _texts(_window(), check=lambda m: _raised(error))


def test_a_check_without_source_is_named() -> None:
    namespace: dict[str, object] = {}
    exec("def no_source(m): return False", namespace)
    assert _texts(_window(), check=namespace["no_source"]) == ["check returned False: no_source"]


def test_a_long_check_is_cut_off() -> None:
    def check(m: WindowMeasurement) -> bool:
        first = m.kernels.count("a" * 30) + m.kernels.count("b" * 30) == 1
        return first and m.kernels.count("ccccccccccccccccccccc") == 2

    (text,) = _texts(_window(), check=check)
    assert text.endswith("...")
    assert len(text) < 350


@pytest.mark.parametrize(
    ("remarks", "why"),
    [
        ((), 'it takes nsys.units(flops=..., precision="bf16")'),
        (
            ("2 rounds repeated", "no gpu.pct_peak_flops: the peak of X is not known"),
            "the peak of X is not known",
        ),
    ],
)
def test_a_budget_of_a_share_that_there_is_not_says_what_it_takes(
    remarks: tuple[str, ...], why: str
) -> None:
    spec = replace(SPEC, budget={"gpu.pct_peak_flops": 60.0})
    (found,) = unmet_requirements(spec, replace(made.measurement(_window()), remarks=remarks))
    assert found.text == f"gpu.pct_peak_flops has a budget and was not measured; {why}"
