"""Does the gate agree with CUDA events about a public library's own performance fixes?

    python -m benchmarks.public_library prepare CLONE FOLDER    # of Liger-Kernel; needs no GPU
    python -m benchmarks.public_library run FOLDER --out benchmarks/results

Each change is one that its authors call a performance fix, with figures (`CHANGES`). ``prepare``
lays the library's sources of the commit and of the one before it side by side: some 3 MB, of which
nothing is kept here. ``run``, on a machine with a GPU, nsys, PyTorch and Triton, times the same
function of both with CUDA events, in processes of their own that take turns, and has the gate
compare them in both directions (``--nsys-against``): forwards the fix is to be found, backwards it
is a regression with a kernel that is to blame. It exits with 1 where a change is missed, or where
the gate's ratio is not that of the events, within `AGREE`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.judge_cost import surroundings

AGREE = 0.05
TURNS = 3


@dataclass(frozen=True)
class Change:
    """A commit that makes a function faster.

    Attributes:
        commit: of Liger-Kernel (github.com/linkedin/Liger-Kernel).
        claim: what its authors say.
        kernel: part of the name of the kernel that they changed.
        work: source of a function ``prepare()`` that returns what is measured.
    """

    commit: str
    claim: str
    kernel: str
    work: str


CHANGES = {
    "fused_add_rms_norm backward": Change(
        "b7025a70",
        "registers 115 -> 95, up to 1.7 times faster at 16384 (H100)",
        "fused_add_rms_norm_backward",
        """
        from liger_kernel.ops.fused_add_rms_norm import LigerFusedAddRMSNormFunction as Norm

        def prepare():
            x, r, dy, ds = (
                torch.randn(4096, 16384, device="cuda", dtype=torch.bfloat16) for _ in range(4)
            )
            w = torch.ones(16384, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            x.requires_grad_(), r.requires_grad_()
            y, s = Norm.apply(x, r, w, 1e-6, 0.0, "llama", False)
            return lambda: torch.autograd.grad([y, s], [x, r, w], [dy, ds], retain_graph=True)
        """,
    ),
    "group_norm forward": Change(
        "dea3a772",
        "2 times faster (H100)",
        "group_norm_forward",
        """
        from liger_kernel.ops.group_norm import group_norm_forward

        def prepare():
            x = torch.randn(128, 1024, 512, device="cuda")
            w, b = torch.ones(1024, device="cuda"), torch.zeros(1024, device="cuda")
            return lambda: group_norm_forward(x, 1024, 256, w, b, 1e-6)
        """,
    ),
    "cross_entropy, bf16": Change(
        "8832b2e7",
        "-13.9 % at 8192 x 128256 (H100)",
        "cross_entropy",
        """
        from liger_kernel.ops.cross_entropy import cross_entropy_forward

        def prepare():
            logits = torch.randn(8192, 128256, device="cuda", dtype=torch.bfloat16)
            logits.requires_grad_()
            target = torch.randint(128256, (8192,), device="cuda")
            more = (None, -100, 0.0, 0.0, "mean", None, False)
            def one():
                with torch.no_grad():
                    return cross_entropy_forward(logits, target, *more)
            return one
        """,
    ),
}

WORK = "import torch\n"
TIMED = """
import statistics
import torch
from work import prepare

work = prepare()
for _ in range(20):
    work()
times = []
for _ in range(20):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(10):
        work()
    end.record()
    torch.cuda.synchronize()
    times.append(begin.elapsed_time(end) / 10)
print(statistics.median(times) * 1e6)
"""
TEST = """
import pytest


@pytest.fixture
def work():
    from work import prepare

    return prepare()


@pytest.mark.nsys(warmup=5, rounds=10)
def test_work(work):
    work()
"""


def prepare(repository: Path, folder: Path) -> None:
    """Write ``FOLDER/CHANGE/before`` and ``after``: the library there, and what is measured."""
    for name, change in CHANGES.items():
        for side, revision in (("before", f"{change.commit}~1"), ("after", change.commit)):
            place = folder / _folder(name) / side
            place.mkdir(parents=True)
            command = ["git", "-C", str(repository), "archive", revision, "src/liger_kernel"]
            packed = subprocess.run(command, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(place, filter="data")
            (place / "work.py").write_text(WORK + textwrap.dedent(change.work))
            (place / "timed.py").write_text(TIMED)
            (place / "test_work.py").write_text(TEST)
            (place / "pytest.ini").write_text("[pytest]\npythonpath = src .\n")
            # The gate compares working trees of git.
            git = ["git", "-C", str(place), "-c", "user.name=-", "-c", "user.email=-"]
            for words in (["init", "-q"], ["add", "."], ["commit", "-qm", revision]):
                subprocess.run([*git, *words], check=True)


def _folder(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


@dataclass(frozen=True)
class Found:
    """What came of a change.

    Attributes:
        name: of the change.
        commit: of the library.
        claim: of its authors.
        events_ns: by CUDA events, of a call, before and after; of each process.
        gate_ns: kernel time of a round, before and after, as the gate has it.
        forwards: the gate's verdict on the change.
        backwards: that on taking it back.
        culprit: the kernel that takes longest then, and how it changed.
    """

    name: str
    commit: str
    claim: str
    events_ns: tuple[tuple[float, ...], tuple[float, ...]]
    gate_ns: tuple[float, float]
    forwards: str
    backwards: str
    culprit: str

    @property
    def events_ratio(self) -> float:
        """After over before, by CUDA events."""
        before, after = map(statistics.median, self.events_ns)
        return after / before

    @property
    def gate_ratio(self) -> float:
        """After over before, by the gate."""
        return self.gate_ns[1] / self.gate_ns[0]

    @property
    def agrees(self) -> bool:
        """Whether both find the change, and find it as large."""
        found = (self.forwards, self.backwards) == ("improved", "regressed")
        return found and abs(self.gate_ratio / self.events_ratio - 1) <= AGREE


def run(name: str, change: Change, folder: Path) -> Found:
    """Time both, and have the gate compare them in both directions."""
    places = [folder / _folder(name) / side for side in ("before", "after")]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            times[side].append(_timed(places[side]))
    forwards = _gate(places[1], places[0])
    backwards = _gate(places[0], places[1])
    time_ns = _kernel_time(forwards)
    culprits = _kernel_time(backwards).get("culprits", [])
    culprit = next((one for one in culprits if change.kernel in one["label"]), None)
    return Found(
        *(name, change.commit, change.claim),
        (tuple(times[0]), tuple(times[1])),
        (time_ns["baseline"], time_ns["current"]),
        *(forwards["status"], backwards["status"]),
        "" if culprit is None else f"{culprit['label']} {culprit['change'] / 1e3:+,.1f} us",
    )


def _timed(place: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_paths(place))}
    command = [sys.executable, "timed.py"]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{place}: {done.stderr[-1000:]}")
    return float(done.stdout)


def _paths(place: Path) -> Iterator[str]:
    yield str(place / "src")
    yield from filter(None, [os.environ.get("PYTHONPATH", "")])


def _gate(place: Path, against: Path) -> Mapping[str, Any]:
    """The test in the results of the gate."""
    results = place / "results.json"
    results.unlink(missing_ok=True)
    options = [f"--nsys-against={against.resolve()}", f"--nsys-json={results.resolve()}"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    tests = json.loads(results.read_text())["tests"] if results.exists() else []
    if not tests:
        raise SystemExit(f"{place}: {(done.stdout + done.stderr)[-2000:]}")
    (place / "said.txt").write_text(done.stdout, encoding="utf-8")
    found: Mapping[str, Any] = tests[0]
    return found


def _kernel_time(test: Mapping[str, Any]) -> Mapping[str, Any]:
    metrics = test["windows"][0]["metrics"]
    found: Mapping[str, Any] = next(one for one in metrics if one["key"] == "gpu.kernel_time")
    return found


def lines(found: Sequence[Found]) -> Iterator[str]:
    """The table."""
    yield f"{'change':28} {'events':>15} {'gate':>15}  {'forwards':9} {'backwards':10} agrees"
    for one in found:
        events, gate = (f"{ratio:.3f}" for ratio in (one.events_ratio, one.gate_ratio))
        agrees = "yes" if one.agrees else "NO"
        verdicts = f"{one.forwards:9} {one.backwards:10}"
        yield f"{one.name:28} {events:>15} {gate:>15}  {verdicts} {agrees}"
        yield f"  {one.commit}: {one.claim}; taken back: {one.culprit or 'NO CULPRIT'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    preparing = steps.add_parser("prepare")
    preparing.add_argument("repository", type=Path)
    preparing.add_argument("folder", type=Path)
    running = steps.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.step == "prepare":
        prepare(given.repository, given.folder)
        return 0
    found = [run(name, change, given.folder) for name, change in CHANGES.items()]
    print("\n".join(lines(found)))
    if given.out:
        results = {**surroundings("torch", "triton"), "changes": [asdict(one) for one in found]}
        text = json.dumps(results, indent=1) + "\n"
        (given.out / "public_library.json").write_text(text, encoding="utf-8")
    return int(not all(one.agrees and one.culprit for one in found))


if __name__ == "__main__":
    sys.exit(main())
