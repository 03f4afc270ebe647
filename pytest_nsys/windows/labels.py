"""The plugin's own windows, read from a capture alone: from the labels of their NVTX ranges.

For captures whose records are not at hand. A label does not tell a test's name from that of a part
of it, so a part appears as a test of its own, named by both.
"""

from __future__ import annotations

import re

from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.record import DOMAIN, MAIN, WindowRecord

_LABEL = re.compile(r"(\d+) (.+) (?:round (\d+)|span)", re.DOTALL)


def labelled_records(trace: Trace) -> list[WindowRecord]:
    """A record of every closed window of the plugin's, but for the closing sentinel.

    Where two captures were made one, and windows have the same index, the last counts.
    """
    own = trace.ranges[(trace.ranges["domain"] == DOMAIN) & (trace.ranges["end"] != ABSENT)]
    records = {}
    for text in own["text"]:
        match = _LABEL.fullmatch(text)
        if match is not None:
            index, name, round_ = int(match[1]), match[2], match[3]
            records[index] = WindowRecord(
                index=index,
                kind="span" if round_ is None else "round",
                nodeid=name,
                name=MAIN,
                round=-1 if round_ is None else int(round_),
            )
    return [*records.values()]
