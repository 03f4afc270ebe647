"""Traces made by hand, operation by operation, with the times of host and device apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_nsys.insights.bottlenecks import Bottleneck, diagnose
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.trace.schema import MemcpyKind, MemKind
from pytest_nsys.windows.cut import Cut
from tests.support.exports.rows import Export, Launch

US = 1_000
MS = 1_000_000

NAMING = Naming(canonical=lambda raw: raw.split("<")[0], category=lambda raw: raw.split("_")[0])
"""``gemm_a<1>`` is of the category ``gemm`` and has the canonical name ``gemm_a``."""


class Program(Export):
    """An export with copies from pinned memory, and what is found in it."""

    def kernel(
        self, start: int, end: int, launch: Launch = None, name: str = "gemm_a<1>", **more: Any
    ) -> None:
        super().kernel(start, end, launch, name, **more)

    def copy(
        self,
        start: int,
        end: int,
        launch: Launch = None,
        kind: int = MemcpyKind.H2D,
        size: int = 2**20,
        **more: Any,
    ) -> None:
        sides = {"source": MemKind.PINNED, "target": MemKind.DEVICE}
        super().copy(start, end, launch, kind, size, **{**sides, **more})

    def samples(self, time: int, device: int = 0, **values: int) -> None:
        """One sample of some GPU metrics, by name with underscores for spaces."""
        for metric, value in values.items():
            self.sample(time, f"{metric.replace('_', ' ')} [Throughput %]", value, device)

    def cut(self, *windows: tuple[int, int]) -> Cut:
        """The trace with these windows; by default one of a millisecond."""
        starts, ends = zip(*(windows or ((0, MS),)), strict=True)
        return Cut(self.trace(), np.array(starts, np.int64), np.array(ends, np.int64))

    def findings(self, *windows: tuple[int, int]) -> dict[str, Bottleneck]:
        """What is found, by name, most severe first."""
        return {found.name: found for found in diagnose(self.cut(*windows), NAMING)}
