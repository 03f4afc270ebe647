"""Runs the real gate again and again, and keeps every sample: is what it says true?

Runs on a machine with a GPU, nsys, PyTorch and the plugin installed::

    python benchmarks/verdicts/study.py --phase record --phase steady --out OUT --deadline 540

Phases, in this order, each only where it is asked for (baselines that are missing are recorded
before any other phase):

    record    measure the pilot (how long kernels and spins take), then record the baselines of the
              tests that do not change, in three processes, as ``pytest --nsys-update`` does; the
              tests with a change are given the baseline of the unchanged test they belong to
    steady    ``pytest --nsys-baseline`` of the tests that do not change, until the deadline
    changed   the same of those with a change

After each run one line of JSON goes to ``OUT/samples.jsonl``, so that a study may be ended at any
moment. `rates.py` makes the published tables of these files.

A line is ``{"kind": "about" | "baseline" | "run" | "problem", ...}``: "about" says where it was
measured; "baseline" holds what the runs after it were compared with, ``{"tests": {nodeid: {metric:
processes}}}``; "run" has its number, phase, seconds and ``{"tests": {nodeid: {"status", "metrics",
"changed", "note"}}}``, where "metrics" are the samples by process and "changed" the exact metrics
that differ, each [then, now].
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.storage.baselines import BaselineStore

KEPT = ("gpu.kernel_time", "gpu.kernel_count", "wall.time", "gpu.sm_clock")
"""The metrics whose samples are kept."""

PHASES = ("record", "steady", "changed")
STEADY = "steady or unchanged"
CHANGED = "slower or changed and not unchanged"
PILOT = "pilot or spin"

_ONE_RUN_S = 300.0
_GRACE_S = 20.0
_SLACK = 1.15
_MOST_PROBLEMS = 3
_MOST_LOST = 0.1
_PILOT = re.compile(r"::test_pilot\[(\w+)\]$")
_SPIN = re.compile(r"::test_spin\[(\d+)\]$")
_CHANGE = re.compile(r"^(?P<file>.*)::test_(?P<how>slower|changed)\[(?P<inner>.+)\]$")


class StudyError(Exception):
    """The study cannot go on; says why."""


# What the runs say


def base_of(nodeid: str) -> str:
    """The unchanged test that a test with a change is compared with.

    Raises:
        ValueError: the test is none with a change.
    """
    match = _CHANGE.match(nodeid)
    if match is None:
        raise ValueError(f"{nodeid} is no test with a change")
    parts = match["inner"].split("-")
    tolerance = parts[1] if match["how"] == "slower" else "3%"
    return f"{match['file']}::test_unchanged[{parts[0]}-{tolerance}]"


def nominal(document: Mapping[str, Any]) -> dict[str, Any]:
    """Kernel times by workload and the clock, from the results of the pilot's tests.

    The clock is the slope between spins of different lengths, in which the fixed cost of a kernel
    cancels out.

    Raises:
        StudyError: something was not measured.
    """
    kernels: dict[str, float] = {}
    spins: dict[int, float] = {}
    for test in document["tests"]:
        value = _current(test, "gpu.kernel_time")
        workload, spin = _PILOT.search(test["nodeid"]), _SPIN.search(test["nodeid"])
        if workload and value:
            kernels[workload[1]] = value
        elif spin and value:
            spins[int(spin[1])] = value
    if not kernels or len(spins) < 2:
        missing = [f"{one['nodeid']}: {one['reason']}" for one in document["unmeasured"]]
        raise StudyError("\n".join(["the pilot measured too little", *missing]))
    short, long = min(spins), max(spins)
    return {"kernel_ns": kernels, "cycles_per_ns": (long - short) / (spins[long] - spins[short])}


def _metrics(test: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The metrics of the test's own window."""
    for window in test["windows"][:1]:
        yield from window["metrics"]


def _current(test: Mapping[str, Any], key: str) -> float | None:
    return next((m["current"] for m in _metrics(test) if m["key"] == key), None)


