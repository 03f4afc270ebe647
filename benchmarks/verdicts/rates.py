"""The published table of false alarms and detections, from the samples of the study.

    python benchmarks/verdicts/rates.py                        # again, from the committed samples
    python benchmarks/verdicts/rates.py --samples A.jsonl B.jsonl --pack   # from new ones

The second keeps them as ``benchmarks/results/verdict-samples.jsonl.xz``, which the first reads.
Files that are given together are of studies that ran at the same time, each on a GPU of its own of
one host. Writes ``docs/verdict-rates.md`` and ``benchmarks/results/verdict_rates.json``. The same
samples give the same files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import lzma
import os
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resample import FRESH, KERNELS, NOISES, PROCESSES, WALL, Pool, draw, take_apart
from rules import COUNT, OTHERS, Rule, SamplesByMetric, joined, ours
from study import base_of, is_measured, read_lines

from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.resolution import ANOTHER_GPU, KERNEL_NS

ROOT = Path(__file__).parents[2]
PACKED = ROOT / "benchmarks/results/verdict-samples.jsonl.xz"
PAGE = ROOT / "docs/verdict-rates.md"
RESULTS = ROOT / "benchmarks/results/verdict_rates.json"

PERCENTS = (1, 2, 3, 4, 5, 10)
CHANGES = ("copy", "synchronize", "launch", "memory")
METRICS = (KERNELS, WALL)
FAILING = frozenset({"regressed", "violated", "over budget", "new", "incomparable"})
"""What fails a test of the gate."""

TINY = "tiny"
"""The workload in which one process differs from another by more than the changes put into it."""

DEFAULT, THREE, ONE = Tolerance(0.03, 5e3), Tolerance(0.03), Tolerance(0.01)
"""Tolerances of kernel time: what holds without a marker, and parts of it alone."""


@dataclass(frozen=True)
class Case:
    """One test of one run of the gate.

    Attributes:
        nodeid: the test.
        study: which study: each recorded baselines of its own.
        run: which run of the suite.
        kind: "steady", "unchanged", "slower" or "changed".
        tolerance: relative, of kernel time; None for the default.
        percent: by how much its kernels were made slower.
        change: what else was changed; "" if nothing was.
        status: the verdict.
        statuses: of the gated metrics that were not ok, by key.
        then: the baseline.
        processes: what was measured, one process each, confirmations after the first.
    """

    nodeid: str
    study: int
    run: tuple[int, int]
    kind: str
    tolerance: float | None
    percent: float
    change: str
    status: str
    statuses: Mapping[str, str]
    then: SamplesByMetric
    processes: tuple[SamplesByMetric, ...]

    @property
    def failed(self) -> bool:
        """Whether the gate failed the test."""
        return self.status in FAILING

    @property
    def timed(self) -> str:
        """The verdict on kernel time alone."""
        return self.statuses.get(KERNELS, "ok")

    @property
    def name(self) -> str:
        """The test without its file."""
        return self.nodeid.partition("::")[2]

    @property
    def workload(self) -> str:
        """What the test measures."""
        return _parts(self.nodeid)[1][0]

    @property
    def first(self) -> SamplesByMetric:
        """The run's own process."""
        return self.processes[0]


