"""The state of the GPUs around a round: what may explain that it took longer.

Workers read it, and windows of servers (`pytest_nsys.gpu.monitor`); records and recordings carry
it, and the analysis judges by it. This module is what they agree on, so it imports next to nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pytest_nsys.support.json_values import listing, mapping, number, text_of, whole

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

_LARGEST_TEMPERATURE = 1000.0


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
    """

    index: int
    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    reasons: tuple[str, ...] | None = None
    slowed_ns: Mapping[str, int] = field(default_factory=dict)
    foreign_processes: int | None = None
    ecc_errors: int | None = None
    mig: bool | None = None
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """What is known, as JSON values."""
        known: dict[str, Any] = {
            name: value for name, value in vars(self).items() if value is not None
        }
        known["slowed_ns"] = dict(self.slowed_ns)
        if self.reasons is not None:
            known["reasons"] = list(self.reasons)
        return known

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GpuState:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: the data is something else.
        """
        reasons, mig = data.get("reasons"), data.get("mig")
        if mig is not None and not isinstance(mig, bool):
            raise TypeError(f"{type(mig).__name__} where there should be true or false")
        return cls(
            index=whole(data["index"], 0),
            sm_clock_hz=_amount(data, "sm_clock_hz"),
            memory_clock_hz=_amount(data, "memory_clock_hz"),
            temperature_c=_amount(data, "temperature_c", -_LARGEST_TEMPERATURE),
            power_w=_amount(data, "power_w"),
            reasons=None if reasons is None else tuple(map(text_of, listing(reasons))),
            slowed_ns={reason: whole(ns, 0) for reason, ns in mapping(data["slowed_ns"]).items()},
            foreign_processes=_count(data, "foreign_processes"),
            ecc_errors=_count(data, "ecc_errors"),
            mig=mig,
            digest=text_of(data.get("digest", "")),
        )


def _amount(data: Mapping[str, Any], name: str, least: float = 0.0) -> float | None:
    if data.get(name) is None:
        return None
    value = number(data[name])
    if value < least:
        raise ValueError(f"a {name} of {value:g}")
    return value


def _count(data: Mapping[str, Any], name: str) -> int | None:
    return None if data.get(name) is None else whole(data[name], 0)


@dataclass(frozen=True)
class RoundState:
    """The GPUs that can be used here, before and after one round.

    Attributes:
        before: the GPUs before the round, by index; empty if they could not be asked.
        after: the GPUs after it.
        discarded: what disturbed each of the rounds that this one is the repetition of.
    """

    before: tuple[GpuState, ...] = ()
    after: tuple[GpuState, ...] = ()
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

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "before": [state.to_json() for state in self.before],
            "after": [state.to_json() for state in self.after],
            "discarded": list(self.discarded),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RoundState:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: the data is something else.
        """
        return cls(
            before=_states(data["before"]),
            after=_states(data["after"]),
            discarded=tuple(map(text_of, listing(data["discarded"]))),
        )


def _states(value: object) -> tuple[GpuState, ...]:
    states = tuple(GpuState.from_json(mapping(one)) for one in listing(value))
    if len({state.index for state in states}) < len(states):
        raise ValueError("a GPU that is there twice")
    return states


QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
