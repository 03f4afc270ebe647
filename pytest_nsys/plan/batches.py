"""The plan of a run: which tests are measured, and which of them share a capture."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pytest_nsys.plan.marker import Spec


@dataclass(frozen=True)
class PlannedTest:
    """A test to be measured.

    Attributes:
        nodeid: pytest's node id.
        spec: how it is measured and judged.
    """

    nodeid: str
    spec: Spec


@dataclass(frozen=True)
class Batch:
    """Tests that run in one worker under one nsys, in pytest's order."""

    tests: tuple[PlannedTest, ...]

    @property
    def nsys_args(self) -> tuple[str, ...]:
        """The further arguments of ``nsys profile`` that all its tests ask for."""
        return self.tests[0].spec.nsys_args


def make_plan(tests: Iterable[PlannedTest], alone: Collection[str] = ()) -> tuple[Batch, ...]:
    """Batches in the order of their first tests.

    Tests share a batch when they ask for the same nsys arguments; an isolated one is alone, and so
    are one that needs several GPUs, and those whose node ids are in ``alone``.
    """
    shared: dict[tuple[str, ...], list[PlannedTest]] = {}
    batches: list[list[PlannedTest]] = []
    for test in tests:
        if test.spec.isolate or test.spec.gpus > 1 or test.nodeid in alone:
            batches.append([test])
            continue
        if test.spec.nsys_args not in shared:
            shared[test.spec.nsys_args] = []
            batches.append(shared[test.spec.nsys_args])
        shared[test.spec.nsys_args].append(test)
    return tuple(Batch(tuple(batch)) for batch in batches)
