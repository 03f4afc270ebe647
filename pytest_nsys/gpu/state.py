"""The state of the GPUs around a round: what may explain that it took longer.

Workers read it, and windows of servers (`pytest_nsys.gpu.monitor`); records and recordings carry
it, and the analysis judges by it. This module is what they agree on, so it imports next to nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from pytest_nsys.support.json_values import Amount, Check, Count, Maybe, at_least

Quantity = Literal["sm_clock_hz", "memory_clock_hz", "temperature_c", "power_w"]
"""What is measured of a GPU, in Hz, degrees Celsius and W."""

_DISTURBING = {
    "hw_thermal_slowdown": "thermal slow-down",
    "sw_thermal_slowdown": "thermal slow-down",
    "thermal": "thermal slow-down",
    "hw_power_brake_slowdown": "power brake slow-down",
    "hw_slowdown": "hardware slow-down",
}
"""The reasons for lower clocks under which a round is not what the code is, by what to call them.

``sw_power_cap`` is none: a heavy load runs at the power limit by its nature, and always will.
"""

_GENERAL = "hw_slowdown"
"""What the driver reports beside the more exact hardware reasons, or alone."""


@dataclass(frozen=True)
class GpuState:
    """One GPU at one moment; None is what the driver does not say.

    Attributes:
        index: the driver's number of the GPU (that of nvidia-smi, and not always CUDA's).
        sm_clock_hz: clock of the multiprocessors.
        memory_clock_hz: clock of the memory.
        temperature_c: of the GPU, degrees Celsius.
        power_w: mean of about the last second, on most GPUs.
        reasons: why the clocks are lower than they might be, by the names that nvidia-smi has
            for them (``sw_power_cap``); empty for no reason.
        slowed_ns: for how long each reason has lowered the clocks, since the driver was loaded;
            reasons that the driver does not count are absent.
        foreign_processes: how many processes of others have a CUDA context on this GPU. Known
            only where the driver lists a process of what is measured on it: then both speak of
            the same process ids, and what is measured uses this GPU.
        ecc_errors: uncorrected memory errors since the driver was loaded.
        mig: whether the GPU is split into instances (MIG).
        digest: which GPU it is, as a digest of its UUID; "" if unknown.
        max_sm_clock_hz: the highest clock that its multiprocessors can have.
    """

    index: Count
    sm_clock_hz: Amount | None = None
    memory_clock_hz: Amount | None = None
    temperature_c: Annotated[float, at_least(-1000.0)] | None = None
    power_w: Amount | None = None
    reasons: tuple[str, ...] | None = None
    slowed_ns: Mapping[str, Count] = field(default_factory=dict)
    foreign_processes: Count | None = None
    ecc_errors: Count | None = None
    mig: bool | None = None
    digest: Maybe[str] = ""
    max_sm_clock_hz: Amount | None = None


_Gpus = Annotated[
    tuple[GpuState, ...],
    Check(lambda gpus: len({gpu.index for gpu in gpus}) == len(gpus), "has a GPU twice"),
]


@dataclass(frozen=True)
class RoundState:
    """The GPUs that can be used here, before and after one round.

    Attributes:
        before: the GPUs before the round, by index; empty if they could not be asked.
        after: the GPUs after it.
        discarded: what disturbed each of the rounds that this one is the repetition of.
    """

    before: _Gpus = ()
    after: _Gpus = ()
    discarded: tuple[str, ...] = ()

    @property
    def disturbances(self) -> tuple[str, ...]:
        """What disturbed the round, in words: ``thermal slow-down of GPU 0``.

        A GPU that the worker does not use disturbs nothing. Where that is not known, all that it
        can see count.
        """
        return tuple(text for index in self._counting() for text in self._disturbances(index))

    @property
    def sm_clock_hz(self) -> float | None:
        """Mean of before and after, over the GPUs used; see `mean`."""
        return self.mean("sm_clock_hz")

    @property
    def memory_clock_hz(self) -> float | None:
        """Mean of before and after, over the GPUs used; see `mean`."""
        return self.mean("memory_clock_hz")

    @property
    def temperature_c(self) -> float | None:
        """Mean of before and after, over the GPUs used; see `mean`."""
        return self.mean("temperature_c")

    @property
    def power_w(self) -> float | None:
        """Mean of before and after, over the GPUs used; see `mean`."""
        return self.mean("power_w")

    def mean(self, quantity: Quantity) -> float | None:
        """The mean of before and after, over the GPUs that the worker uses.

        Where that is not known, of the busiest: the one that draws the most power.
        """
        used = self.used
        if not used:
            powers = {index: self._mean_of(index, "power_w") for index in self._indices()}
            # Of equals, and where no power is known, the first.
            used = tuple(sorted(powers, key=lambda index: -(powers[index] or 0.0))[:1])
        values = [self._mean_of(index, quantity) for index in used]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    @property
    def used(self) -> tuple[int, ...]:
        """The GPUs that the worker is known to use; empty if none is."""
        states = (*self.before, *self.after)
        return tuple(
            sorted({state.index for state in states if state.foreign_processes is not None})
        )

    @property
    def digests(self) -> tuple[str, ...]:
        """Which GPUs the worker uses, or can see where that is not known; as far as known."""
        found = {state.digest for index in self._counting() for state in self._of(index)}
        return tuple(sorted(found - {""}))

    def reasons(self, index: int) -> frozenset[str]:
        """Why the clocks of a GPU were lowered before, in or after the round.

        A short slow-down falls between two looks at the reasons; the driver's counters of time
        tell of it, where it keeps them.
        """
        states = self._of(index)
        found = {reason for state in states for reason in state.reasons or ()}
        if len(states) == 2:
            then, now = (state.slowed_ns for state in states)
            found |= {reason for reason, ns in now.items() if ns > then.get(reason, ns)}
        return frozenset(found)

    def _disturbances(self, index: int) -> list[str]:
        reasons = self.reasons(index)
        exact = reasons & _DISTURBING.keys() - {_GENERAL}
        slowed = {_DISTURBING[reason] for reason in exact or reasons & {_GENERAL}}
        found = [f"{what} of GPU {index}" for what in sorted(slowed)]
        others = max((state.foreign_processes or 0 for state in self._of(index)), default=0)
        if others:
            what = "another process" if others == 1 else f"{others} other processes"
            found.append(f"{what} on GPU {index}")
        return found

    def _indices(self) -> list[int]:
        return sorted({state.index for state in (*self.before, *self.after)})

    def _counting(self) -> Sequence[int]:
        return self.used or self._indices()

    def _of(self, index: int) -> list[GpuState]:
        return [state for state in (*self.before, *self.after) if state.index == index]

    def _mean_of(self, index: int, quantity: Quantity) -> float | None:
        values = [getattr(state, quantity) for state in self._of(index)]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None


_USER_SET = "applications_clocks_setting"
_MHZ = 1e6


def unlocked(rounds: Sequence[RoundState]) -> str:
    """Why the SM clocks cannot be taken for locked, in words; "" if they can.

    The driver does not say whether ``nvidia-smi -lgc`` was given. They are taken for locked where
    at each look either the driver says that clocks set by the user limit them, or the clock was
    one and the same, below the highest there is.
    """
    states = [state for one in rounds for state in (*one.before, *one.after)]
    if used := {index for one in rounds for index in one.used}:
        states = [state for state in states if state.index in used]
    if not states or not all((one.before or one.after) for one in rounds):
        return "NVML did not say what the GPU's clocks were"
    if all(_USER_SET in (state.reasons or ()) for state in states):
        return ""
    clocks = sorted({state.sm_clock_hz or 0.0 for state in states})
    highest = max((state.max_sm_clock_hz or 0.0 for state in states), default=0.0)
    low, high = (f"{clock / _MHZ:,.0f} MHz" for clock in (clocks[0], clocks[-1]))
    if not clocks[0]:
        return "NVML did not say what the GPU's clocks were"
    if len(clocks) > 1:
        return f"the GPU's clocks are not locked: {low} to {high} around its rounds"
    if not highest or clocks[0] >= highest:
        return f"the GPU's clocks are not known to be locked: {high}, as high as they can be"
    return ""


QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
