"""Runs that pages are made of: made by hand, hostile, real, and large."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pytest_nsys.insights.bottlenecks import Bottleneck
from pytest_nsys.insights.timeline import Element, Label, Lane, Timeline
from pytest_nsys.measure.measurement import Part
from pytest_nsys.ncu.counters import DURATION, LOAD_SECTORS, KernelCounters
from pytest_nsys.offline.diff import diff
from pytest_nsys.offline.measured import measured_tests
from pytest_nsys.report.html.model import Stored
from pytest_nsys.report.run import RunReport, Unmeasured
from pytest_nsys.storage.baselines import BaselineStore, Change
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.verdict import Requirement, Verdict
from tests.support.builders import (
    ENVIRONMENT,
    GEMM,
    SPEC,
    before,
    kernel,
    measurement,
    slower,
    steady,
    verdict,
    window,
)
from tests.support.harness import ROOT

RECORDINGS = ROOT / "examples" / "recordings"


def a_run() -> RunReport:
    fresh = measurement(window(kernel(GEMM, 3, 3e5)), nodeid="tests/test_new.py::test_new")
    return RunReport(
        mode="gate",
        verdicts=(steady(), slower(), verdict(fresh, mode="gate"), steady("tests/t.py::test_t")),
        unmeasured=(Unmeasured("tests/test_c.py::test_c", "the worker died"),),
        changes=(Change(Path("baselines/new.json"), None, fresh),),
        seconds={"worker": 12.34, "export": 2.0},
        command="pytest --nsys-baseline",
        kept="/tmp/kept",
    )


def stored(text: str) -> Stored:
    """Two captures of that name, with tests of that name in only one of them."""
    return Stored(text, text, text, only_before=(text,), only_after=(text,))


def timeline(text: str) -> Timeline:
    """A timeline with the text in all its names."""
    return Timeline(
        length=1000,
        lanes=(Lane("range", text), Lane("gpu", text)),
        labels=(Label(text, "range"), Label(text, text)),
        elements=(Element(0, 0, 900, 0, 1, 900), Element(1, 100, 1200, 1, 2, 1000, True)),
    )


def hostile(text: str) -> RunReport:
    """A run with the same text wherever a name or a value comes from outside."""
    environment = replace(
        ENVIRONMENT, gpu=text, driver=text, trace=(text,), versions={text: text}, date=text
    )
    parts = [Part(text, 1, 900, 4096), Part("h2d " + text, 1, 800, 5)]
    now = measurement(
        window(
            replace(kernel(text, 3, 1e6, text), raw=(text, text + "2")),
            copies=parts,
            syncs=parts,
            units={text: 3},
        ),
        window(kernel(text, 3, 1e6), name=text),
        nodeid=text,
        environment=environment,
    )
    found = Bottleneck(text, 0.5, text, (text, text), text)
    now = replace(now, device=text, remarks=(text,), bottlenecks=(found,), timeline=timeline(text))
    counters = KernelCounters(text, "test", 2, {DURATION: 9e3, LOAD_SECTORS: 32.0})
    now = replace(now, counters=(counters, replace(counters, window=text)))
    then = before(
        now,
        window(kernel(text, 2, 5e5), copies=parts[:1], units={text: 3}),
        window(kernel(text, 2, 5e5), name=text),
    )
    judged = verdict(now, replace(then, environment=replace(ENVIRONMENT, trace=(text,))))
    judged = replace(judged, notes=(text,), unmet=(Requirement(text, "violated", text),))
    noted = tuple(
        replace(part, note=text, status="inconclusive", reason=text) for part in judged.comparisons
    )
    unclear = replace(judged, comparisons=noted, unmet=(), status="inconclusive", against=text)
    return RunReport(
        mode="profile",
        verdicts=(judged, verdict(now), unclear),
        notes=(text,),
        unmeasured=(Unmeasured(text, text),),
        changes=(Change(Path(text.replace("/", "\\")), then, now),),
        seconds={text: 1.0},
        command=text,
        kept=text.replace("/", "\\"),
    )


@lru_cache
def compared(then: str, now: str) -> dict[str, Verdict]:
    """The verdicts on one of the example recordings against another, by the test's name.

    They were made on an H200: "h200" is the code as it should be, "h200-slips" has a lost fusion
    (test_gelu), a loss read in every step (test_training_step), a lost attention kernel
    (test_attention), and one more copy (test_upload).
    """
    found = diff(RECORDINGS / then, RECORDINGS / now, in_full=True).verdicts
    return {verdict.nodeid.rpartition("::")[2]: verdict for verdict in found}


def under_a_roof() -> Verdict:
    """A copy that moves 4 GiB and hardly computes, on an H200: 91 % of the bandwidth, then 80 %."""
    moved, computed = 2.0**32, 2.0**30
    sides = []
    for ns in (1.115e6, 0.98e6):
        flops_per_s, bytes_per_s = computed * 1e9 / ns, moved * 1e9 / ns
        work = {
            "work.flops": computed,
            "work.bytes": moved,
            "gpu.flops_per_s": flops_per_s,
            "gpu.bytes_per_s": bytes_per_s,
            "gpu.pct_peak_flops": 100 * flops_per_s / 66.9e12,
            "gpu.pct_peak_bw": 100 * bytes_per_s / 4_814_304_000_000,
        }
        side = window(kernel("vectorized_elementwise_kernel", 1, ns, "elementwise"))
        samples = {**side.samples, **{key: ((value,) * 5,) for key, value in work.items()}}
        units = {"flop": computed, "byte": moved}
        sides.append(replace(side, samples=samples, units=units, precision="fp32"))
    now = measurement(sides[0], nodeid="tests/test_scale.py::test_scale")
    return verdict(now, before(now, sides[1]))


@lru_cache
def real() -> RunReport:
    """The example with slips against the one without."""
    verdicts = tuple(compared("h200", "h200-slips").values())
    return RunReport("profile", verdicts, command="pytest-nsys diff h200 h200-slips")


@lru_cache
def unclear_server() -> RunReport:
    """`transformers serve` under three kinds of load on an H200, judged against the example's
    baseline: the clients' times of one window scatter too much to tell.
    """
    folder = ROOT / "examples" / "servers"
    (stored,) = (folder / "baselines").rglob("test_serving.json")
    then = BaselineStore(folder / "baselines").read_file(stored)
    assert then is not None
    now = measured_tests(folder / "recordings" / "h200", {}, in_full=True)[then.nodeid]
    spec = replace(SPEC, tolerance={"memcpy.d2h.bytes.per_token": Tolerance(0.1)})
    judged = verdict(now, then, mode="gate", spec=spec)
    return RunReport("gate", (judged,), command="pytest --nsys-baseline")


def mixed() -> RunReport:
    """Little of everything: a real failure, a passed test, a note, a missing test, a baseline."""
    run = a_run()
    found = compared("h200", "h200-slips")
    verdicts = (found["test_gelu"], found["test_decode"], *run.verdicts[:3], under_a_roof())
    return replace(run, verdicts=verdicts, notes=("nsys lost 3 events",))


def many(failed: int, tests: int) -> RunReport:
    """The tests of the example over and over, with names as long as they are in projects."""
    verdicts = compared("h200", "h200-slips").values()
    by_fate = {fate: [one for one in verdicts if one.failed == fate] for fate in (True, False)}
    copies = []
    for number in range(tests):
        pool = by_fate[number < failed]
        nodeid = f"tests/models/test_transformer_layers.py::test_decode[bf16-batch8-{number}]"
        one = pool[number % len(pool)]
        copies.append(
            replace(one, nodeid=nodeid, measurement=replace(one.measurement, nodeid=nodeid))
        )
    return RunReport("gate", tuple(copies), command="pytest --nsys-baseline")
