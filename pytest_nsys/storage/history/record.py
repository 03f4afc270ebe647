"""From the verdicts of a run to lines of the history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from pytest_nsys.storage.history.commit import head_commit
from pytest_nsys.storage.history.document import LONGEST_KEY, Entry
from pytest_nsys.storage.history.store import append
from pytest_nsys.verdict.verdict import Verdict


def record_run(
    folder: Path, verdicts: Iterable[Verdict], project: Path, ignoring: Iterable[Path] = ()
) -> None:
    """Append a line for every test that has a verdict to a history.

    Args:
        folder: that of the history.
        verdicts: of the run.
        project: a folder of the working tree whose commit was measured, where verdicts do not know
            theirs.
        ignoring: folders in it, besides the history's, whose changes make no other commit of it.

    Raises:
        HistoryError: it cannot be written.
    """
    judged = list(verdicts)
    if not judged:
        return
    known = [verdict.measurement.environment.commit for verdict in judged]
    here = "" if all(known) else head_commit(project, ignoring=(folder, *ignoring))
    now = datetime.now(timezone.utc)
    entries = zip(judged, known, strict=True)
    append(folder, [replace(entry_of(one, now), commit=commit or here) for one, commit in entries])


def entry_of(verdict: Verdict, now: datetime) -> Entry:
    """What the history keeps of a verdict.

    A replayed recording is dated by the day on which it was made, if that was another.

    Args:
        verdict: the verdict.
        now: when it was given, UTC.
    """
    measurement = verdict.measurement
    environment = measurement.environment
    return Entry(
        nodeid=measurement.nodeid,
        device=measurement.device,
        date=_dated(environment.date, now),
        nsys=environment.nsys,
        driver=environment.driver,
        versions=environment.versions,
        status=verdict.status,
        windows={
            name: {
                key: (window[key], len(window.values(key)))
                for key in window.samples
                if window.values(key) and len(key) <= LONGEST_KEY
            }
            for name, window in measurement.windows.items()
        },
    )


def _dated(day: str, now: datetime) -> datetime:
    local = now.astimezone()  # the measurement's day is that of the machine's clock
    try:
        made = datetime.strptime(day, "%Y-%m-%d")
    except ValueError:
        return now
    if abs((local.date() - made.date()).days) <= 1:  # around midnight
        return now
    return made.replace(tzinfo=timezone.utc)
