"""Measures engines over all GPUs of a machine, unattended, step by step.

    python -m benchmarks.engines.batch --root DIR --out OUT --seconds 560 [--parts PARTS]

Everything is kept in DIR, a short path (engines put sockets there), and each step goes on where the
last one stopped. The models are made there, and an engine is unpacked once PARTS has brought all
its parts (``PARTS/vllm/...``, as ``scripts/pack-engine --to`` writes them, over any number of
steps); one on the PATH needs none. Jobs (`jobs.py`) start as soon as what they need is there and
GPUs are free, if they are expected to end in time. Each has temporary files, a port and CPUs of its
own, and where mounts are allowed caches, /dev/shm and what all nsys share. Those that the end of a
step cuts off run again in the next.

Before the seconds are over, what was recorded since the last time is packed as OUT/results-NN.tar,
which `judge.py` judges anywhere; what has no place there goes with the next step. On another
machine ``--skip`` names the jobs that are no longer wanted; what fills caches runs all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.engines.jobs import MODELS, NO_MULTICAST, Job, jobs_of
from benchmarks.engines.packing import CUT_OFF, Outcome, is_done, pack
from pytest_nsys.process.guard import end_marked

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
EXAMPLES = SOURCE / "examples"
FIRST_PORT = 20_000
INTERRUPTED_S = 12.0  # that a job may take to end after Ctrl-C
PACK_S = 12.0
_POLL_S = 0.3

APART = """\
caches=$1 warm=$2; shift 2
for shared in /dev/shm /tmp/nvidia; do
    mkdir -p $shared && mount -t tmpfs none $shared || exit
done
mkdir -p ~/.cache "$caches" || exit
for one in $warm; do [ ! -d "$one" ] || cp -a "$one/." "$caches" || exit; done
mount --bind "$caches" ~/.cache || exit
exec "$@"
"""
"""Where all nsys of a machine meet, and where engines keep what they compile, is the job's own."""

ATTACHED = """\
url=$1 server=$2; shift 2
export HF_HUB_OFFLINE=1
PYTEST_NSYS_WORKER=$TMPDIR SPT_NOENV=1 VLLM_WORKER_MULTIPROC_METHOD=spawn \\
    nsys launch --session-new=served --trace=cuda,nvtx --cuda-graph-trace=node \\
    --trace-fork-before-exec=true $server &
ask='import sys, urllib.request; urllib.request.urlopen(sys.argv[1])'
until "$1" -c "$ask" "$url/health" 2>/dev/null; do
    kill -0 $! || exit; sleep 1
done
"$@"; code=$?
nsys shutdown --session=served --kill=sigkill
exit $code
"""


@dataclass(frozen=True)
class Machine:
    """Where jobs run.

    Attributes:
        root: folder of everything that is kept from step to step.
        given: a model that is there already, and served by all.
        tests: folder of the test module.
        gpus: as CUDA_VISIBLE_DEVICES names them.
        apart: whether mounts of a job's own are allowed.
    """

    root: Path
    given: Path | None
    tests: Path
    gpus: tuple[str, ...]
    apart: bool

    def folder(self, job: Job) -> Path:
        """The job's: its recording, its log, how it ended."""
        return self.root / "jobs" / job.name

    def warm(self, engine: str) -> Path:
        """The caches of an engine's first start."""
        return self.root / "caches" / engine

    def has(self, job: Job) -> bool:
        """Whether model and engines are there."""
        model = self.model(job.model)
        made = model.parent != self.root or (self.root / f"{model.name}.ready").exists()
        return made and all(map(self._has_engine, job.engines))

    def _has_engine(self, name: str) -> bool:
        if (self.root / "parts" / name).exists():  # the one on the PATH may lack something
            return (self.root / f"{name}.ready").exists()
        return shutil.which(name) is not None

    def model(self, size: str) -> Path:
        """The folder of a model; of each size the same where one is given."""
        return self.given or self.root / f"model-{size}"

    def preparing(self, name: str = "*") -> bool:
        """Whether something is being unpacked or made."""
        logs = self.root.glob(f"{name}.log")
        return any(
            not log.with_suffix(".ready").exists() and not log.with_suffix(".failed").exists()
            for log in logs
        )


