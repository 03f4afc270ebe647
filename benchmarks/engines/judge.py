"""Judges what `batch.py` has recorded, anywhere: each job against its base.

    python -m benchmarks.engines.judge OUT [OUT ...] --to DIR [--results FILE]

Each OUT has results-*.tar of one step. DIR gets the recordings, a baseline of each base and of each
job what ``pytest-nsys judge`` says (``judged.txt``, ``report.html``). What is printed are tables in
Markdown: other starts of unchanged engines (A/A), of which each that is said to be worse is a false
alarm, by metric, and as a whole with and without what clients saw; knobs and ways of measuring,
with what was expected to be seen; where the seconds went; and what did not end well. FILE keeps the
samples of the starts, and what was seen of knobs: what it has of other days is counted, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engines.batch import EXAMPLES, HERE
from benchmarks.engines.jobs import Job, jobs_of
from benchmarks.engines.packing import unpack
from pytest_nsys.support.text import cut, markdown_row, prose

BREAKDOWNS = ("kernels", "copies", "memsets", "calls", "syncs")
_MORE = 1.05
SAME = (
    *("base", "metric", "window", "regressed", "95 %", "inconclusive", "highest over lowest"),
    "found from",
)
SECONDS = ("job", "starts", "caches", "seconds", "of which, in all starts")
WHOLE = ("base", "gated", "starts", "regressed", "inconclusive")
KNOBS = ("job", "expected", "seen", "culprit", "gate", "worse")


@dataclass(frozen=True)
class Start:
    """How one metric of one window of a start of an unchanged engine was judged.

    Attributes:
        base: name of the base.
        start: day, digest of the GPU's UUID, and name of the job.
        window: name of the window.
        key: of the metric.
        status: the verdict on it.
        baseline: median of the base, in the metric's unit.
        current: median of the samples, likewise.
        found_from: the smallest relative change that would be found with 95 % probability.
        samples: of the rounds.
    """

    base: str
    start: str
    window: str
    key: str
    status: str
    baseline: float
    current: float
    found_from: float | None
    samples: Sequence[float]


@dataclass(frozen=True)
class Knob:
    """What was seen of a change, beside what was expected.

    Attributes:
        name: of the job.
        date: on which it was recorded.
        expected: metric and culprit.
        status: the verdict on the test.
        seen: by window, the relative change of the expected metric.
        culprit: the first kernel, copy, call or wait of the expected name that is more than in the
            base, or takes longer.
        worse: gated metrics that got worse, by window.
    """

    name: str
    date: str
    expected: str
    status: str
    seen: Mapping[str, float | None]
    culprit: str
    worse: Mapping[str, Sequence[str]]


def judge(job: Job, folder: Path, baselines: Path, tests: Path) -> dict[str, Any] | None:
    """What ``pytest-nsys judge`` says of a job, as JSON; None if there is nothing.

    A base is judged by the baseline that it is made into.
    """
    recording, results = folder / "recording", folder / "judged.json"
    results.unlink(missing_ok=True)
    options = [f"--json={results}", f"--html={folder / 'report.html'}"]
    if job.kind == "base":
        command = ["pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", job.nodeid]
        command += ["--nsys-update", f"--nsys-replay={recording}"]
        command += [f"--nsys-baseline-dir={baselines / job.name}"]
        options = [option.replace("--", "--nsys-", 1) for option in options]
    else:
        own = baselines / (job.base or "none")
        own.mkdir(parents=True, exist_ok=True)
        command = ["pytest_nsys", "judge", str(recording), f"--baseline-dir={own}"]
        command += ["--json-samples=true"]
        options += [f"--tolerance={job.metric}=5%"] if job.metric else []
    done = subprocess.run(
        [sys.executable, "-m", *command, *options],
        cwd=tests, capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    (folder / "judged.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if not results.exists():
        return None
    document: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    return document


def starts_of(job: Job, document: Mapping[str, Any]) -> Iterator[Start]:
    """The gated metrics of another start of a base."""
    environment = document["environment"]
    start = " ".join([environment["date"], *environment["gpu_digests"], job.name])
    for window, metric in _metrics(document):
        if metric["gated"] and metric["current"] is not None and metric["baseline"]:
            found = metric["detectable"]
            yield Start(
                *(job.base, start, window, metric["key"], metric["status"]),
                baseline=metric["baseline"],
                current=metric["current"],
                found_from=None if found is None else found / metric["baseline"],
                samples=[sample for process in metric["samples"] for sample in process],
            )


def knob_of(job: Job, document: Mapping[str, Any]) -> Knob:
    """What was seen of a job's change."""
    seen: dict[str, float | None] = {}
    worse: dict[str, list[str]] = {}
    for window, metric in _metrics(document):
        if metric["key"] == job.metric:
            known = metric["change"] is not None and metric["baseline"]
            seen[window] = metric["change"] / metric["baseline"] if known else None
        if metric["status"] == "regressed":
            worse.setdefault(window, []).append(metric["key"])
    expected = ", ".join(filter(None, (job.metric, job.culprit and f"/{job.culprit}/")))
    status = " ".join(test["status"] for test in document["tests"])
    date = document["environment"]["date"]
    return Knob(job.name, date, expected, status, seen, _culprit(job, document), worse)


