"""What a search knows so far, kept in the repository's own folder until it has come to its end."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_nsys.bisection.engine import Mark
from pytest_nsys.bisection.sides import Target
from pytest_nsys.errors import BisectError
from pytest_nsys.support.files import replace_text
from pytest_nsys.support.json_values import load, read, written

SCHEMA = 1
_FILE = "state.json"


@dataclass(frozen=True)
class Change:
    """By how much one commit is worse than another.

    Attributes:
        target: what is worse.
        good: the value of the better one, in the metric's unit.
        here: that of the other.
        amount: the change; above 0 is worse.
        low: the lower end of its 95 % confidence interval.
        high: its upper end.
        culprit: the kernel, copy or call that most of it is of, in words; "" if unknown.
        is_certain: whether it is more than noise explains.
        processes: processes of each commit that tell half of it.
        others: what else was worse, in words.
    """

    target: Target
    good: float
    here: float
    amount: float
    low: float
    high: float
    culprit: str
    is_certain: bool
    processes: int = 1
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A commit that was tested.

    Attributes:
        commit: its full hash.
        verdict: what git bisect was told.
        why: why it was skipped.
        amount: its change, from GOOD; above 0 is worse. 0 where it was skipped.
        ratio: its value as a share of GOOD's; 0 where there is none.
        processes: how many measured it.
        seconds: how long it took.
    """

    commit: str
    verdict: Mark
    why: str = ""
    amount: float = 0.0
    ratio: float = 0.0
    processes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Record:
    """What a search knows.

    Attributes:
        schema: of the file.
        runs: runs of pytest so far.
        seconds: how long they took.
        total: the change from GOOD to BAD; None before it was measured.
        steps: the commits that were tested.
    """

    schema: int = SCHEMA
    runs: int = 0
    seconds: float = 0.0
    total: Change | None = None
    steps: tuple[Step, ...] = ()


class Store:
    """The file of one search."""

    def __init__(self, root: Path, *what: object) -> None:
        """Args:
        root: where all searches of the repository are.
        what: what is searched, and how: another search has another file.
        """
        text = json.dumps([str(part) for part in what])
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.record = Record()

    def load(self) -> None:
        """Go on where an interrupted search was.

        Raises:
            BisectError: its file is damaged.
        """
        path = self.folder / _FILE
        if not path.exists():
            return
        try:
            self.record = read(Record, load(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise BisectError(
                "what an interrupted search has found cannot be read",
                evidence=f"{path}: {error}",
                remedy="begin anew with --restart",
            ) from None

    def change(self, **changes: object) -> None:
        """Know more, and keep it.

        Raises:
            BisectError: it cannot be written.
        """
        self.record = replace(self.record, **changes)  # type: ignore[arg-type]
        try:
            replace_text(self.folder / _FILE, json.dumps(written(self.record), indent=1) + "\n")
        except OSError as error:
            raise BisectError(
                "what was found cannot be kept",
                evidence=str(error),
                remedy="free some space; the same command goes on after the step before this one",
            ) from None

    def forget(self) -> None:
        """Begin anew."""
        self.record = Record()
        (self.folder / _FILE).unlink(missing_ok=True)
