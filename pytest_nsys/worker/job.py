"""What the controller tells the worker, as one JSON file in the run's private folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_nsys.support.json_values import Maybe, load, read, written
from pytest_nsys.support.own import own, read_bytes
from pytest_nsys.worker.coverage import CoverageOptions
from pytest_nsys.worker.node import new_workerinput

_TASK = ".task"


@dataclass(frozen=True)
class Repeats:
    """How often a test's body is called.

    Attributes:
        warmup: calls before the measured ones.
        rounds: measured calls, the fewest where a precision is asked for.
        most: the most measured calls where a precision is asked for; None for ``rounds``.
        precision: go on until the median of the rounds' times is known to within this fraction
            of itself (see `pytest_nsys.support.precision`); None for just ``rounds``.
        cold_l2: whether the L2 cache is emptied before each round.
    """

    warmup: int
    rounds: int
    most: int | None = None
    precision: float | None = None
    cold_l2: Maybe[bool] = False


@dataclass(frozen=True)
class Task:
    """What is told to a worker that was started before its tests were known.

    Attributes:
        tests: the tests to run, in order, by node id.
        maxfail: failures after which the worker stops; 0 for no limit.
    """

    tests: Mapping[str, Repeats] = field(default_factory=dict)
    maxfail: int = 0


@dataclass(frozen=True)
class Job:
    """The worker's task.

    Attributes:
        args: the arguments pytest was started with.
        argv: ``sys.argv`` of the controller.
        sys_path: ``sys.path`` of the controller; empty for another interpreter, which has its own.
        tests: the tests to run, in order, by node id.
        events: the file that events are appended to.
        stop_file: what holds, once it is there, the reason to stop at the next round; "" for none.
        maxfail: failures after which the worker stops; 0 for no limit.
        basetemp: base folder of ``tmp_path`` in the worker; None for pytest's own choice.
        away_from: folders whose modules are not to be imported; the worker says which were.
        workerinput: what plugins find as ``config.workerinput``, by
            `pytest_nsys.support.simple_values`.
        coverage: how tests are measured for coverage outside their rounds; None if they are not.
        adopt: what else measures by this plugin's rounds (`pytest_nsys.plan.adoption`).
        streams: where the worker takes the streams from by which pytest-xdist says which of the
            tests it is to run, and when (`pytest_nsys.process.shim_command`); "" for all, now.
        pipe: a named pipe on which the worker waits, once it has collected, for word that its
            `Task` can be read; "" where it need not wait: ``tests`` and ``maxfail`` say it.
        counted: the window whose ranges have the text `COUNTED`, by which ncu knows the kernels in
            it; "" for none.
    """

    args: tuple[str, ...]
    argv: tuple[str, ...]
    sys_path: tuple[str, ...]
    tests: Mapping[str, Repeats]
    events: str
    stop_file: str = ""
    maxfail: int = 0
    basetemp: str | None = None
    away_from: tuple[str, ...] = ()
    workerinput: Mapping[str, Any] = field(default_factory=new_workerinput)
    coverage: CoverageOptions | None = None
    adopt: tuple[str, ...] = ()
    streams: str = ""
    pipe: str = ""
    counted: str = ""

    def tell(self, task: Task) -> None:
        """Write what `told` reads, before the word is given."""
        text = own.to_json(written(task))
        Path(self.pipe + _TASK).write_text(text, encoding="utf-8")

    def told(self) -> Job:
        """The job with its task, for which the worker waits; with none where it gets none."""
        pipe = own.open_fd(self.pipe, os.O_RDONLY | os.O_CLOEXEC)
        try:
            word = own.read(pipe, 1)
        finally:
            own.close(pipe)
        task = read(Task, load(read_bytes(self.pipe + _TASK))) if word else Task()
        return replace(self, tests=task.tests, maxfail=task.maxfail)

    def stop_reason(self) -> str:
        """Why to stop now; empty if there is no reason."""
        try:
            return read_bytes(self.stop_file).decode("utf-8") if self.stop_file else ""
        except FileNotFoundError:
            return ""

    def write(self, path: Path) -> None:
        """Write the job where `read` finds it."""
        path.write_text(own.to_json(written(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Job:
        """The inverse of `write`."""
        return read(cls, load(path.read_text(encoding="utf-8")))
