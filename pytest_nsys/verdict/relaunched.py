"""How a kernel is launched otherwise than it was, in words: what its name and count do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_nsys.kernels.configuration import Configuration, Shape
from pytest_nsys.kernels.labels import META
from pytest_nsys.measure.measurement import Launched, Part
from pytest_nsys.support.units import format_amount

_MOST = 0.5
"""Least share of a kernel's time of a configuration that stands for it."""

_NEARLY_ALL = 0.9
_SLOWER = 1.05
_INDUCTOR = re.compile(r"triton_\w+")
_SYMBOL = re.compile(r"\w+")
_WARP = 32


def relaunched(then: Part | None, now: Part | None) -> str:
    """How the launch configuration of a kernel changed; "" where it did not, or is not known.

    ``registers 64 -> 96: theoretical occupancy 50% -> 31% (limited by registers)``

    Of a kernel with several configurations, such as one launched for many shapes, the one that
    takes most of its time stands for it; where none does, nothing is said.
    """
    if then is None or now is None:
        return ""
    before, after = _usual(then), _usual(now)
    if before is None or after is None or _same(before[0], after[0]):
        return ""
    old, new = before[0], after[0]
    mostly = "" if min(before[1], after[1]) >= _NEARLY_ALL else "mostly "
    changes = mostly + ", ".join(_changes(old, new))
    return f"{_chosen(now.label, old, new)}{changes}{_occupancies(old, new)}{_spilled(old, new)}"


def _usual(part: Part) -> tuple[Launched, float] | None:
    """The configuration that stands for a kernel, and its share of the kernel's time."""
    if not part.launched:
        return None
    first = part.launched[0]
    total = max(part.ns, sum(one.ns for one in part.launched))
    share = first.ns / total if total else 0.0
    return (first, share) if share >= _MOST else None


def _same(old: Launched, new: Launched) -> bool:
    return old.configuration == new.configuration and not _other_variant(old, new)


def _other_variant(old: Launched, new: Launched) -> bool:
    return bool(old.variant and new.variant) and old.variant != new.variant


def _chosen(label: str, old: Launched, new: Launched) -> str:
    """That it is the same kernel, built in another way, where it looks like that.

    A library picks among kernels that have a name each; Triton builds one function for other
    blocks, warps and stages: that shows in the threads of its blocks, registers, shared memory.
    """
    then, now = old.configuration, new.configuration
    rebuilt = _takes(then) != _takes(now)
    other = _other_variant(old, new)
    if (rebuilt and _INDUCTOR.fullmatch(label)) or (other and META.search(old.variant)):
        return "autotune chose another configuration: "
    if other:
        return "the library chose another variant: "
    blocks = (then.block, now.block)
    warps = all(len(block) == 1 and not block[0] % _WARP for block in blocks)
    if then.block != now.block and warps and _SYMBOL.fullmatch(label):
        return "another configuration was chosen: "
    return ""


def _changes(old: Launched, new: Launched) -> Iterator[str]:
    if _other_variant(old, new):
        yield _differing(old.variant, new.variant)
    one, other = old.configuration, new.configuration
    for name, before, after in (
        ("grid", _shown(one.grid), _shown(other.grid)),
        ("block", _shown(one.block), _shown(other.block)),
        ("registers", str(one.registers), str(other.registers)),
        ("shared memory", format_amount(one.shared, "B"), format_amount(other.shared, "B")),
        ("local memory a thread", format_amount(one.local, "B"), format_amount(other.local, "B")),
    ):
        if before != after:
            yield f"{name} {before} -> {after}"


def _differing(old: str, new: str) -> str:
    """Two names without the words that they begin and end with alike."""
    before, after = old.split("_"), new.split("_")
    shorter = min(len(before), len(after))
    first = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    last = next((n for n in range(shorter - first) if before[-1 - n] != after[-1 - n]), 0)
    rest = ["_".join(words[first : len(words) - last]) for words in (before, after)]
    return f"{rest[0] or 'none'} -> {rest[1] or 'none'}"


def _occupancies(old: Launched, new: Launched) -> str:
    if _takes(old.configuration) == _takes(new.configuration):
        return ""
    if old.occupancy is None or new.occupancy is None:
        return "; theoretical occupancy not known for this GPU"
    before, after = (f"{one.percent:.0f}%" for one in (old.occupancy, new.occupancy))
    by = f" (limited by {new.occupancy.limiter})" if new.occupancy.limiter else ""
    if before == after:
        return f"; theoretical occupancy {after} as before"
    return f": theoretical occupancy {before} -> {after}{by}"


def _spilled(old: Launched, new: Launched) -> str:
    """A hint: nsys (2025.3) says of kernels that spill, too, that they have no local memory."""
    one, other = old.configuration, new.configuration
    slower = new.ns * old.count > _SLOWER * old.ns * new.count
    if other.registers >= one.registers or not slower or one.grid != other.grid:
        return ""
    return "; slower with fewer registers: they may be spilled, which --nsys-ncu counts"


def _takes(one: Configuration) -> tuple[Shape, int, int]:
    """What occupancy depends on."""
    return one.block, one.registers, one.shared


def _shown(extents: Shape) -> str:
    return "x".join(map(str, extents))
