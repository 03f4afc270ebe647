"""From the clock on the wall to a capture's own time: where in a capture something was done."""

from __future__ import annotations

from pytest_nsys.errors import TimeNotCovered
from pytest_nsys.support.units import format_amount
from pytest_nsys.trace.tables import Trace

_REMEDY = (
    "collect from before the load begins until after it has ended; if it was so, the clock of this "
    "machine was set meanwhile: run again"
)


def capture_times(trace: Trace, began_utc_ns: int, ended_utc_ns: int) -> tuple[int, int]:
    """Start and end, in the capture's time, of what was done between two times of the clock.

    The clock is that of ``time.time_ns()``. On nsys 2023.4 it agrees with the capture's to 0.1 ms.

    Args:
        trace: a capture that was just exported; recordings do not keep when they were made.
        began_utc_ns: ns since 1970.
        ended_utc_ns: the same.

    Raises:
        TimeNotCovered: the capture does not say when it was made, or was not collecting all the
            while; the evidence says how much is missing.
    """
    if trace.began_utc_ns is None:
        raise TimeNotCovered(
            "the capture does not say when it began",
            evidence=f"nsys {trace.nsys}" if trace.nsys else "",
            remedy="use nsys 2023.4 or newer; a recording holds the times of its windows already",
        )
    start, end = began_utc_ns - trace.began_utc_ns, ended_utc_ns - trace.began_utc_ns
    prove_covered(trace, start, end)
    return start, end


def prove_covered(trace: Trace, start: int, end: int) -> None:
    """The capture was collecting all the while from start to end, ns of its own time.

    Where it does not say how long it did, that end is not known to be wrong.

    Raises:
        TimeNotCovered: it was not.
    """
    missing = []
    if start < 0:
        missing.append(f"it begins {_ns(-start)} before the collection")
    if trace.length_ns is not None and end > trace.length_ns:
        missing.append(f"it ends {_ns(end - trace.length_ns)} after the collection")
    if end <= start:
        missing.append(f"it ends {_ns(start - end)} before it begins")
    if missing:
        if trace.length_ns is not None:
            missing.append(f"collected: {_ns(trace.length_ns)}")
        raise TimeNotCovered(
            "a stretch of time is not in the capture",
            evidence="\n".join([f"its length: {_ns(end - start)}", *missing]),
            remedy=_REMEDY,
        )


def _ns(value: int) -> str:
    return format_amount(value, "ns")