@dataclass(frozen=True)
class Rate:
    """How often something happened: ``count`` of ``of``."""

    count: int
    of: int

    @classmethod
    def of_all(cls, answers: Iterable[bool]) -> Rate:
        """Of the answers, how many are yes."""
        seen = Counter(answers)
        return cls(seen[True], sum(seen.values()))

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95 % confidence interval of C. J. Clopper and E. S. Pearson (Biometrika 26(4),
        1934)."""
        from scipy.stats import binomtest

        if not self.of:
            return 0.0, 1.0
        interval = binomtest(self.count, self.of).proportion_ci(0.95, method="exact")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        return f"{self.count} of {self.of:,}" if self.of else "-"


# Reading


def read_cases(text: str) -> list[Case]:
    """The tests of all runs in the text of a samples file, without those that have no samples."""
    cases: list[Case] = []
    baselines: Mapping[str, Any] = {}
    study = part = 0
    for line in read_lines(text):
        if line["kind"] == "about":  # each follows a record of all baselines
            study += 1
        elif line["kind"] == "baseline":  # each begins a phase, which numbers its runs from 0
            baselines, part = line["tests"], part + 1
        elif line["kind"] == "run":
            cases += _cases_of(line["tests"], baselines, study, (part, line["run"]))
    return cases


def count_unmeasured(text: str) -> int:
    """How many tests of all runs have no samples, and runs no results."""
    lines = list(read_lines(text))
    tests = [test for line in lines if line["kind"] == "run" for test in line["tests"].values()]
    problems = sum(1 for line in lines if line["kind"] == "problem")
    return problems + sum(1 for test in tests if not is_measured(test))


def _cases_of(
    tests: Mapping[str, Any], baselines: Mapping[str, Any], study: int, run: tuple[int, int]
) -> Iterator[Case]:
    for nodeid, test in tests.items():
        kind, parts = _parts(nodeid)
        base = nodeid if kind in ("steady", "unchanged") else base_of(nodeid)
        now = {key: _processes(value) for key, value in test["metrics"].items()}
        if not is_measured(test) or WALL not in now or base not in baselines:
            continue
        count = len(now[KERNELS])
        yield Case(
            nodeid=nodeid,
            study=study,
            run=run,
            kind=kind,
            tolerance=_tolerance(kind, parts),
            percent=float(parts[2].rstrip("%")) if kind == "slower" else 0.0,
            change=parts[1] if kind == "changed" else "",
            status=test["status"],
            statuses=test.get("statuses", {}),
            then={key: _processes(value) for key, value in baselines[base].items()},
            processes=tuple(
                {key: (value[i],) for key, value in now.items() if len(value) == count}
                for i in range(count)
            ),
        )


def _parts(nodeid: str) -> tuple[str, list[str]]:
    kind, _, inner = nodeid.partition("::test_")[2].rstrip("]").partition("[")
    return kind, inner.split("-")


def _tolerance(kind: str, parts: Sequence[str]) -> float | None:
    if kind == "steady":
        return None
    return float(parts[1].rstrip("%")) / 100 if kind in ("unchanged", "slower") else 0.03


def _processes(value: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, value))


def still(cases: Iterable[Case]) -> list[Case]:
    """Those in which nothing was changed."""
    return [case for case in cases if case.kind in ("steady", "unchanged")]


def supplies(cases: Sequence[Case]) -> list[tuple[SamplesByMetric, ...]]:
    """For each case its processes, and the first ones of the test's next runs in the study.

    So a rule that measures again gets fresh processes of the same test where the gate, judging
    by another metric or tolerance, asked for none.
    """
    by_test: dict[tuple[int, str], list[int]] = {}
    for index, case in enumerate(cases):
        by_test.setdefault((case.study, case.nodeid), []).append(index)
    found = []
    for index, case in enumerate(cases):
        same = by_test[case.study, case.nodeid]
        place = same.index(index)
        others = [*same[place + 1 :], *same[:place]]
        found.append((*case.processes, *(cases[i].first for i in others[:FRESH]))[:FRESH])
    return found


def elsewhere(cases: Sequence[Case]) -> list[tuple[Case, tuple[SamplesByMetric, ...]]]:
    """Unchanged tests with the baseline of another study, all pairs, and each's processes.

    Those with a spin are left out: how long that is, each study finds out for itself.
    """
    pairs = [
        (case, supply)
        for case, supply in zip(cases, supplies(cases), strict=True)
        if case.kind == "steady"
    ]
    baselines = {(case.study, case.nodeid): case.then for case, _ in pairs}
    return [
        (replace(case, then=then), supply)
        for case, supply in pairs
        for (study, nodeid), then in baselines.items()
        if nodeid == case.nodeid and study != case.study
    ]


# Counting


Judge = Callable[[SamplesByMetric, Sequence[SamplesByMetric], str], bool]
"""Whether a metric is called slower: of the baseline, the processes there are, by key."""


def judges() -> dict[str, Judge]:
    """All rules by name, ours first."""
    found: dict[str, Judge] = {
        "this gate, 3% or 5 us (default)": _ours(DEFAULT),
        "this gate, tolerance 3%": _ours(THREE),
        "this gate, tolerance 1%": _ours(ONE),
    }
    return {**found, **{rule.name: _first_process(rule) for rule in OTHERS}}


def _ours(tolerance: Tolerance, *, another_gpu: bool = False) -> Judge:
    def judge(then: SamplesByMetric, supply: Sequence[SamplesByMetric], key: str) -> bool:
        return ours(then, supply, key, tolerance, another_gpu=another_gpu) == "regressed"

    return judge


def _first_process(rule: Rule) -> Judge:
    def judge(then: SamplesByMetric, supply: Sequence[SamplesByMetric], key: str) -> bool:
        return rule.says(then, supply[0], key)

    return judge


def measured_rates(cases: Sequence[Case]) -> dict[str, Any]:
    """What each rule says of the recorded samples: ``{rule: {metric: {column: rate}}}``.

    Columns are "A/A", "runs" (runs of the suite with any false alarm) and the percentages.
    """
    supplied = supplies(cases)
    found: dict[str, Any] = {}
    for name, judge in judges().items():
        for key in METRICS:
            said: dict[Any, list[bool]] = {}
            runs: dict[tuple[int, int], bool] = {}
            for case, supply in zip(cases, supplied, strict=True):
                if case.change:
                    continue
                alarm = judge(case.then, supply, key)
                said.setdefault(case.percent or "A/A", []).append(alarm)
                if not case.percent:
                    runs[case.run] = runs.get(case.run, False) or alarm
            rates = {column: Rate.of_all(answers) for column, answers in said.items()}
            found.setdefault(name, {})[key] = {**rates, "runs": Rate.of_all(runs.values())}
    return found


@dataclass(frozen=True)
class Elsewhere:
    """False alarms on kernel time against baselines of other studies.

    Attributes:
        rates: of each rule.
        alarms: of the gate at its default tolerance where it does not know it, by test.
    """

    rates: Mapping[str, Rate]
    alarms: Mapping[str, int]


def rates_elsewhere(cases: Sequence[Case]) -> Elsewhere:
    """What each rule says of unchanged tests and another study's baselines."""
    pairs = elsewhere(cases)
    known = {
        "this gate, 3% or 5 us (default), knowing so": _ours(DEFAULT, another_gpu=True),
        "this gate, tolerance 1%, knowing so": _ours(ONE, another_gpu=True),
    }
    said = {
        name: [judge(case.then, supply, KERNELS) for case, supply in pairs]
        for name, judge in {**known, **judges()}.items()
    }
    default = said[next(iter(judges()))]
    alarms = Counter(
        case.name for (case, _), is_alarm in zip(pairs, default, strict=True) if is_alarm
    )
    return Elsewhere({name: Rate.of_all(answers) for name, answers in said.items()}, alarms)


