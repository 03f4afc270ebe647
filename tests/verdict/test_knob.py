"""The sentence on a knob: how two servers were started, and what became of their numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.knob import consequences, differing, explanation, knob_sentences
from tests.support import made

SPEC = Spec(warmup=0, rounds=5, timeout_s=1800)


def _served(*server: str, tokens: float = 100.0, busy: float = 38.0, **more: float) -> Measurement:
    samples = {"client.tokens_per_s": [tokens] * 5, "gpu.busy_pct": [busy] * 5}
    samples |= {f"client.{key}": [value] * 5 for key, value in more.items()}
    environment = replace(made.ENVIRONMENT, server=server)
    return made.measurement(made.window(samples, name="load"), environment=environment)


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ("vllm --dtype float16", "vllm --dtype bfloat16", "`--dtype float16` -> `bfloat16`"),
        ("vllm --dtype=float16", "vllm --dtype float16", ""),
        ("vllm", "vllm --enforce-eager", "with `--enforce-eager`"),
        ("vllm --tp 2 --seed 1", "vllm --seed 1", "without `--tp 2`"),
        ("vllm --tp 2", "sglang --tp 2", "`vllm` -> `sglang`"),
        ("vllm -O 3 --tp 1", "vllm -O 2 --tp 2", "`-O 3` -> `2`, `--tp 1` -> `2`"),
        ("serve 7 --x", "serve 8 --x", "`7` -> `8`"),
        ("vllm --x 1", "vllm --x", "`--x 1` -> `--x`"),
        ("vllm --bias -1", "vllm --bias -2", "`--bias -1` -> `-2`"),
        ("vllm --api-key ...", "vllm --api-key ...", ""),
    ],
)
def test_how_command_lines_differ(then: str, now: str, said: str) -> None:
    assert differing(then.split(), now.split()) == said


@given(st.lists(st.sampled_from(["vllm", "--a", "--b=1", "2", "-c", "..."])))
def test_a_command_line_does_not_differ_from_itself(words: list[str]) -> None:
    assert differing(words, words) == ""


def test_a_knob_is_a_sentence() -> None:
    then = _served("vllm", "--dtype", "float16", ttft_p50=1e7)
    now = _served("vllm", "--dtype", "bfloat16", tokens=101, busy=52, ttft_p50=9.7e6)
    assert knob_sentences(judge(SPEC, now, then, Policy("gate"))) == (
        "[load] `--dtype float16` -> `bfloat16`: tokens/s +1.0%, TTFT p50 -3.0%, "
        "GPU busy 38% -> 52%",
    )
    assert knob_sentences(judge(SPEC, now, now, Policy("gate"))) == ()
    assert knob_sentences(judge(SPEC, now, None, Policy("gate"))) == ()
    unknown = _served()
    assert knob_sentences(judge(SPEC, now, unknown, Policy("gate"))) == ()


def test_what_was_not_measured_of_both_is_left_out() -> None:
    then, now = _served(ttft_p50=1e7).windows["load"], _served(latency_p95=1e7).windows["load"]
    assert consequences(then, now) == "tokens/s =, GPU busy 38% -> 38%"
    assert consequences(then, made.window({}, name="load")) == ""


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ({"step.graphs": 1}, {"step.graphs": 0}, "CUDA graphs a step 1 -> none"),
        ({"step.tokens": 7.4}, {"step.tokens": 3.7}, "tokens a step 7.4 -> 3.7"),
        ({"sync.count": 52}, {"sync.count": 104}, "waits for the GPU a step 2 -> 4"),
        (
            {"memcpy.d2h.count": 26, "sync.count": 52},
            {"memcpy.d2h.count": 52, "sync.count": 60},
            "copies to the host a step 1 -> 2",
        ),
        ({"sync.count": 52, "step.tokens": 7.4}, {"sync.count": 54, "step.tokens": 7.5}, ""),
        (
            {"decode.step_kernel_time": 934.8e3, "step.graphs": 1},
            {"decode.step_kernel_time": 1003.4e3, "step.graphs": 1},
            "kernel time of a decode step +7.3%",
        ),
        ({"decode.step_kernel_time": 934.8e3}, {"decode.step_kernel_time": 937.5e3}, ""),
        ({"sync.count": 52, "step.count": 0}, {"sync.count": 104, "step.count": 0}, ""),
        (
            {"client.tokens_per_s": 100, "sync.count": 52},
            {"client.tokens_per_s": 60, "sync.count": 104},
            "waits for the GPU a step 2 -> 4",
        ),
        (
            {"client.tokens_per_s": 100, "sync.count": 52},
            {"client.tokens_per_s": 160, "sync.count": 104},
            "",
        ),
        (
            {"client.tokens_per_s": 100, "sync.count": 104},
            {"client.tokens_per_s": 102, "sync.count": 52},
            "",
        ),
        (
            {"step.graphs": 1, "step.tokens": 7.4},
            {"step.graphs": 0, "step.tokens": 1},
            "tokens a step 7.4 -> 1",
        ),
    ],
)
def test_what_changed_most_in_the_steps_of_the_engine_explains_it(
    then: dict[str, float], now: dict[str, float], said: str
) -> None:
    before, after = (
        made.window({key: [value] for key, value in {"step.count": 26, **side}.items()})
        for side in (then, now)
    )
    assert explanation(before, after) == said
    assert explanation(before, before) == ""


def test_ranks_have_a_part_of_what_is_counted_in_each_step() -> None:
    one, two = (
        made.window({"step.count": [26], "sync.count": [52.0 * ranks], **more})
        for ranks, more in ((1, {}), (2, {"process.count": [2]}))
    )
    assert explanation(one, two) == ""


def test_the_explanation_ends_the_sentence() -> None:
    then, now = (
        made.window(
            {"gpu.busy_pct": [busy], "step.count": [48], "step.graphs": [graphs]}, name="load"
        )
        for busy, graphs in ((24.0, 1), (6.0, 0))
    )
    assert consequences(then, now) == "GPU busy 24% -> 6%; CUDA graphs a step 1 -> none"
