"""What was compared: the machines, versions, commits and days of the run and of its baselines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_nsys.capture.result import CUPTI
from pytest_nsys.measure.measurement import Environment
from pytest_nsys.report.html.model import Row
from pytest_nsys.report.html.shown import NOTHING
from pytest_nsys.support.units import format_count
from pytest_nsys.verdict.verdict import Verdict

UNKNOWN = "unknown"
ALWAYS = ("Commit", "Date", "GPU", "Driver", "CUDA", "nsys")
"""What is told of both sides even where it is the same."""

_WHICH = "Which GPU (digest of its UUID)"
_COMMIT = 12
_SEVERAL = 3


@dataclass(frozen=True)
class Sides:
    """What was compared.

    Attributes:
        rows: what identifies each side, and whatever differs between them.
        alike: what else is the same on both, in a sentence; of a run without baselines all else.
    """

    rows: tuple[Row, ...]
    alike: str


def described(environment: Environment) -> dict[str, str]:
    """Where a measurement was made, by what people call it."""
    return {
        "GPU": environment.gpu,
        "Driver": environment.driver,
        "CUDA": environment.cuda,
        "nsys": environment.nsys or ("not used" if CUPTI in environment.versions else ""),
        **dict(sorted(environment.versions.items())),
        "Server": " ".join(environment.server),
        "Capture options": " ".join(environment.trace),
    }


def differences_of(verdict: Verdict) -> Iterator[Row]:
    """What was different when the baseline was recorded, apart from the code under test."""
    if verdict.baseline is None:
        return
    environments = verdict.measurement.environment, verdict.baseline.environment
    now, then = map(described, environments)
    for name in {**now, **then}:
        if now.get(name) != then.get(name):
            yield Row(name, then.get(name) or NOTHING, now.get(name) or NOTHING)
    if environments[0].is_elsewhere(environments[1]):
        new, old = (", ".join(one.gpu_digests) for one in environments)
        yield Row(_WHICH, old, new)


def sides(verdicts: Sequence[Verdict]) -> Sides:
    """What all tests of a run were measured with, and their baselines; where tests differ in that,
    how many have which.
    """
    now = [_identity(verdict.measurement.environment) for verdict in verdicts]
    then = [_identity(v.baseline.environment) for v in verdicts if v.baseline is not None]
    differ = Counter(row.name for verdict in verdicts for row in differences_of(verdict))
    names = dict.fromkeys([*ALWAYS, *(name for one in (*now, *then) for name in one), *differ])
    rows, alike = [], []
    for name in names:
        count = differ[name]
        values = _told(now, name), _told(then, name)
        if name in ALWAYS or count:
            rows.append(_row(name, values, len(then), count))
        elif values[0] and name != _WHICH:
            alike.append(
                f"{name} {values[0]}" if name[0].islower() else f"{name.lower()} {values[0]}"
            )
    return Sides(tuple(rows), ", ".join(alike))


def _row(name: str, values: tuple[str, str], baselines: int, count: int) -> Row:
    now, then = values
    absent = UNKNOWN if name in ALWAYS else NOTHING
    return Row(
        name,
        then=(then or absent) if baselines else "",
        now=now or absent,
        tag="changed" if count else "",
        count="" if count in (0, baselines) else f"in {count} of {format_count(baselines, 'test')}",
    )


def _identity(environment: Environment) -> Mapping[str, str]:
    commit, plus, dirty = environment.commit.partition("+")
    return {
        "Commit": commit[:_COMMIT] + plus + dirty,
        "Date": environment.date,
        **described(environment),
        _WHICH: ", ".join(environment.gpu_digests),
    }


def _told(found: Sequence[Mapping[str, str]], name: str) -> str:
    """The value of all tests; of several values, how many tests have each."""
    counts = Counter(one[name] for one in found if one.get(name))
    if not counts or [*counts.values()] == [len(found)]:
        return "".join(counts)
    said = [
        f"{value} ({format_count(count, 'test')})" for value, count in counts.most_common(_SEVERAL)
    ]
    more = f" and {len(counts) - _SEVERAL} more" if len(counts) > _SEVERAL else ""
    return ", ".join(said) + more