def simulated_rates(
    pools: Sequence[Pool], many: int, fewer: int, processes: int = 1
) -> dict[str, dict[str, Any]]:
    """The same of simulated decisions, by noise: ``many`` A/A, ``fewer`` of each percentage."""
    arguments = [(noise, pools, many, fewer) for noise in NOISES]
    if processes == 1:
        rates = [*itertools.starmap(_simulate, arguments)]
    else:
        with ProcessPoolExecutor(processes) as executor:
            rates = [*executor.map(_simulate, *zip(*arguments, strict=True))]
    return dict(zip(NOISES, rates, strict=True))


def _simulate(noise: str, pools: Sequence[Pool], many: int, fewer: int) -> dict[str, Any]:
    """With one noise. The tests take turns; each decision has a baseline of its own."""
    chance, disturb, rules = random.Random(noise), NOISES[noise], judges()
    said: dict[tuple[str, str, Any], list[bool]] = {}
    for amount in (0, *PERCENTS):
        for number in range(fewer if amount else many):
            pool = pools[number % len(pools)]
            parts = [draw(pool, chance, disturb) for _ in range(PROCESSES)]
            then = joined(parts, tuple(parts[0]))
            supply = [draw(pool, chance, disturb, amount) for _ in range(FRESH)]
            for name, judge in rules.items():
                for key in METRICS:
                    answer = judge(then, supply, key)
                    said.setdefault((name, key, amount or "A/A"), []).append(answer)
    rates: dict[str, Any] = {}
    for (name, key, column), answers in said.items():
        rates.setdefault(name, {}).setdefault(key, {})[column] = Rate.of_all(answers)
    return rates