def _metrics(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for test in document["tests"]:
        for window in test["windows"]:
            for metric in window["metrics"]:
                yield window["name"], metric


def _culprit(job: Job, document: Mapping[str, Any]) -> str:
    """Of the first window that has one; in those that last so long more may be more tokens."""
    for test in document["tests"] if job.culprit else []:
        for window in test["windows"]:
            for row in (row for breakdown in BREAKDOWNS for row in window[breakdown]):
                before, after = ((row[f"{when}count"] or 0) for when in ("baseline_", ""))
                took, takes = ((row[f"{when}total_ns"] or 0) for when in ("baseline_", ""))
                more = after > before or takes > _MORE * took
                if re.search(job.culprit, row["name"]) and more:
                    change = f"{before:g}x {took / 1e3:,.0f} us -> {after:g}x {takes / 1e3:,.0f} us"
                    return f"{cut(row['name'], 60, 40)}: {change}"
    return ""


# Tables


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(markdown_row(map(str, line)) for line in lines)


def same_rows(starts: Sequence[Start]) -> Iterator[list[object]]:
    """By base, window and metric: how often unchanged engines were said to be worse."""
    from scipy.stats import binomtest

    keys = sorted({(one.base, one.key, one.window) for one in starts})
    for base, key, window in keys:
        those = [one for one in starts if (one.base, one.key, one.window) == (base, key, window)]
        alarms = sum(one.status == "regressed" for one in those)
        interval = binomtest(alarms, len(those)).proportion_ci(0.95, method="exact")
        unclear = sum(one.status == "inconclusive" for one in those)
        low, high = (pick(one.current for one in those) for pick in (min, max))
        found = [one.found_from for one in those if one.found_from is not None]
        yield [
            *(base, key, window, f"{alarms} of {len(those)}"),
            f"{interval.low:.0%} to {interval.high:.0%}",
            *(f"{unclear} of {len(those)}", f"{high / low - 1:.1%}" if low else "-"),
            f"{median(found):.0%}" if found else "-",
        ]


def whole_rows(starts: Sequence[Start]) -> Iterator[list[object]]:
    """By base: how often a start as a whole was worse or undecided, with and without the metrics of
    clients."""
    for base in sorted({one.base for one in starts}):
        for gated, prefix in (("all", ""), ("without client.*", "client.")):
            verdicts: dict[str, set[str]] = {}
            for one in starts:
                if one.base == base and not (prefix and one.key.startswith(prefix)):
                    verdicts.setdefault(one.start, set()).add(one.status)
            worse = sum("regressed" in found for found in verdicts.values())
            unclear = sum(
                "inconclusive" in found and "regressed" not in found for found in verdicts.values()
            )
            yield [base, gated, len(verdicts), worse, unclear]


def knob_rows(knobs: Iterable[Knob]) -> Iterator[list[object]]:
    """What was expected of each change, what was seen, and what the gate said."""
    for knob in knobs:
        seen = (f"{value:+.1%}" if value is not None else "?" for value in knob.seen.values())
        worse = sorted({key for keys in knob.worse.values() for key in keys})
        yield [
            *(knob.name, prose(knob.expected) or "-", ", ".join(seen) or "-"),
            prose(knob.culprit) or "-",
            *(knob.status or "not measured", ", ".join(worse) or "-"),
        ]


def with_kept(
    kept: Path | None, starts: Sequence[Start], knobs: Sequence[Knob]
) -> tuple[list[Start], list[Knob]]:
    """The starts and knobs, and before them those that a file of results has of others."""
    if kept is None or not kept.exists():
        return [*starts], [*knobs]
    before = json.loads(kept.read_text(encoding="utf-8"))
    again, names = {one.start for one in starts}, {one.name for one in knobs}
    other_starts = (Start(**one) for one in before["same"] if one["start"] not in again)
    other_knobs = (Knob(**one) for one in before["knobs"] if one["name"] not in names)
    return [*other_starts, *starts], [*other_knobs, *knobs]


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("outs", metavar="OUT", type=Path, nargs="+", help="what a step has packed")
    parser.add_argument("--to", type=Path, required=True, help="folder of what is judged")
    parser.add_argument("--results", type=Path, help="keep the figures as JSON")
    parser.add_argument("--tests", type=Path, default=EXAMPLES / "engines", help="(%(default)s)")
    parser.add_argument("--jobs", type=Path, default=HERE / "jobs.py", help="(%(default)s)")
    given = parser.parse_args()
    to = given.to.resolve()
    unpack((part for out in given.outs for part in sorted(out.glob("results-*.tar"))), to / "jobs")

    starts: list[Start] = []
    knobs: list[Knob] = []
    failed: list[list[object]] = []
    seconds: list[list[object]] = []
    environment = None
    # Bases first: the others are judged against them.
    for job in sorted(jobs_of(given.jobs), key=lambda job: job.kind != "base"):
        folder = to / "jobs" / job.name
        if not (folder / "outcome.json").exists():
            continue
        outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        if not outcome["code"] and (parts := outcome.get("parts")):
            said = ", ".join(f"{part} {took:.1f}" for part, took in parts.items())
            seconds.append([job.name, job.processes, job.caches, f"{outcome['seconds']:.0f}", said])
        document = judge(job, folder, to / "baselines", given.tests)
        if outcome["code"] or document is None or document["unmeasured"]:
            failed.append([job.name, outcome["code"], outcome["note"] or "-", folder / "log"])
        if document is None or not document["environment"]:  # nothing was measured
            continue
        environment = environment or document["environment"]
        if job.kind == "same":
            starts += starts_of(job, document)
        elif job.kind != "base":
            knobs.append(knob_of(job, document))

    starts, knobs = with_kept(given.results, starts, knobs)
    tables = ((SAME, same_rows(starts)), (WHOLE, whole_rows(starts)), (KNOBS, knob_rows(knobs)))
    tables = (*tables, (SECONDS, seconds))
    print(*(table(head, rows) for head, rows in tables), sep="\n\n")
    if failed:
        print("", table(("not measured as a whole", "exit code", "", "log"), failed), sep="\n")
    if given.results:
        lines = [f"  {json.dumps(asdict(one))}" for one in starts]
        text = json.dumps({"environment": environment, "knobs": knobs}, indent=1, default=asdict)
        text = text.removesuffix("\n}") + ',\n "same": [\n' + ",\n".join(lines) + "\n ]\n}\n"
        given.results.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
