"""Records the suites on a machine with a GPU, and has the gate judge each of them, broken too.

    python examples/record.py --out DIR

A baseline of every suite; two runs of the gate over the same code, which have to pass; and one in
which every test makes its slip (EXAMPLES_REGRESSION=1), which has to fail each by its culprit. The
first gate and the one with slips are recorded, and both recordings are judged once more, as on a
machine without a GPU. In DIR are then ``baselines`` and ``recordings``, to be copied to the
suites' folder, a page of each of the two, and what all runs printed. The exit code is 0 if
everything was as it has to be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
RUN_TIMEOUT_S = 400
TAIL = 30
"""Lines of what a run printed that are shown where it measured nothing."""


@dataclass(frozen=True)
class Slip:
    """A mistake of a test.

    Attributes:
        what: it is, in a few words.
        culprits: what the gate has to name: metrics that got worse, or patterns of the marker.
    """

    what: str
    culprits: frozenset[str]


def _slip(what: str, *culprits: str) -> Slip:
    return Slip(what, frozenset(culprits))


SLIPS: Mapping[str, Mapping[str, Slip]] = {
    "suites": {
        "test_attention.py::test_attention": _slip("single precision", "*flash*"),
        "test_attention.py::test_head": _slip("vocabulary not padded", "gpu.kernel_time"),
        "test_compile.py::test_gated_norm": _slip("graph break", "gpu.kernel_count", "sync.count"),
        "test_cupy.py::test_transpose": _slip("uncoalesced stores", "gpu.kernel_time"),
        "test_data_loader.py::test_input": _slip("pageable memory", "memcpy.pageable"),
        "test_decode.py::test_decode": _slip("no CUDA graph", "cudaGraphLaunch"),
        "test_jax.py::test_step": _slip("no jit", "gpu.kernel_count"),
        "test_jax.py::test_prediction": _slip("weights on the host", "memcpy.h2d.bytes"),
        "test_training.py::test_training": _slip("loss.item()", "sync.count", "memcpy.d2h.count"),
        "test_triton.py::test_rms_norm": _slip("uncoalesced loads", "gpu.kernel_time"),
    },
    "two_gpus": {
        "test_nccl.py::test_gradients": _slip("one stream", "nccl.exposed"),
    },
}


@dataclass(frozen=True)
class Gate:
    """What a run of the gate said.

    Attributes:
        code: pytest's exit code.
        said: of each measured test, what was named where it failed: metrics, and demands in words.
        failed: the tests that failed.
        headlines: of each measured test, the verdict in a line.
        skipped: why tests were not measured.
    """

    code: int
    said: Mapping[str, frozenset[str]] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    headlines: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def read_gate(code: int, results: Path) -> Gate:
    """A gate's exit code and what it wrote with ``--nsys-json``."""
    if not results.exists():
        return Gate(code)
    document = json.loads(results.read_text(encoding="utf-8"))
    tests = document["tests"]
    return Gate(
        code,
        {test["nodeid"]: frozenset(_named(test)) for test in tests},
        frozenset(test["nodeid"] for test in tests if test["failed"]),
        {test["nodeid"]: test["headline"] for test in tests},
        {test["nodeid"]: test["reason"] for test in document["unmeasured"]},
    )


def _named(test: Mapping[str, Any]) -> Iterator[str]:
    for window in test["windows"]:
        for metric in window["metrics"]:
            if metric["status"] == "regressed":
                yield metric["key"]
    for demand in test["demands"]:
        yield demand["text"]


def missed(slip: Slip, said: frozenset[str]) -> list[str]:
    """The culprits of a slip that the gate has not named."""
    return sorted(one for one in slip.culprits if not any(one in text for text in said))


