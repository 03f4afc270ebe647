"""How often this process has forked: nsys records nothing of a fork that does not exec."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_nsys.support.own import own


@dataclass
class Forks:
    """Counts from when it is made; other programs that are started (subprocess) are no forks."""

    count: int = 0

    def __post_init__(self) -> None:
        own.register_at_fork(after_in_parent=self._forked)

    def _forked(self) -> None:
        self.count += 1