def summary(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is kept of a run's results, by node id: see the module's description of a line."""
    found: dict[str, dict[str, Any]] = {}
    for test in document["tests"]:
        kept: dict[str, Any] = {
            "status": test["status"],
            "metrics": {
                m["key"]: _rounded(m["samples"]) for m in _metrics(test) if m["key"] in KEPT
            },
        }
        changed = {
            m["key"]: [m["baseline"], m["current"]]
            for m in _metrics(test)
            if m["kind"] == "exact" and m["gated"] and m["baseline"] != m["current"]
        }
        statuses = {
            m["key"]: m["status"] for m in _metrics(test) if m["gated"] and m["status"] != "ok"
        }
        if changed:
            kept["changed"] = changed
        if statuses:
            kept["statuses"] = statuses
        if test["status"] != "ok" or test["notes"]:
            kept["note"] = "; ".join([test["headline"], *test["notes"]])[:300]
        found[test["nodeid"]] = kept
    for one in document["unmeasured"]:
        found[one["nodeid"]] = {"status": "unmeasured", "note": one["reason"][:300], "metrics": {}}
    return found


def is_measured(test: Mapping[str, Any]) -> bool:
    """Whether what is kept of a test has kernels in all its rounds."""
    processes = test["metrics"].get("gpu.kernel_time", [])
    return any(processes) and all(all(process) for process in processes)


def _rounded(processes: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[round(value) for value in process] for process in processes]


def samples_of(baseline: Measurement) -> dict[str, list[list[float]]]:
    """The kept metrics of a baseline, by process."""
    window = next(iter(baseline.windows.values()))
    return {key: _rounded(window.by_process(key)) for key in KEPT if window.by_process(key)}


# The samples file


class Samples:
    """A file of JSON lines that grows by whole lines.

    A line that a kill cut off in the middle is ended, and readers leave it out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        if before and not before.endswith(b"\n"):
            self._write("\n")

    def append(self, kind: str, **fields: Any) -> None:
        """Add one line, which is on the disk when this returns."""
        self._write(json.dumps({"kind": kind, **fields}, separators=(",", ":")) + "\n")

    def _write(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def read_lines(text: str) -> Iterator[dict[str, Any]]:
    """The lines of a samples file that are whole."""
    for line in text.splitlines():
        try:
            data = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(data, dict):
            yield data


# Running pytest


@dataclass(frozen=True)
class Ran:
    """One run of pytest: its results, its exit code, how long it took, the end of its output."""

    document: dict[str, Any]
    code: int
    seconds: float
    tail: str


class Study:
    """The suite in a folder of its own, and the runs made there."""

    def __init__(self, suite: Path, work: Path, samples: Samples, deadline_s: float) -> None:
        self.samples = samples
        self._file = suite.name
        self._work = work
        self._ends = time.monotonic() + deadline_s
        self._nominal = work / "nominal.json"
        self._recorded = work / "recorded"
        self._store = BaselineStore(work / "baselines")
        work.mkdir(parents=True, exist_ok=True)
        for path in {suite, *suite.parent.glob("workloads.py")}:
            shutil.copy(path, work / path.name)
        if not (work / "pytest.ini").exists():
            (work / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self._ends - time.monotonic()

    def pytest(self, *arguments: str) -> Ran:
        """Run pytest on the suite.

        Raises:
            StudyError: there are no results, or the deadline came first.
        """
        results = self._work / "results.json"
        results.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short"]
        command += [self._file, f"--nsys-json={results}", *arguments]
        environment = {**os.environ, "VERDICTS_NOMINAL": str(self._nominal)}
        began = time.monotonic()
        code, output = _run(command, self._work, environment, min(_ONE_RUN_S, self.left_s))
        seconds = round(time.monotonic() - began, 2)
        tail = output[-3000:]
        if not results.exists():
            raise StudyError(f"exit code {code} after {seconds} s, and no results\n{tail}")
        document: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
        return Ran(document, code, seconds, tail)

    # Phases

    def record(self) -> None:
        """Measure the pilot and record the baselines; tell of tests that do not work."""
        self._recorded.unlink(missing_ok=True)
        pilot = self.pytest("--nsys", "-k", PILOT)
        self._nominal.write_text(json.dumps(nominal(pilot.document), indent=1), encoding="utf-8")
        shutil.copy(self._nominal, self.samples.path.parent / "nominal.json")
        print(f"pilot: {pilot.seconds} s; {self._nominal.read_text()}", flush=True)
        ran = self.pytest("--nsys-update", "-k", STEADY)
        print(f"baselines: {len(ran.document['baselines_written'])} in {ran.seconds} s", flush=True)
        missing = [f"{one['nodeid']}: {one['reason']}" for one in ran.document["unmeasured"]]
        if missing or not ran.document["baselines_written"]:
            # A test that fails may leave a GPU on which none after it can run.
            raise StudyError("\n".join(["not all was recorded", *missing, ran.tail]))
        self.samples.append("about", **self._about(ran.document), record_s=ran.seconds)
        for nodeid in self._collected(CHANGED):
            self._copy_baseline(base_of(nodeid), nodeid)
        self._recorded.touch()

    def _copy_baseline(self, base: str, nodeid: str) -> None:
        for device in self._store.devices(base):
            found = self._store.read(device, base)
            if found is not None:
                self._store.write(replace(found, nodeid=nodeid))

    def _about(self, document: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "date": datetime.date.today().isoformat(),
            "environment": document["environment"],
            "nominal": json.loads(self._nominal.read_text(encoding="utf-8")),
        }

    def ready(self) -> bool:
        """Whether there are baselines, all of them."""
        return self._recorded.exists()

    def _collected(self, keyword: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q"]
        environment = {**os.environ, "VERDICTS_NOMINAL": str(self._nominal)}
        _, output = _run([*command, self._file, "-k", keyword], self._work, environment, 120.0)
        return [line for line in output.splitlines() if "::" in line and line.endswith("]")]

    def repeat(self, phase: str, most: int) -> None:
        """Run the gate until the deadline, or so often."""
        keyword = STEADY if phase == "steady" else CHANGED
        # Each file of samples is complete: what it was compared with is in it.
        baselines = self._store.matching(self._file)
        tests = {one.nodeid: samples_of(one) for one in baselines if _is_base(one.nodeid)}
        self.samples.append("baseline", tests=tests)
        longest, problems, number = 0.0, 0, 0
        while number < most and self.left_s > longest * _SLACK + _GRACE_S:
            try:
                ran = self.pytest("--nsys-baseline", "-k", keyword)
            except StudyError as error:
                self.samples.append("problem", phase=phase, run=number, text=str(error)[-2000:])
                print(f"{phase} run {number}: {error}", flush=True)
                problems += 1
                if problems == _MOST_PROBLEMS:
                    return
                continue
            tests = summary(ran.document)
            lost = sum(not is_measured(test) for test in tests.values())
            self.samples.append(
                "run",
                phase=phase,
                run=number,
                code=ran.code,
                seconds=ran.seconds,
                parts=ran.document["seconds"],
                tests=tests,
            )
            longest = max(longest, ran.seconds)
            counts = ran.document["counts"]
            shown = ", ".join(f"{counts[s]} {s}" for s in counts if counts[s])
            print(f"{phase} run {number}: {ran.seconds} s; {shown}", flush=True)
            if lost > _MOST_LOST * len(tests):
                raise StudyError(f"{lost} of {len(tests)} tests have no samples\n{ran.tail}")
            number += 1


def _is_base(nodeid: str) -> bool:
    return "::test_steady[" in nodeid or "::test_unchanged[" in nodeid


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, str]:
    """Run a command; one that takes too long is interrupted, and killed if that does not help.

    Raises:
        StudyError: it took too long.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(max(1.0, timeout_s))
            late = False
        except BaseException as error:
            _end(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            late = True
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if late:
        raise StudyError(f"ended after {timeout_s:.0f} s\n{text[-2000:]}")
    return process.returncode, text


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would: the plugin ends nsys and the worker; what is left after that is killed."""
    try:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(_GRACE_S)
    except (subprocess.TimeoutExpired, ProcessLookupError):
        with_children = process.poll() is None
        if with_children:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# The table


def table(lines: Iterable[Mapping[str, Any]]) -> str:
    """Decisions, alarms and detections so far, a line for each kind of test."""
    groups: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {}
    for line in lines:
        if line["kind"] != "run":
            continue
        seconds.setdefault(line["phase"], []).append(line["seconds"])
        for nodeid, test in line["tests"].items():
            groups.setdefault(group_of(nodeid), []).append(test["status"])
    rows = [f"{'':<24}{'tests':>7}{'regressed':>11}{'inconcl.':>10}{'improved':>10}{'other':>7}"]
    for name in sorted(groups, key=lambda g: (not g.startswith("A/A"), g)):
        found = groups[name]
        counts = [found.count(s) for s in ("regressed", "inconclusive", "improved")]
        other = len(found) - sum(counts) - found.count("ok")
        rows.append(
            f"{name:<24}{len(found):>7}{counts[0]:>11}{counts[1]:>10}{counts[2]:>10}{other:>7}"
        )
    for phase, taken in seconds.items():
        rows.append(f"{phase}: {len(taken)} runs, {sum(taken) / len(taken):.1f} s each")
    return "\n".join(rows)


def group_of(nodeid: str) -> str:
    """What a test is an example of: "A/A", "A/A at 1%", "+2% at 1%", or the kind of change."""
    name, _, inner = nodeid.partition("::test_")[2].rstrip("]").partition("[")
    parts = inner.split("-")
    if name == "steady":
        return "A/A"
    if name == "unchanged":
        return f"A/A at {parts[1]}"
    if name == "slower":
        return f"+{parts[2]:>3} at {parts[1]}"
    return f"one more {parts[1]}" if parts[1] != "memory" else "+32 MiB"


def main() -> int:
    """Run the phases that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--phase", action="append", choices=PHASES, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for samples.jsonl")
    parser.add_argument("--deadline", type=float, default=540.0, help="seconds for everything")
    parser.add_argument("--runs", type=int, default=10_000, help="at most so many of each phase")
    parser.add_argument(
        "--suite", type=Path, default=Path(__file__).with_name("test_work.py"), help="the tests"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "verdicts",
        help="folder for the suite and its baselines, kept between calls",
    )
    options = parser.parse_args()
    samples = Samples(options.out / "samples.jsonl")
    study = Study(options.suite.resolve(), options.work.resolve(), samples, options.deadline)
    try:
        if "record" in options.phase or not study.ready():
            study.record()
        for phase in PHASES[1:]:
            if phase in options.phase:
                study.repeat(phase, options.runs)
    except StudyError as error:
        samples.append("problem", text=str(error)[-2000:])
        print(error)
        return 1
    finally:
        print(table(read_lines(samples.path.read_text() if samples.path.exists() else "")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