class Suite:
    """The tests of a folder of examples, their baselines, and a folder for what runs print."""

    def __init__(self, name: str, out: Path, baselines: Path) -> None:
        self.slips = SLIPS[name]
        self._folder = EXAMPLES / name
        self._out = out
        self._baselines = baselines
        self._runs = 0
        self._log = out

    def run(self, what: str, *options: str, slips: bool = False) -> Gate:
        """Run pytest; what it prints is kept in the folder."""
        self._runs += 1
        name = f"{self._runs}-{what.replace(' ', '-')}"
        results, self._log = self._out / f"{name}.json", self._out / f"{name}.txt"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v"]
        command += [f"--nsys-baseline-dir={self._baselines}", f"--nsys-json={results}"]
        environment = {**os.environ, "EXAMPLES_REGRESSION": "1" if slips else "0"}
        start = time.monotonic()
        print(f"{what} ...", end=" ", flush=True)
        with self._log.open("w", encoding="utf-8") as stream:
            try:
                code = subprocess.run(
                    [*command, *options],
                    cwd=self._folder,
                    env=environment,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    timeout=RUN_TIMEOUT_S,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
        print(f"{time.monotonic() - start:.0f} s, exit code {code}", flush=True)
        return read_gate(code, results)

    def printed(self) -> list[str]:
        """What the latest run printed."""
        return self._log.read_text(encoding="utf-8").splitlines()

    def device(self) -> str:
        """What recordings are called: the device that there are baselines of, as ``h200``."""
        devices = sorted(path.name for path in self._baselines.glob("*") if path.is_dir())
        return devices[0].removeprefix("nvidia-") if devices else "none"


def wrong_of_unchanged(suite: Suite, gates: Mapping[str, Gate]) -> Iterator[str]:
    """What is wrong with gates over code that has no slip."""
    for what, gate in gates.items():
        if gate.code != 0:
            yield f"{what}: exit code {gate.code}"
        for test in suite.slips:
            if test in gate.failed:
                yield f"{what}: {test} failed: {gate.headlines[test]}"
            elif test not in gate.said:
                yield _unmeasured(what, gate, test)


def _unmeasured(what: str, gate: Gate, test: str) -> str:
    return f"{what}: {test} was not measured: {gate.skipped.get(test, 'see what was printed')}"


def wrong_of_slips(suite: Suite, gates: Mapping[str, Gate]) -> Iterator[str]:
    """What is wrong with gates over code in which every test has its slip."""
    for what, gate in gates.items():
        for test, slip in suite.slips.items():
            unnamed = missed(slip, gate.said.get(test, frozenset()))
            if test not in gate.said:
                yield _unmeasured(what, gate, test)
            elif test not in gate.failed:
                yield f"{what}: {test} passed, with {slip.what}"
            elif unnamed:
                yield f"{what}: {test} failed, but not by {' and '.join(unnamed)}"


def table(suite: Suite, unchanged: Gate, broken: Gate) -> list[str]:
    """A line for each test, and one below it with what the gate said of its slip."""
    rows = [("test", "unchanged", "slip", "to be caught by", "")]
    for test, slip in suite.slips.items():
        passed = test in unchanged.said and test not in unchanged.failed
        caught = test in broken.failed and not missed(slip, broken.said[test])
        rows.append(
            (
                test,
                "passed" if passed else "FAILED",
                slip.what,
                ", ".join(sorted(slip.culprits)),
                "caught" if caught else "NOT CAUGHT",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if row[0] in broken.headlines:
            lines.append(f"    {broken.headlines[row[0]]}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Record, judge, and say what came of it; returns how many things are wrong, at most 100."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="where all is written to")
    parser.add_argument("--suites", choices=sorted(SLIPS), default="suites", help="(suites)")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        parser.error(f"--out: {out} is not empty")
    suite = Suite(options.suites, out, out / "baselines")

    baselines = suite.run("baselines", "--nsys-update")
    if baselines.code not in (0, 1):
        print(*suite.printed()[-TAIL:], sep="\n")
        return 1
    name = suite.device()
    right, slips = (out / "recordings" / one for one in (name, f"{name}-slips"))
    gate = "--nsys-baseline"
    unchanged = {
        "baselines": baselines,
        "gate": suite.run("gate", gate, f"--nsys-record={right}", f"--nsys-html={out}/gate.html"),
        "second gate": suite.run("second gate", gate),
        "replay": suite.run("replay", gate, f"--nsys-replay={right}"),
    }
    recorded = ["-o", "nsys_confirm=0", f"--nsys-record={slips}", f"--nsys-html={out}/slips.html"]
    broken = {
        "slips": suite.run("slips", gate, *recorded, slips=True),
        "replay of slips": suite.run("replay of slips", gate, f"--nsys-replay={slips}"),
    }

    print("", *table(suite, unchanged["gate"], broken["slips"]), "", sep="\n")
    wrong = [*wrong_of_unchanged(suite, unchanged), *wrong_of_slips(suite, broken)]
    print("\n".join(wrong) or "As it should be: what was not changed passed, each slip was caught.")
    kept = sum(path.stat().st_size for path in (out / "recordings").rglob("*") if path.is_file())
    print(f"recordings: {kept / 1e6:.2f} MB in {out / 'recordings'}")
    return min(len(wrong), 100)


if __name__ == "__main__":
    raise SystemExit(main())
