"""Histories as a suite leaves them: drifts, changes of code and of versions, tests that go."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pytest_nsys.storage.history.document import Entry, render
from pytest_nsys.storage.history.store import history_path

START = datetime(2025, 12, 1, 3, 12, tzinfo=timezone.utc)
KINDS = (
    "paged_attention",
    "fused_moe",
    "rms_norm",
    "all_reduce",
    "sampler",
    "kv_copy",
    "lora_gemm",
)
BATCHES = (1, 8, 32, 128, 256)


@dataclass(frozen=True)
class Suite:
    """A suite that runs every night on each device.

    A tenth of the tests get slower with the driver, after three fifths of the runs; one of fifty
    with a commit, after four fifths, and as many faster. One of forty drifts by 6 % in all runs.
    One of sixty is gone after half of the runs, and as many are new since three quarters.
    """

    tests: int = 500
    runs: int = 365
    devices: tuple[str, ...] = ("nvidia-h200",)
    seed: int = 1

    def nodeid(self, test: int) -> str:
        """The name of a test."""
        kind = KINDS[test % len(KINDS)]
        size = BATCHES[test // len(KINDS) % len(BATCHES)]
        return f"tests/kernels/test_{kind}.py::test_{kind}[b{size}-{test}]"

    def write(self, folder: Path) -> Path:
        """The history in files."""
        for device in self.devices:
            for test in range(self.tests):
                path = folder / history_path(device, self.nodeid(test))
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.writelines(map(render, self.entries(test, device)))
        return folder

    def entries(self, test: int, device: str) -> Iterator[Entry]:
        """The runs of a test."""
        chance = random.Random(f"{self.seed} {test} {device}")
        later = timedelta(minutes=20 * self.devices.index(device))
        first = self.runs * 3 // 4 if test % 60 == 7 else 0
        end = self.runs // 2 if test % 60 == 8 else self.runs
        usual = chance.uniform(50e3, 4e6)
        scatter = chance.choice((0.002, 0.004, 0.01))
        for run in range(first, end):
            time = usual * self._factor(test, run) * chance.gauss(1, scatter)
            if chance.random() < 0.01:
                time *= 1.08
            prefill = 0.3 * usual * chance.gauss(1, 2 * scatter)
            yield Entry(
                self.nodeid(test),
                device,
                START + timedelta(days=run) + later,
                commit=f"{run * 7919 % 2**28:07x}{'5e' * 17}"[:40],
                nsys="2025.3.2",
                driver="580.65.06" if self._after(run, 3 / 5) else "570.124.06",
                versions={
                    "python": "3.12.4",
                    "torch": "2.9.0" if self._after(run, 2 / 5) else "2.8.0",
                    "triton": "3.5.0" if self._after(run, 2 / 5) else "3.4.0",
                },
                status="ok",
                windows={
                    "test": {
                        "gpu.kernel_time": (time, 15),
                        "gpu.kernel_count": (12.0 + test % 5, 15),
                        "memcpy.h2d.count": (
                            1.0 + (test % 50 == 3 and self._after(run, 4 / 5)),
                            15,
                        ),
                        "memcpy.h2d.bytes": (4096.0, 15),
                        "sync.count": (2.0, 15),
                        "mem.peak": (5.4e8, 15),
                        "wall.time": (1.4 * time, 15),
                    },
                    "prefill": {"gpu.kernel_time": (prefill, 15), "gpu.kernel_count": (4.0, 15)},
                },
            )

    def _after(self, run: int, share: float) -> bool:
        return run >= self.runs * share

    def _factor(self, test: int, run: int) -> float:
        factor = 1 + 0.06 * run / self.runs if test % 40 == 5 else 1.0
        if test % 10 == 1 and self._after(run, 3 / 5):
            factor *= 1.05
        if test % 50 == 3 and self._after(run, 4 / 5):
            factor *= 1.08
        if test % 50 == 13 and self._after(run, 4 / 5):
            factor *= 0.93
        return factor