def pools_of(cases: Sequence[Case]) -> list[Pool]:
    """The recorded processes of each unchanged test of a study, those of its baseline included."""
    return [take_apart(processes) for processes in processes_of(still(cases)).values()]


def processes_of(cases: Sequence[Case]) -> dict[tuple[int, str], list[SamplesByMetric]]:
    """One process each, of baseline and runs, by study and unchanged test."""
    processes: dict[tuple[int, str], list[SamplesByMetric]] = {}
    for case in cases:
        place = (case.study, case.nodeid)
        if place not in processes:
            keys = tuple(case.then)
            count = min(len(case.then[key]) for key in keys)
            processes[place] = [{k: (case.then[k][i],) for k in keys} for i in range(count)]
        processes[place] += case.processes
    return processes


@dataclass(frozen=True)
class Scatter:
    """Coefficients of variation of one metric over many tests: the median and the largest."""

    within: tuple[float, float]
    between: tuple[float, float]


def scatter(pools: Sequence[Pool], key: str) -> Scatter:
    """Of rounds about their process's median, and of processes' medians."""
    within = [
        statistics.median(statistics.stdev(one[key]) for one in pool.residuals) for pool in pools
    ]
    between = [statistics.stdev([one[key] for one in pool.offsets]) for pool in pools]
    return Scatter(
        (statistics.median(within), max(within)), (statistics.median(between), max(between))
    )


def seen_change(cases: Sequence[Case], percent: float, key: str) -> float:
    """By how much a metric really went up: the median over the cases, as a fraction."""
    return statistics.median(
        statistics.median(case.first[key][0])
        / statistics.median([statistics.median(process) for process in case.then[key]])
        - 1
        for case in cases
        if case.percent == percent
    )


# The page


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(value: float) -> str:
    """A fraction as a percentage, to two digits that count."""
    return f"{value * 100:.2g}%" if 0 < value < 0.0995 else f"{value * 100:.0f}%"


def with_bounds(rate: Rate) -> str:
    """A rate with its confidence interval."""
    if not rate.of:
        return "-"
    low, high = rate.bounds
    return f"{percent(rate.count / rate.of)} ({percent(low)} to {percent(high)})"


def share(rate: Rate | None) -> str:
    """A rate as a percentage; "-" where there is none."""
    return percent(rate.count / rate.of) if rate is not None and rate.of else "-"