@dataclass(frozen=True)
class Running:
    """A job that runs since ``began`` (`time.monotonic`), with its temporary folder."""

    job: Job
    gpus: tuple[str, ...]
    temporary: Path
    process: subprocess.Popen[bytes]
    began: float


# What is there before any job


def prepare(machine: Machine, parts: Path | None) -> None:
    """Start making the model and unpacking engines, which go on after this step."""
    for size in MODELS if machine.given is None else ():
        target = machine.model(size)
        make = [sys.executable, str(EXAMPLES / "servers/make_llama.py"), str(target)]
        _in_background(target, [*make, "--size", size])
    for brought in sorted(parts.iterdir()) if parts else []:
        kept = machine.root / "parts" / brought.name
        kept.mkdir(parents=True, exist_ok=True)
        for part in brought.iterdir():
            # What came with an earlier step may come again while it is being unpacked.
            if not (kept / part.name).exists():
                shutil.copy(part, kept / part.name)
        about = kept / "engine.json"
        named = json.loads(about.read_text(encoding="utf-8"))["parts"] if about.exists() else []
        missing = [name for name in (about.name, *named) if not (kept / name).exists()]
        if missing:
            print(f"{brought.name} waits for {', '.join(missing)}", flush=True)
            continue
        prefix = machine.root / brought.name
        unpack = [sys.executable, str(SOURCE / "scripts/unpack-engine"), str(kept)]
        _in_background(prefix, [*unpack, "--prefix", str(prefix)])


