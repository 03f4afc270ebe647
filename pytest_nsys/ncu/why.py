"""One sentence on a kernel's counters then and now: what in them explains the change.

Causes come before what they bring about: spills, accesses, conflicts and pipes before instructions,
bytes and hit rates, and those before what warps wait for. The bounds say from where on a change of
a counter is told at all; counters of one kernel with the same input differ by far less from run to
run (caches are flushed before each pass).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_nsys.ncu.counters import (
    BLOCK,
    BY_KEY,
    CYCLES,
    DRAM_READ,
    DRAM_WRITTEN,
    DURATION,
    FP64,
    GRID,
    INSTRUCTIONS,
    L1_HITS,
    L2_HITS,
    LOAD_CONFLICTS,
    LOAD_SECTORS,
    LOCAL_LOADS,
    LOCAL_STORES,
    MEMORY,
    OCCUPANCY,
    REGISTERS,
    SHARED_MEMORY,
    SM,
    STALLS,
    STORE_CONFLICTS,
    STORE_SECTORS,
    TENSOR,
    THEORETICAL,
    THREADS,
    UNIFORM,
    KernelCounters,
    Pair,
)
from pytest_nsys.support.units import format_amount

_TOLD = 3
_SAME = 0.03
_MORE = 1.15
_MUCH_MORE = 1.5
_POINTS = 5.0
_WARPS = 8.0
_THREADS = 3.0
_STALLED = 0.5
_OFTEN = 0.01
NO_BEFORE = "nothing was counted before: nsys_ncu = always keeps counters with a baseline"


def sentence(pair: Pair) -> str:
    """What the counters say of the kernel, without a full stop."""
    then, now = pair.before, pair.after
    if now is None:
        return "nothing was counted now"
    if then is None:
        return f"{_present(now)}; {NO_BEFORE}"
    found = [text for rule in _CAUSES for text in rule(then, now)]
    if _is_no_slower(then, now):
        found.insert(0, _equally_long(then, now))
    if not found:
        found = [text for rule in _EFFECTS for text in rule(then, now)]
    return "; ".join(found[:_TOLD]) or _unexplained(then, now)


def _both(then: KernelCounters, now: KernelCounters, *keys: str) -> tuple[float, float] | None:
    """The sum of metrics then and now; None where a side has none of them."""
    before, after = then.sum(*keys), now.sum(*keys)
    return None if before is None or after is None else (before, after)


def _change(key: str, before: float, after: float) -> str:
    show = BY_KEY[key].shown
    return f"{show(before)} -> {show(after)}"


def _times(before: float, after: float) -> str:
    return f" (x{after / before:.2g})" if before else ""


_Texts = Iterator[str]


def _spills(then: KernelCounters, now: KernelCounters) -> _Texts:
    found = _both(then, now, LOCAL_LOADS, LOCAL_STORES)
    if found and found[1] > _MUCH_MORE * found[0]:
        yield f"register spills: local loads and stores {_change(LOCAL_LOADS, *found)}"


def _uncoalesced(then: KernelCounters, now: KernelCounters) -> _Texts:
    for key, what in ((LOAD_SECTORS, "loads"), (STORE_SECTORS, "stores")):
        found = _both(then, now, key)
        if found and found[0] and found[1] >= _MUCH_MORE * found[0]:
            more = _dram(then, now, " at that")
            change = f"{found[0]:.3g} -> {found[1]:.3g}"
            yield f"{what} are uncoalesced: sectors per request {change}{more}"
            return


def _conflicts(then: KernelCounters, now: KernelCounters) -> _Texts:
    found = _both(then, now, LOAD_CONFLICTS, STORE_CONFLICTS)
    instructions = now.get(INSTRUCTIONS)
    if found and found[1] > _MUCH_MORE * found[0] and found[1] > _OFTEN * (instructions or 0.0):
        yield f"bank conflicts in shared memory {_change(LOAD_CONFLICTS, *found)}"


def _pipes(then: KernelCounters, now: KernelCounters) -> _Texts:
    fp64, tensor = _both(then, now, FP64), _both(then, now, TENSOR)
    if fp64 and fp64[1] >= fp64[0] + _POINTS:
        yield f"double precision: fp64 pipe {_change(FP64, *fp64)}"
    if tensor and tensor[0] >= _POINTS and tensor[1] < tensor[0] / 2:
        yield f"tensor cores are used less: tensor pipe {_change(TENSOR, *tensor)}"


def _divergence(then: KernelCounters, now: KernelCounters) -> _Texts:
    # Few branches are enough, where what follows them is long: a loop that a thread leaves earlier.
    threads, branches = _both(then, now, THREADS), _both(then, now, UNIFORM)
    if threads and threads[1] <= threads[0] - _THREADS:
        yield f"threads diverge: of a warp's 32 are active {_change(THREADS, *threads)}"
    # 0 % is also what a kernel without such branches has.
    elif branches and all(branches) and branches[1] <= branches[0] - _POINTS:
        yield f"threads diverge: branches on which they agree {_change(UNIFORM, *branches)}"


def _occupancy(then: KernelCounters, now: KernelCounters) -> _Texts:
    found = _both(then, now, OCCUPANCY)
    if not found or found[1] > found[0] - _WARPS:
        return
    limit = _both(then, now, THEORETICAL)
    why = ""
    if limit and limit[1] < limit[0] - 1:
        reasons = []
        for key, what in (
            (REGISTERS, "registers per thread"),
            (SHARED_MEMORY, "shared memory per block"),
            (BLOCK, "threads per block"),
        ):
            sides = _both(then, now, key)
            if sides and sides[0] != sides[1]:
                reasons.append(f"{what} {_change(key, *sides)}")
        why = f", at most {_change(THEORETICAL, *limit)}" + "".join(f", {one}" for one in reasons)
    yield f"achieved occupancy {_change(OCCUPANCY, *found)}{why}"


def _launch(then: KernelCounters, now: KernelCounters) -> _Texts:
    block, grid = _both(then, now, BLOCK), _both(then, now, GRID)
    if block and grid and block[0] != block[1]:
        yield f"block of {block[0]:g} -> {block[1]:g} threads, {_change(GRID, *grid)} blocks"


def _size(then: KernelCounters, now: KernelCounters) -> _Texts:
    block, grid = _both(then, now, BLOCK), _both(then, now, GRID)
    if block and grid and block[0] == block[1] and grid[1] > _MORE * grid[0]:
        yield f"more is computed: {_change(GRID, *grid)} blocks of {block[0]:g} threads"


def _instructions(then: KernelCounters, now: KernelCounters) -> _Texts:
    found = _both(then, now, INSTRUCTIONS)
    if found and found[1] > _MORE * found[0]:
        yield f"instructions {_change(INSTRUCTIONS, *found)}{_times(*found)}"


def _bytes(then: KernelCounters, now: KernelCounters) -> _Texts:
    text = _dram(then, now, "")
    if text:
        yield text.removeprefix(", ")


def _dram(then: KernelCounters, now: KernelCounters, at_what: str) -> str:
    found = _both(then, now, DRAM_READ, DRAM_WRITTEN)
    if not found or found[1] <= _MORE * found[0]:
        return ""
    same = _both(then, now, INSTRUCTIONS)
    alike = same is not None and abs(same[1] - same[0]) <= _SAME * same[0]
    rest = " at the same count of instructions" if alike and not at_what else ""
    return f", DRAM bytes {_change(DRAM_READ, *found)}{_times(*found)}{rest}"


def _hits(then: KernelCounters, now: KernelCounters) -> _Texts:
    for key, name in ((L2_HITS, "L2"), (L1_HITS, "L1")):
        found = _both(then, now, key)
        if found and found[1] <= found[0] - _WARPS:
            yield f"{name} hit rate {_change(key, *found)}"


def _waiting(then: KernelCounters, now: KernelCounters) -> _Texts:
    grown = {}
    for key in STALLS:
        found = _both(then, now, key)
        if found and found[1] >= found[0] + _STALLED and found[1] >= _MORE * found[0]:
            grown[key] = found
    if grown:
        key = max(grown, key=lambda one: grown[one][1] - grown[one][0])
        before, after = grown[key]
        yield f"warps wait longer {STALLS[key]}: {before:.3g} -> {after:.3g} per instruction"


_CAUSES: tuple[Callable[[KernelCounters, KernelCounters], _Texts], ...] = (
    _spills,
    _uncoalesced,
    _conflicts,
    _pipes,
    _divergence,
    _launch,
    _size,
    _occupancy,
)
_EFFECTS = (_instructions, _bytes, _hits, _waiting)


def _is_no_slower(then: KernelCounters, now: KernelCounters) -> bool:
    found = _both(then, now, DURATION)
    return found is not None and found[1] <= (1 + _SAME) * found[0]


def _equally_long(then: KernelCounters, now: KernelCounters) -> str:
    found = _both(then, now, DURATION)
    assert found is not None
    return (
        f"alone, with empty caches, it takes {_change(DURATION, *found)}: what slows it down in "
        "the test is what runs beside or before it"
    )


def _unexplained(then: KernelCounters, now: KernelCounters) -> str:
    took = _both(then, now, DURATION)
    cycles = _both(then, now, CYCLES)
    if took is None:
        return "the counters do not say why"
    change = _change(DURATION, *took)
    if cycles and abs(cycles[1] - cycles[0]) <= _SAME * cycles[0]:
        return f"{change} in the same {format_amount(cycles[1], '1')} cycles: a lower clock"
    return f"{change}, and no other counter has changed much"


def _present(now: KernelCounters) -> str:
    """What a kernel is like that there is nothing to compare with."""
    parts = []
    for key, what in ((SM, "SM throughput"), (MEMORY, "memory throughput")):
        value = now.get(key)
        if value is not None:
            parts.append(f"{what} {value:.0f} % of peak")
    occupancy = now.get(OCCUPANCY)
    if occupancy is not None:
        parts.append(f"achieved occupancy {occupancy:.0f} %")
    waits = {key: now.values[key] for key in STALLS if key in now.values}
    if waits:
        parts.append(f"warps wait most {STALLS[max(waits, key=waits.__getitem__)]}")
    return ", ".join(parts) or "it was counted"
