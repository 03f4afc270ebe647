"""What a server's windows are known by, beside its operations: the steps of its engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_nsys.catalogue import COUNTED_UNITS
from pytest_nsys.metrics.records import client_values
from pytest_nsys.metrics.steps import step_values
from pytest_nsys.support.units import format_amount, format_count
from pytest_nsys.windows.cut import Cut
from pytest_nsys.windows.record import WindowRecord

FEW_TOKENS = 2.0
"""Where a step gives fewer tokens, there is hardly a batch."""

_GRAPHS = (
    "Have the engine launch its decode steps as CUDA graphs (vLLM: without --enforce-eager;"
    " SGLang: without --disable-cuda-graph)."
)
_BATCH = (
    "Let more requests share a step: send more at a time, allow larger batches (--max-num-seqs,"
    " --max-running-requests)."
)
_BETWEEN = (
    "The host is busy between the steps: have it schedule the next one while the GPU works on this"
    " one (asynchronous or overlap scheduling), and keep tokenising, detokenising and the API in"
    " other processes, with cores of their own."
)
_WITHIN = (
    "The host is busy within the steps, with inputs, launches and sampling: keep to sampling that"
    " needs nothing from the host, capture whole steps as CUDA graphs (for all batch sizes that"
    " occur), leave out what waits for the GPU or copies to the host in each step, and give the"
    " engine fast cores of its own."
)
_UNKNOWN = (
    "Find out what the engine's process does in the gaps (py-spy, or nsys with --sample=cpu): send"
    " more requests at a time, see that it uses CUDA graphs and schedules the next step while the"
    " GPU works on this one."
)


@dataclass(frozen=True)
class Serving:
    """The steps of an engine in windows that are diagnosed together: medians over the windows.

    Attributes:
        steps: how many; 0 where they are not known.
        step_ns: from step to step.
        gap_ns: for how long the GPU is idle before one.
        idle_ns: ... and within it.
        graphs: CUDA graphs of a step.
        tokens: output tokens of a step.
    """

    steps: float = 0.0
    step_ns: float = 0.0
    gap_ns: float = 0.0
    idle_ns: float = 0.0
    graphs: float = 0.0
    tokens: float = 0.0

    def evidence(self) -> Iterator[str]:
        """A line on the steps, if they are known."""
        if self.steps:
            step, gap, idle = (
                format_amount(ns, "ns") for ns in (self.step_ns, self.gap_ns, self.idle_ns)
            )
            yield (
                f"{format_count(round(self.steps), 'step')} of {step}, idle for {gap} before and"
                f" {idle} within each (medians); tokens a step: {self.tokens:.3g}, CUDA graphs:"
                f" {self.graphs:g}"
            )

    def advice(self) -> str:
        """What to try where the host keeps the GPU waiting."""
        if not self.steps:
            return _UNKNOWN
        tried = [] if self.graphs else [_GRAPHS]
        if self.tokens < FEW_TOKENS:
            tried.append(_BATCH)
        if self.graphs:
            tried.append(_BETWEEN if self.gap_ns > self.idle_ns else _WITHIN)
        return " ".join(tried)


def serving_of(cut: Cut, records: Sequence[WindowRecord]) -> Serving | None:
    """What a server did in windows of the cut; None where no client counted what it answered.

    Args:
        cut: the windows.
        records: of each of them.
    """
    known = client_values(records)
    tokens = known.get(COUNTED_UNITS["token"])
    if tokens is None:
        return None
    found = step_values(cut, tokens, known.get(COUNTED_UNITS["request"], tokens))
    if not found:
        return Serving()
    middle = {key: float(np.nanmedian(values)) for key, values in found.items()}
    return Serving(
        steps=middle["step.count"],
        step_ns=middle["step.time"],
        gap_ns=middle["step.gap"],
        idle_ns=middle["step.idle"],
        graphs=middle["step.graphs"],
        tokens=float(np.nanmedian(tokens / found["step.count"])),
    )
