"""How often ``pytest-nsys bisect`` finds the commit that made a test slower, and in how many runs.

    python -m benchmarks.which_commit --out benchmarks/results    # drawn: needs nothing
    python -m benchmarks.which_commit --simulated 1               # needs nothing but some minutes
    python -m benchmarks.which_commit --gpu                       # GPU, PyTorch, nsys

Histories of 61 commits (60 suspects) are made with git, one of which makes a kernel slower; it is
another one each time. The search is the real one, with git bisect and the gate's statistics. What a
commit measures is drawn: processes scatter by so much about the true time, and rounds by half of
that about their process. ``--simulated`` searches with pytest, a stand-in for nsys and a simulated
GPU that scatters likewise, ``--gpu`` with the real ones: there, kernels of PyTorch become slower by
4 %, which has to be found within eight runs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.judge_cost import surroundings
from tests.simgpu.standin import write_standin
from tests.support.commits import make_history, work
from tests.support.drawn_bench import drawn_search
from tests.support.harness import SIMGPU
from tests.support.quick_python import kernels

COMMITS = 61
TORCH = """
import torch

N = 1 << 26
x = torch.ones(N + N // 8, device="cuda")

def work():
    for _ in range(20):
        x[: int(N * {size})].mul_(1.0)
"""


@dataclass(frozen=True)
class Story:
    """What happens in a history.

    Attributes:
        name: in the table.
        slower: by what share one commit makes the kernel slower.
        noise: of processes, as a share.
        broken: the share of commits that cannot be measured.
        drift: by what share the others together make it slower.
    """

    name: str
    slower: float
    noise: float = 0.003
    broken: float = 0.0
    drift: float = 0.0


STORIES = (
    Story("+4 %", 0.04),
    Story("+4 %, 15 % of the commits broken", 0.04, broken=0.15),
    Story("+4 %, and +1 % in small parts", 0.04, drift=0.01),
    Story("+4 %, processes scatter by 0.6 %", 0.04, noise=0.006),
    Story("+14 %", 0.14),
    Story("nothing", 0.0),
)


@dataclass
class Tally:
    """What became of the searches in one story.

    Attributes:
        searches: all.
        found: those that named the right commit.
        among: those that named several, with the right one among them.
        uncertain: those that named the right one and could not confirm it.
        wrong: those that named another one, or several others.
        not_worse: those that found no change between GOOD and BAD.
        runs: of pytest, in all.
        most_runs: in a search that found the commit.
    """

    searches: int = 0
    found: int = 0
    among: int = 0
    uncertain: int = 0
    wrong: int = 0
    not_worse: int = 0
    runs: int = 0
    most_runs: int = 0


def main() -> int:
    """Search, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--searches", type=int, default=200, help="of each story")
    parser.add_argument("--simulated", type=int, default=0, metavar="N")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="which-commit-") as folder:
        if arguments.gpu:
            return _with_gpu(Path(folder))
        if arguments.simulated:
            return max(_simulated(Path(folder) / str(n)) for n in range(arguments.simulated))
        tallies = {one.name: _tally(one, Path(folder), arguments.searches) for one in STORIES}
    if arguments.out:
        document = {**surroundings(), "stories": {k: asdict(v) for k, v in tallies.items()}}
        path = arguments.out / "which_commit.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _tally(story: Story, folder: Path, searches: int) -> Tally:
    dice, tally = random.Random(0), Tally()
    for number in range(searches):
        place = folder / "drawn"
        _search(story, place, dice.randrange(1, COMMITS), random.Random(number), tally)
        shutil.rmtree(place)
    print(
        f"{story.name:34} found {tally.found}/{tally.searches}, among several {tally.among}, "
        f"uncertain {tally.uncertain}, wrong {tally.wrong}, not worse {tally.not_worse}; "
        f"{tally.runs / tally.searches:.1f} runs, {tally.most_runs} at most",
        flush=True,
    )
    return tally


def _search(story: Story, folder: Path, first: int, dice: random.Random, tally: Tally) -> None:
    changes: list[dict[str, str | bytes]] = []
    for number in range(COMMITS):
        us = 1000 * (1 + story.drift * number / COMMITS) * (1 + story.slower * (number >= first))
        inner = number not in (0, first, COMMITS - 1)
        more = {"broken": "x"} if inner and dice.random() < story.broken else {}
        changes.append({"kernels.json": kernels(us, noise=story.noise, **more), "n": f"{number}"})
    hashes = make_history(folder / "repository", changes)
    search, store = drawn_search(folder / "repository", folder, hashes[0], hashes[-1])
    outcome = search.run()
    right = hashes[first] in outcome.suspects
    tally.searches += 1
    tally.runs += store.record.runs
    if outcome.why_not:
        tally.not_worse += 1
    elif not right:
        tally.wrong += 1
    elif len(outcome.suspects) > 1:
        tally.among += 1
    elif not outcome.is_found:
        tally.uncertain += 1
    else:
        tally.found += 1
        tally.most_runs = max(tally.most_runs, store.record.runs)


def _simulated(folder: Path) -> int:
    first = random.SystemRandom().randrange(1, COMMITS)
    times = [1000 if number < first else 1040 for number in range(COMMITS)]
    modules = [work(("gemm", us), noise=0.003) for us in times]
    hashes = make_history(folder / "repository", _changes(modules))
    (folder / "bin").mkdir()
    write_standin(folder / "bin", version="2023.3.1")
    environment = {"PYTHONPATH": f"{SIMGPU / 'path'}", "PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    return _bisect(folder / "repository", hashes, first, environment)


def _with_gpu(folder: Path) -> int:
    first = random.SystemRandom().randrange(1, COMMITS)
    modules = [TORCH.format(size=1.0 if n < first else 1.04) for n in range(COMMITS)]
    hashes = make_history(folder / "repository", _changes(modules))
    return _bisect(folder / "repository", hashes, first, {})


def _changes(modules: Sequence[str]) -> list[dict[str, str | bytes]]:
    return [{"src/mine.py": module, "n": f"{n}"} for n, module in enumerate(modules)]


def _bisect(folder: Path, hashes: list[str], first: int, environment: dict[str, str]) -> int:
    began = time.monotonic()
    span = f"{hashes[0]}..{hashes[-1]}"
    command = [sys.executable, "-m", "pytest_nsys", "bisect", span, "test_it.py", "--format=json"]
    given = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=given, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        return 1
    document = json.loads(done.stdout)
    found = [one["hash"] for one in document["suspects"]]
    right = found == [hashes[first]] and document["found"]
    for step in document["steps"]:
        print(f"  {step['commit'][:10]}  {step['verdict']:4}  {step['ratio']:.4f}")
    print(
        f"{'found' if right else 'NOT FOUND'}: change {first} of {COMMITS - 1}, {document['runs']} "
        f"runs, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
