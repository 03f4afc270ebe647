"""An inference engine that works in steps, as the export of what it launches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pytest_nsys.metrics.steps import Steps, find_steps, step_values
from pytest_nsys.trace.schema import MemcpyKind
from pytest_nsys.windows.cut import Cut, whole
from tests.support.exports.rows import LAUNCH, PID, Export

_GRAPH = "cudaGraphLaunch_v10000"
_COPY = "cudaMemcpyAsync_v3020"


@dataclass
class Engine:
    """A process that launches steps, kernel after kernel, without a pause but where one is named.

    Attributes:
        export: where its rows go.
        thread: which thread launches.
        now: when its GPU has finished what was launched, ns.
        whole: whether graphs are recorded as a whole.
        each: what a kernel takes, ns.
    """

    export: Export = field(default_factory=Export)
    thread: int = PID + 1
    now: int = 0
    whole: bool = False
    each: int = 10

    def launch(self, kernels: int = 1) -> None:
        """Kernels one by one."""
        for _ in range(kernels):
            at = self.now
            self.export.kernel(at, at + self.each, (LAUNCH, at, at + 1), thread=self.thread)
            self.now += self.each

    def graph(self, kernels: int) -> None:
        """Kernels as one CUDA graph."""
        at, self.now = self.now, self.now + kernels * self.each
        if self.whole:
            self.export.graph(at, self.now, (_GRAPH, at, at + 1), thread=self.thread)
            return
        launch = self.export.call(at, at + 1, name=_GRAPH, thread=self.thread)
        for node in range(kernels):
            start = at + node * self.each
            more = {"node": 1 + node, "thread": self.thread}
            self.export.kernel(start, start + self.each, launch, **more)

    def copy(self, kind: int = MemcpyKind.D2H) -> None:
        """A copy, to the host if nothing else is said: it ends a step."""
        at = self.now
        self.export.copy(at, at + 2, (_COPY, at, at + 1), kind, 4, thread=self.thread)
        self.now += 2

    def prefill(self, graphs: int = 0) -> None:
        """A step of 40 kernels that holds prompts: one by one, or some of them in graphs."""
        for _ in range(graphs):
            self.graph(5)
        self.launch(40 - 5 * graphs)
        self.copy()

    def decode(self, *, idle: int = 0, gap: int = 0) -> None:
        """A step of 40 kernels, most of them one graph."""
        self.now += gap
        self.launch(4)
        self.now += idle
        self.graph(32)
        self.launch(4)
        self.copy()

    @property
    def cut(self) -> Cut:
        """All of it as one window."""
        return whole(self.export.in_order().trace())

    def steps(self) -> Steps:
        found = find_steps(self.cut, 0)
        assert found is not None
        return found

    def values(self, tokens: float, requests: float = 1) -> dict[str, float]:
        found = step_values(self.cut, np.array([tokens]), np.array([requests]))
        return {key: float(value) for key, (value,) in found.items() if not np.isnan(value)}