def _in_background(target: Path, command: Sequence[str]) -> None:
    """Once and for all: TARGET.ready or TARGET.failed says how it ended, TARGET.log why."""
    if target.with_suffix(".log").exists():
        return
    script = 'if "$@"; then touch "$0.ready"; else touch "$0.failed"; fi'
    with target.with_suffix(".log").open("wb") as log:
        subprocess.Popen(
            ["sh", "-c", script, str(target), *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


# One job


def environment(job: Job, machine: Machine, gpus: Sequence[str], temporary: Path) -> dict[str, str]:
    """The variables of a job, in which everything that is shared otherwise is its own."""
    port = FIRST_PORT + 100 * int(temporary.name)
    launcher = {"port": port, "ready_timeout": 0.75 * job.timeout, **job.launcher}
    paths = [str(machine.root / engine / "bin") for engine in job.engines]
    modules = [*filter(None, (job.environment.get("PYTHONPATH"), os.environ.get("PYTHONPATH")))]
    return {
        **os.environ,
        **NO_MULTICAST,
        "SERVE_TOKENS": "12",
        "SERVE_SECONDS": "0.25",
        **job.environment,
        **{f"{engine.upper()}_ARGS": job.args for engine in job.engines},
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "PATH": os.pathsep.join([*paths, os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(modules),
        "SERVE_MODEL": str(machine.model(job.model)),
        "SERVE_OPTIONS": json.dumps(launcher),
        "SERVE_URL": f"http://127.0.0.1:{port}" if job.attach else "",
        "TMPDIR": str(temporary),
        # Not in TMPDIR: caches that are used again name files by their path.
        "TORCHINDUCTOR_CACHE_DIR": str(Path.home() / ".cache/inductor"),
        "TRITON_CACHE_DIR": str(Path.home() / ".cache/triton"),
    }


def command(job: Job, machine: Machine, env: dict[str, str]) -> list[str]:
    """The command of a job: pytest, with what has to be around it."""
    folder = machine.folder(job)
    words = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."),
        *(job.nodeid, "--nsys", f"--nsys-record={folder / 'recording'}", "-o", "nsys_confirm=0"),
        *(f"--nsys-processes={job.processes}", "-o", "nsys_lock_timeout=120", *job.options),
        f"--nsys-baseline-dir={folder / 'baselines'}",  # none: `judge.py` has its own
        f"--nsys-json={folder / 'run.json'}",
    ]
    if job.attach:
        port = json.loads(env["SERVE_OPTIONS"])["port"]
        server = f"vllm serve {machine.model(job.model)} --host 127.0.0.1 --port {port} {job.args}"
        server += " --max-model-len 2048 --gpu-memory-utilization 0.3"
        words = ["sh", "-c", ATTACHED, "sh", env["SERVE_URL"], server, *words]
    cpus = sorted(os.sched_getaffinity(0))
    share = max(1, len(cpus) // len(machine.gpus))
    first = [machine.gpus.index(gpu) * share for gpu in env["CUDA_VISIBLE_DEVICES"].split(",")]
    mine = [cpu for number in first for cpu in cpus[number : number + share]] or cpus
    words = ["taskset", "-c", ",".join(map(str, mine)), *words]
    if machine.apart:
        warm = [str(machine.warm(engine)) for engine in job.engines if job.caches == "use"]
        caches = [str(folder / "caches"), " ".join(warm)]
        words = ["unshare", "-m", "-i", "sh", "-c", APART, "sh", *caches, *words]
    return words


def start(job: Job, machine: Machine, gpus: tuple[str, ...]) -> Running:
    """Start a job; what an earlier step has left of it is gone."""
    folder = machine.folder(job)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "baselines").mkdir(parents=True)
    temporary = machine.root / "t" / str(len([*(machine.root / "t").iterdir()]))
    temporary.mkdir()
    env = environment(job, machine, gpus, temporary)
    words = command(job, machine, env)
    with (folder / "log").open("wb") as log:
        log.write(f"{shlex.join(words)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            words, cwd=machine.tests, env=env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return Running(job, gpus, temporary, process, time.monotonic())


def send(running: Running, number: int) -> None:
    """Send a signal to a job, as a terminal does; what it has started ends by itself, then."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.process.pid, number)


# The queue


class Batch:
    """The jobs of one step."""

    def __init__(self, machine: Machine, todo: Sequence[Job], deadline: float) -> None:
        self._machine, self._todo, self._deadline = machine, [*todo], deadline
        self._free = [*machine.gpus]
        self._running: list[Running] = []

    def run(self) -> None:
        """Run jobs until none can be run or the deadline comes, and end those that run then."""
        try:
            while time.monotonic() < self._deadline:
                self._start()
                if not self._running and not (self._todo and self._machine.preparing()):
                    break
                time.sleep(_POLL_S)
                self._look()
        finally:
            for running in self._running:
                send(running, signal.SIGINT)
            until = time.monotonic() + INTERRUPTED_S
            for running in [*self._running]:
                self._finish(running, CUT_OFF, until)
            if self._todo:
                print("not run:", *(job.name for job in self._todo), flush=True)

    def _start(self) -> None:
        left = self._deadline - time.monotonic()
        for job in [*self._todo]:
            if job.gpus > len(self._machine.gpus) or job.seconds > left or not self._ready(job):
                continue
            if job.gpus > len(self._free):
                return  # those behind it would take the GPUs that it waits for
            gpus, self._free = tuple(self._free[: job.gpus]), self._free[job.gpus :]
            self._todo.remove(job)
            self._running.append(start(job, self._machine, gpus))
            print(f"{job.name} on {','.join(gpus)}", flush=True)

    def _ready(self, job: Job) -> bool:
        if not self._machine.has(job):
            return False
        others = [*self._todo, *(running.job for running in self._running)]
        makers = [one for one in others if one.caches == "make" and one.engine in job.engines]
        return job.caches != "use" or not makers

    def _look(self) -> None:
        for running in [*self._running]:
            if running.process.poll() is not None:
                self._finish(running)
            elif time.monotonic() - running.began > running.job.timeout:
                send(running, signal.SIGINT)
                self._finish(running, "too late", time.monotonic() + INTERRUPTED_S)

    def _finish(self, running: Running, note: str = "", until: float = 0.0) -> None:
        """Note how a job ended, which has until then to do so."""
        job, process, folder = running.job, running.process, self._machine.folder(running.job)
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            send(running, signal.SIGKILL)
            process.wait()
        end_marked(str(running.temporary))
        seconds = round(time.monotonic() - running.began, 1)
        caches = folder / "caches"
        if job.caches == "make" and note != CUT_OFF and caches.exists():
            warm = self._machine.warm(job.engine)
            shutil.rmtree(warm, ignore_errors=True)
            warm.parent.mkdir(exist_ok=True)
            caches.rename(warm)
        shutil.rmtree(caches, ignore_errors=True)
        run = folder / "run.json"
        parts = json.loads(run.read_text(encoding="utf-8"))["seconds"] if run.exists() else {}
        outcome = Outcome(job.name, process.returncode, seconds, running.gpus, note, parts)
        (folder / "outcome.json").write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        self._running.remove(running)
        self._free = sorted([*self._free, *running.gpus], key=self._machine.gpus.index)
        size = sum(path.stat().st_size for path in folder.glob("recording/*"))
        print(f"{job.name}: {outcome.code}, {seconds} s, {size / 1e6:.2f} MB {note}", flush=True)
        if outcome.code:
            print((folder / "log").read_text(errors="replace")[-1500:], flush=True)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="what is kept between steps")
    parser.add_argument("--out", type=Path, required=True, help="where results are packed")
    parser.add_argument("--seconds", type=float, required=True, help="that the step may take")
    parser.add_argument("--parts", type=Path, help="parts of engines that came with this step")
    parser.add_argument("--model", type=Path, help="a model that is there (they are made in ROOT)")
    parser.add_argument("--tests", type=Path, default=EXAMPLES / "engines", help="(%(default)s)")
    parser.add_argument("--gpus", help="as in CUDA_VISIBLE_DEVICES (all that nvidia-smi lists)")
    parser.add_argument("--jobs", type=Path, default=HERE / "jobs.py", help="(%(default)s)")
    parser.add_argument("--only", default="", help="regular expression of jobs")
    parser.add_argument("--skip", default="^$", help="likewise, of jobs that are not run")
    parser.add_argument("--again", default="^$", help="likewise, of jobs that are run once more")
    parser.add_argument("--part-mb", type=float, default=15, help="of results (%(default)s)")
    parser.add_argument("--most-parts", type=int, default=4, help="of a step (%(default)s)")
    given = parser.parse_args()
    deadline = time.monotonic() + given.seconds - INTERRUPTED_S - PACK_S
    # In a shell's background Ctrl-C would be ignored, here and by all jobs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    # Commands and compilers that are installed beside this Python.
    os.environ["PATH"] += f"{os.pathsep}{Path(sys.executable).parent}"
    root = given.root.resolve()
    for folder in (root / "jobs", root / "t", given.out):
        folder.mkdir(parents=True, exist_ok=True)
    gpus = tuple(given.gpus.split(",")) if given.gpus else tuple(gpus_here())
    apart = not subprocess.run(["unshare", "-m", "-i", "true"], check=False).returncode
    model = given.model.resolve() if given.model else None
    machine = Machine(root, model, given.tests.resolve(), gpus, apart)
    prepare(machine, given.parts)
    jobs = jobs_of(given.jobs)
    for job in jobs:
        if re.search(given.again, job.name):
            shutil.rmtree(machine.folder(job), ignore_errors=True)
    undone = [job for job in jobs if not is_done(machine.folder(job))]
    wanted = [
        job.name
        for job in undone
        if re.search(given.only, job.name) and not re.search(given.skip, job.name)
    ]
    users = [job for job in undone if job.name in wanted and job.caches == "use"]
    cold = {name for job in users for name in job.engines if not machine.warm(name).exists()}
    makers = [job.name for job in undone if job.caches == "make" and job.engine in cold]
    todo = [job for job in undone if job.name in (*wanted, *makers)]
    print(f"{len(gpus)} GPUs, {'' if apart else 'not '}apart, {len(todo)} jobs", flush=True)
    try:
        Batch(machine, todo, deadline).run()
    finally:
        pack(root, given.out, int(given.part_mb * 1e6), given.most_parts)
        for failed in root.glob("*.failed"):
            print(f"{failed}: {failed.with_suffix('.log').read_text(errors='replace')[-1500:]}")


def gpus_here() -> list[str]:
    """The numbers of the GPUs that nvidia-smi lists."""
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    return re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE)


if __name__ == "__main__":
    main()