def page(
    cases: Sequence[Case],
    abouts: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Any],
    simulated: Mapping[str, Any],
    abroad: Elsewhere,
    missing: int = 0,
) -> str:
    """The published page, in Markdown; ``missing`` tests could not be measured."""
    parts = [
        "# How often the verdicts are right",
        "Made by `benchmarks/verdicts/rates.py` from the raw samples in "
        "`benchmarks/results/verdict-samples.jsonl.xz`; do not edit. "
        "`python benchmarks/verdicts/rates.py` makes it again; `benchmarks/verdicts/study.py` "
        "measures anew, on a machine with a GPU.",
        _where(abouts, cases)
        + (f" {missing} tests or runs gave no samples, and count nowhere." if missing else ""),
        "## The gate as it ran",
        *_as_it_ran(cases),
        "## Beside other rules, on the same samples",
        *_beside(cases, measured),
        *_abroad(abroad),
        "## Simulated: more decisions, worse noise",
        *_simulated(simulated, cases),
        "## The rules",
        *_the_rules(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _where(abouts: Sequence[Mapping[str, Any]], cases: Sequence[Case]) -> str:
    environments = [about["environment"] or {} for about in abouts]
    places = dict.fromkeys(
        f"{e.get('gpu')}, driver {e.get('driver')}, CUDA {e.get('cuda')}, nsys {e.get('nsys')}, "
        f"PyTorch {e.get('versions', {}).get('torch', '?')}, {about['date']}"
        for e, about in zip(environments, abouts, strict=True)
    )
    runs = len({case.run for case in cases})
    studies = len({case.study for case in cases})
    several = (
        f" {studies} studies ran at the same time, each on a GPU of its own of one host, and with "
        "baselines of its own."
    )
    return (
        f"Measured on: {'; '.join(places) or 'unknown'}. {runs} runs of the gate, nothing locked."
        + several * (studies > 1)
    )


def _as_it_ran(cases: Sequence[Case]) -> Iterator[str]:
    quiet = still(cases)
    yield (
        "`pytest --nsys-baseline` again and again, against baselines of three processes that "
        f"`pytest --nsys-update` had recorded once: {len({c.nodeid for c in quiet})} tests of "
        "unchanged code, all gated metrics, at the default tolerances (kernel time: 3 % or 5 us) "
        "and at 3 % and 1 % of kernel time alone. A decision is one test of one run."
    )
    rows = []
    groups = {None: "default", 0.03: "3%", 0.01: "1%"}
    chosen: dict[str, list[Case]] = {
        name: [case for case in quiet if case.tolerance == tolerance]
        for tolerance, name in groups.items()
    }
    chosen["all"] = quiet
    for name, some in chosen.items():
        if not some:
            continue
        alarms = Rate.of_all(case.failed for case in some)
        runs = {case.run: False for case in some}
        for case in some:
            runs[case.run] |= case.failed
        rows.append(
            [
                name,
                f"{alarms.of:,}",
                str(alarms.count),
                percent(alarms.bounds[1]),
                str(Rate.of_all(runs.values())),
                share(Rate.of_all(case.status == "inconclusive" for case in some)),
                share(Rate.of_all(case.status == "improved" for case in some)),
                share(Rate.of_all(len(case.processes) > 1 for case in some)),
            ]
        )
    head = ["unchanged code, tolerance", "decisions", "false alarms", "at most (95 %)"]
    head += ["runs with any", "inconclusive", "improved", "measured again"]
    yield table(head, rows)
    lengths = {c.name: statistics.median(c.then[KERNELS][0]) / 1e3 for c in quiet}
    for title, some in {
        "False alarms": [case for case in quiet if case.failed],
        "Called improved, which is not measured again": [
            c for c in quiet if c.status == "improved"
        ],
        "Inconclusive": [case for case in quiet if case.status == "inconclusive"],
    }.items():
        counts = Counter(case.name for case in some).most_common()
        of = Counter(case.name for case in quiet)
        listed = [f"`{n}` {k} of {of[n]} ({lengths[n]:.0f} us of kernels)" for n, k in counts]
        yield f"{title}, by test: {', '.join(listed) or 'none'}."
    if not any(case.percent or case.change for case in cases):
        yield (
            "Changes that were put in on purpose have not been measured with this gate on a GPU "
            "yet (`study.py --phase changed`); the slow-downs below are made of recorded samples."
        )
        return
    yield "### Changes that were put in"
    yield from _slow_downs([case for case in cases if case.percent])
    yield from _other_changes([case for case in cases if case.change])
    yield from _tiny(cases)


def _slow_downs(slower: Sequence[Case]) -> Iterator[str]:
    shortest = min((statistics.median(c.then[KERNELS][0]) for c in slower), default=0.0) / 1e3
    yield (
        "Slow-downs: six workloads end with a kernel that spins, 15 % of their time; the slower "
        "version has the same kernels and a longer spin. A test fails, is told to be inconclusive, "
        "or passes. 3 % is what the default tolerance, 3 % or 5 us, comes to for them: the "
        f"shortest has {shortest:.0f} us of kernels, and 3 % of that are {shortest * 0.03:.1f} us. "
        f"`{TINY}` is counted apart, below."
    )
    plain = [case for case in slower if case.workload != TINY]
    yield _slow_down_table(plain, lambda case: case.failed)
    differ = [case for case in slower if case.failed != (case.timed == "regressed")]
    if differ:
        yield (
            f"The whole verdict and that on kernel time alone differ in {len(differ)} of "
            f"{len(slower):,} decisions; on kernel time alone:"
        )
        yield _slow_down_table(plain, lambda case: case.timed == "regressed")
    else:
        yield (
            f"In all {len(slower):,} decisions, `{TINY}` included, the test failed if and only if "
            "its kernel time was `regressed`."
        )
    others = Counter(
        f"`{key}` {status} in `{case.name}`"
        for case in slower
        for key, status in case.statuses.items()
        if key != KERNELS
    )
    if others:
        listed = ", ".join(f"{text} ({count})" for text, count in others.most_common())
        yield f"What was said besides of other metrics, which did not change: {listed}."


def _slow_down_table(slower: Sequence[Case], found: Callable[[Case], bool]) -> str:
    rows = []
    for amount in PERCENTS:
        some = [case for case in slower if case.percent == amount]
        row = [f"+{amount}%", f"{seen_change(some, amount, KERNELS) * 100:+.1f}%" if some else "-"]
        for tolerance in (0.03, 0.01):
            these = [case for case in some if case.tolerance == tolerance]
            rate = Rate.of_all(map(found, these))
            unclear = Rate.of_all(case.status == "inconclusive" for case in these)
            row += [str(rate), with_bounds(rate), str(unclear.count) if these else "-"]
        rows.append(row)
    head = ["kernel time", "seen (median)", "failed at 3%", "rate (95 %)", "inconclusive"]
    return table([*head, "failed at 1%", "rate (95 %)", "inconclusive"], rows)


def _other_changes(changed: Sequence[Case]) -> Iterator[str]:
    names = {
        "copy": "one more copy of 4 KiB",
        "synchronize": "one more synchronisation",
        "launch": "one more launch",
        "memory": "32 MiB more, by cudaMalloc",
    }
    rows = []
    for change in CHANGES:
        some = [case for case in changed if case.change == change]
        rate = Rate.of_all(case.failed for case in some)
        by = Counter(k for case in some for k, s in case.statuses.items() if s in FAILING)
        listed = ", ".join(f"`{key}` {count}" for key, count in by.most_common()) or "-"
        rows.append([names[change], str(rate), with_bounds(rate), listed])
    yield f"Other changes, in all six workloads, `{TINY}` included, at 3 %:"
    yield table(["change", "failed", "rate (95 %)", "by"], rows)


def _tiny(cases: Sequence[Case]) -> Iterator[str]:
    quiet = [case for case in still(cases) if case.workload == TINY and case.tolerance == 0.03]
    if not quiet:
        return
    baselines = "; ".join(
        " ".join(f"{statistics.median(process) / 1e3:.1f}" for process in then)
        for then in {case.study: case.then[KERNELS] for case in quiet}.values()
    )
    by_study = [*processes_of(quiet).values()]
    rounds = scatter([take_apart(processes) for processes in by_study], KERNELS).within[0]
    medians = [[statistics.median(one[KERNELS][0]) for one in processes] for processes in by_study]
    apart = [max(found) / min(found) - 1 for found in medians]
    every = [*itertools.chain.from_iterable(medians)]
    count = statistics.median(quiet[0].then[COUNT][0])
    blind = KERNEL_NS * count
    yield f"### `{TINY}`"
    yield (
        f"{count:.0f} kernels, of 1 us each but for the spin. Baselines at 3 %, us of kernels by "
        f"process, one study after the other: {baselines}. One process differs from another "
        f"by up to {percent(max(apart))} in a study, and by {percent(max(every) / min(every) - 1)} "
        f"over all of them, though the rounds of one differ by {percent(rounds)} (standard "
        f"deviation): the state is the process's. Below {KERNEL_NS:.0f} ns a kernel, here "
        f"{blind / 1e3:.1f} us or {percent(blind / statistics.median(every))}, the gate therefore "
        "finds nothing; a change beyond the tolerance is inconclusive there."
    )
    yield _slow_down_table(
        [case for case in cases if case.percent and case.workload == TINY], lambda c: c.failed
    )


def _beside(cases: Sequence[Case], measured: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "Each rule is given the samples that were recorded: the baseline's three processes of five "
        "rounds, and the five rounds of the run. Once it judges the kernels' time on the GPU, and "
        "once the time on the host's clock of the same rounds, each of which ends with a "
        "synchronisation. `this gate` is the gate's own code; where it measures again it is given "
        "further processes of the same test. A/A: false alarms; runs: runs of the suite in which "
        "any test of unchanged code failed; the rest: slow-downs found, of all six workloads with "
        f"`{TINY}` and at either tolerance of their own."
    )
    pools = pools_of(cases)
    rows = []
    for key in METRICS:
        found = scatter(pools, key)
        ratio = seen_change([case for case in cases if case.percent], 10, key) if _has(cases) else 0
        rows.append([f"`{key}`", *(f"{v * 100:.2f}%" for v in (*found.within, *found.between))])
        rows[-1].append(f"+{ratio * 100:.1f}%" if ratio else "-")
    head = [
        "scatter",
        "within a process, median test",
        "worst",
        "between processes, median",
        "worst",
    ]
    yield table([*head, "median change at +10%"], rows)
    for key in METRICS:
        yield f"### On `{key}`"
        yield _rates_table({name: of[key] for name, of in measured.items()}, runs=True)


def _has(cases: Sequence[Case]) -> bool:
    return any(case.percent == 10 for case in cases)


def _rates_table(rates: Mapping[str, Mapping[Any, Rate]], *, runs: bool) -> str:
    head = ["rule", "A/A", "95 %", *(["runs"] if runs else []), *(f"+{p}%" for p in PERCENTS)]
    rows = []
    for name, of in rates.items():
        quiet = of.get("A/A", Rate(0, 0))
        low, high = quiet.bounds
        row = [name, str(quiet), f"{percent(low)} to {percent(high)}"]
        row += [share(of.get("runs"))] if runs else []
        rows.append(row + [share(of.get(p)) for p in PERCENTS])
    return table(head, rows)


def _abroad(abroad: Elsewhere) -> Iterator[str]:
    if not any(rate.of for rate in abroad.rates.values()):
        return
    yield "## Against the baseline of another GPU of the same model"
    yield (
        "Baselines are kept by the GPU's model, so that a run may meet one that another GPU of it "
        "recorded. The samples of `test_steady` again, each run against the baselines of the other "
        "studies; `gpu.kernel_time`. The gate knows it where NVML tells, and then calls nothing "
        f"a regression that is below {ANOTHER_GPU:.0%}."
    )
    yield table(
        ["rule", "A/A", "rate (95 %)"],
        [[name, str(rate), with_bounds(rate)] for name, rate in abroad.rates.items()],
    )
    listed = [f"`{name}` {count}" for name, count in abroad.alarms.items()]
    text = "Of the gate at its default tolerance that does not know it, by test"
    yield f"{text}: {', '.join(listed) or 'none'}."


def _simulated(simulated: Mapping[str, Any], cases: Sequence[Case]) -> Iterator[str]:
    sizes = [len(processes) for processes in processes_of(still(cases)).values()]
    yield (
        f"Samples drawn from the {min(sizes)} to {max(sizes)} of one test of one study, the "
        "offset of one with the rounds of another, each decision with a baseline of its own. The "
        "noise as recorded, and with more put into it."
    )
    for noise, rates in simulated.items():
        for key in METRICS:
            yield f"### Noise {noise}: `{key}`"
            yield _rates_table({name: of[key] for name, of in rates.items()}, runs=False)


def _the_rules() -> Iterator[str]:
    yield (
        "- this gate: [how it works](how-it-works.md); one process, and two more to confirm\n"
        + "\n".join(f"- {rule.name}: {rule.about}" for rule in OTHERS)
    )
    yield (
        "Intervals are those of Clopper and Pearson. They take decisions for independent; those "
        "that share a baseline are not, so that the true ones are wider. The tools measure more "
        "rounds than this by themselves; the rules are compared here, on equal data."
    )


def document(
    cases: Sequence[Case],
    measured: Mapping[str, Any],
    simulated: Mapping[str, Any],
    abroad: Elsewhere,
) -> dict[str, Any]:
    """All counts as JSON values: ``[count, of]`` each."""
    quiet = still(cases)
    plain = [case for case in cases if case.workload != TINY]
    tiny = [case for case in cases if case.workload == TINY]
    return {
        "as_it_ran": {
            "false_alarms": _pair(Rate.of_all(case.failed for case in quiet)),
            "inconclusive": _pair(Rate.of_all(case.status == "inconclusive" for case in quiet)),
            "improved": _pair(Rate.of_all(case.status == "improved" for case in quiet)),
            "slower": _by_amount(plain, lambda case: case.failed),
            "slower_by_kernel_time": _by_amount(plain, lambda case: case.timed == "regressed"),
            "slower_inconclusive": _by_amount(plain, lambda case: case.status == "inconclusive"),
            f"slower_{TINY}": _by_amount(tiny, lambda case: case.failed),
            "changed": {
                change: _pair(Rate.of_all(c.failed for c in cases if c.change == change))
                for change in CHANGES
            },
        },
        "same_samples": _plain(measured),
        "other_baselines": _plain(abroad.rates),
        "simulated": _plain(simulated),
    }


def _by_amount(cases: Sequence[Case], found: Callable[[Case], bool]) -> dict[str, Any]:
    return {
        f"{tolerance:.0%}": {
            f"+{p}%": _pair(
                Rate.of_all(found(c) for c in cases if c.percent == p and c.tolerance == tolerance)
            )
            for p in PERCENTS
        }
        for tolerance in (0.03, 0.01)
    }


def _pair(rate: Rate) -> list[int]:
    return [rate.count, rate.of]


def _plain(value: Any) -> Any:
    if isinstance(value, Rate):
        return _pair(value)
    return {_column(key): _plain(inner) for key, inner in value.items()}


def _column(key: Any) -> str:
    return key if isinstance(key, str) else f"+{key:g}%"


def _read(path: Path) -> str:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes()).decode("utf-8")
    return path.read_text(encoding="utf-8")


def main() -> None:
    """Read, count, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=Path, nargs="+", default=[PACKED])
    parser.add_argument("--pack", action="store_true", help=f"keep them as {PACKED.name}")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--many", type=int, default=10_000, help="simulated A/A decisions")
    parser.add_argument("--fewer", type=int, default=1_000, help="of each slow-down")
    options = parser.parse_args()
    # A new line between files keeps a line that was cut off apart from the next.
    text = "\n".join(map(_read, options.samples))
    if options.pack:
        PACKED.write_bytes(lzma.compress(text.encode("utf-8"), preset=9))
    cases = read_cases(text)
    if not still(cases):
        raise SystemExit("there are no samples of unchanged code in these files")
    abouts = [line for line in read_lines(text) if line["kind"] == "about"]
    measured = measured_rates(cases)
    simulated = simulated_rates(pools_of(cases), options.many, options.fewer, os.cpu_count() or 1)
    abroad, missing = rates_elsewhere(cases), count_unmeasured(text)
    made = page(cases, abouts, measured, simulated, abroad, missing)
    options.page.write_text(made, encoding="utf-8")
    counts = json.dumps(document(cases, measured, simulated, abroad), indent=1)
    options.results.write_text(counts + "\n", encoding="utf-8")
    print(options.page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
