"""What a server that starts is at, and how long it has been, as its log says it.

Stages only go forward: the ranks of an engine print the same lines, one later than the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_nsys.servers.engines.preset import StartStage
from pytest_nsys.support.own import own
from pytest_nsys.support.text import cut

STARTING = "starting"
"""What any server is at before its log says more."""

_READ = 1 << 20
_LINE = 8192
_SHOWN = 60
_BREAKS = re.compile(r"[\r\n]+")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Startup:
    """Follows the log of a server that starts.

    Args:
        log: the file that it prints to; it need not be there yet.
        stages: what its lines mean.
    """

    def __init__(self, log: Path, stages: Sequence[StartStage]) -> None:
        self._log = log
        self._stages = [(re.compile(stage.pattern), stage.name) for stage in stages]
        self._read = 0
        self._rest = ""
        self._last = ""
        self._reached = -1
        self._began = own.clock()
        self._entered = [(STARTING, self._began)]
        self._ended: float | None = None

    @property
    def stage(self) -> str:
        """What the engine is at; "" as long as its log has not said so."""
        return self._entered[-1][0] if self._reached >= 0 else ""

    @property
    def doing(self) -> str:
        """The stage; of an engine whose stages are not known, its last line, shortened."""
        if self._stages or not self._last:
            return self._entered[-1][0]
        return cut(self._last, _SHOWN, _SHOWN)

    @property
    def seconds(self) -> float:
        """How long the start has taken so far, or has taken."""
        return (own.clock() if self._ended is None else self._ended) - self._began

    @property
    def times(self) -> Mapping[str, float]:
        """The seconds of each stage that was reached, in their order; of the last, so far."""
        ends = [at for _, at in self._entered[1:]] + [self._began + self.seconds]
        times: dict[str, float] = {}
        for (name, since), until in zip(self._entered, ends, strict=True):
            times[name] = times.get(name, 0.0) + until - since
        return times

    def look(self) -> None:
        """Read what has been printed meanwhile."""
        while piece := self._piece():
            *lines, self._rest = _BREAKS.split(self._rest + piece)
            self._rest = self._rest[-_LINE:]
            # A bar that counts up is printed without an end of its line.
            for line in (*lines, self._rest):
                self._see(line)

    def end(self) -> None:
        """It is ready; the last stage ends."""
        self.look()
        self._ended = own.clock()

    def _piece(self) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                data = file.read(_READ)
        except FileNotFoundError:
            return ""
        self._read += len(data)
        return data.decode("utf-8", "replace")

    def _see(self, line: str) -> None:
        line = _COLOURS.sub("", line).strip()
        if not line:
            return
        self._last = line
        for number in range(len(self._stages) - 1, self._reached, -1):
            pattern, name = self._stages[number]
            if pattern.search(line):
                self._reached = number
                if name != self._entered[-1][0]:
                    self._entered.append((name, own.clock()))
                return


def time_words(times: Mapping[str, float], least_s: float = 0.0) -> str:
    """How long each stage took, in words.

    Args:
        times: seconds by stage.
        least_s: what took less is left out.
    """
    return ", ".join(f"{name} {took:.1f} s" for name, took in times.items() if took >= least_s)
