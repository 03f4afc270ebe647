"""Command-line options and their ini twins, declared once and read into `Settings`.

An option's command-line default is always None, and the ini value is read when it is None, so
that a default never hides what the ini file says.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_nsys.catalogue import lookup
from pytest_nsys.errors import NsysError, SettingsError
from pytest_nsys.quantities import Tolerance, parse_amount, parse_tolerance

if TYPE_CHECKING:
    import pytest

Mode = Literal["idle", "profile", "gate", "update", "update-new"]


@dataclass(frozen=True)
class Option:
    """One option: ``--nsys-some-name`` on the command line, ``nsys_some_name`` in the ini file."""

    name: str
    about: str
    kind: Literal["flag", "path", "text", "lines"] = "text"
    metavar: str | None = None

    @property
    def flag(self) -> str:
        """The command-line form."""
        return "--" + self.name.replace("_", "-")


OPTIONS: tuple[Option, ...] = (
    Option(
        "nsys",
        "profile marked tests; compare where a baseline exists; enforce budgets",
        "flag",
    ),
    Option(
        "nsys_baseline",
        "the CI gate: as --nsys, and a test that cannot be compared fails too",
        "flag",
    ),
    Option("nsys_update", "profile marked tests and record their baselines", "flag"),
    Option("nsys_update_new", "record only baselines that are missing", "flag"),
    Option("nsys_baseline_dir", "folder of the baselines (default: baselines)", "path", "DIR"),
    Option("nsys_record", "keep this run as a recording in DIR", "path", "DIR"),
    Option("nsys_replay", "judge the recording in DIR instead of running tests", "path", "DIR"),
    Option("nsys_json", "write the results as JSON", "path", "FILE"),
    Option("nsys_html", "write the results as one HTML page", "path", "FILE"),
    Option("nsys_rounds", "measured calls per test where the marker names none (5)", metavar="N"),
    Option("nsys_warmup", "calls before them where the marker names none (1)", metavar="N"),
    Option(
        "nsys_tolerance",
        "METRIC=TOLERANCE, such as 'gpu.kernel_time=5%%' or 'mem.peak=2%%, 16 MiB'; "
        "a bare TOLERANCE is that of every timed metric",
        "lines",
        "TOLERANCE",
    ),
    Option("nsys_executable", "the nsys to run (default: searched for)", metavar="FILE"),
    Option("nsys_args", "further arguments of 'nsys profile'", metavar="ARGS"),
    Option("nsys_device", "name of the device in the baseline folder, instead of the GPU's"),
    Option("nsys_keep", "keep the raw reports in DIR (they hold secrets)", "path", "DIR"),
    Option(
        "nsys_timeout",
        "longest time one test may take with all its rounds (30 min)",
        metavar="SECONDS",
    ),
)


@dataclass(frozen=True)
class Settings:
    """What the command line and the ini file ask for; paths are absolute."""

    mode: Mode
    rootdir: Path
    baseline_dir: Path
    record: Path | None = None
    replay: Path | None = None
    json: Path | None = None
    html: Path | None = None
    keep: Path | None = None
    rounds: int = 5
    warmup: int = 1
    tolerance: tuple[tuple[str, Tolerance], ...] = ()
    executable: str | None = None
    nsys_args: tuple[str, ...] = ()
    device: str | None = None
    timeout_s: float = 1800.0

    @property
    def active(self) -> bool:
        """Whether marked tests are measured (or their recording judged)."""
        return self.mode != "idle"


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and its ini twin."""
    group = parser.getgroup("nsys", "GPU performance under NVIDIA Nsight Systems (nsys)")
    for option in OPTIONS:
        if option.kind == "flag":
            group.addoption(
                option.flag, action="store_true", default=None, dest=option.name, help=option.about
            )
            parser.addini(option.name, option.about, type="bool", default=None)
        else:
            group.addoption(
                option.flag,
                action="append" if option.kind == "lines" else "store",
                default=None,
                dest=option.name,
                metavar=option.metavar,
                help=option.about,
            )
            kind: Any = "linelist" if option.kind == "lines" else "string"
            parser.addini(option.name, option.about, type=kind, default=None)


_MODES: dict[str, Mode] = {
    "nsys_update": "update",
    "nsys_update_new": "update-new",
    "nsys_baseline": "gate",
    "nsys": "profile",
}


def _mode(config: pytest.Config) -> Mode:
    for read in (config.getoption, config.getini):
        asked = [name for name in _MODES if read(name)]
        strict = [name for name in asked if name != "nsys"]
        if len(strict) > 1:
            flags = " and ".join("--" + name.replace("_", "-") for name in strict)
            raise SettingsError(f"{flags} contradict each other", remedy="give one of them")
        if asked:
            return _MODES[(strict or asked)[0]]
    return "idle"


def is_active(config: pytest.Config) -> bool:
    """Whether this run measures or judges, decided as cheaply as possible."""
    return any(
        config.getoption(name) or config.getini(name) for name in (*_MODES, "nsys_replay")
    )


def read_settings(config: pytest.Config) -> Settings:
    """The settings of this run.

    Raises:
        SettingsError: a value cannot be read, or options contradict each other.
    """
    values = {option.name: _value(config, option) for option in OPTIONS if option.kind != "flag"}
    mode = _mode(config)
    replay = values["nsys_replay"]
    if replay and mode == "idle":
        mode = "profile"
    if replay and values["nsys_record"]:
        raise SettingsError(
            "--nsys-replay and --nsys-record contradict each other",
            remedy="a replayed run is recorded already: copy the folder",
        )
    return Settings(
        mode=mode,
        rootdir=config.rootpath,
        baseline_dir=values["nsys_baseline_dir"] or config.rootpath / "baselines",
        record=values["nsys_record"],
        replay=replay,
        json=values["nsys_json"],
        html=values["nsys_html"],
        keep=values["nsys_keep"],
        rounds=_count("nsys_rounds", values["nsys_rounds"], default=5, least=1),
        warmup=_count("nsys_warmup", values["nsys_warmup"], default=1, least=0),
        tolerance=read_tolerances(values["nsys_tolerance"] or []),
        executable=values["nsys_executable"],
        nsys_args=tuple(shlex.split(values["nsys_args"] or "")),
        device=values["nsys_device"],
        timeout_s=_seconds("nsys_timeout", values["nsys_timeout"], default=1800.0),
    )


def _value(config: pytest.Config, option: Option) -> Any:
    """The command line's value (relative to where pytest was started), else the ini file's."""
    given = config.getoption(option.name)
    base = config.invocation_params.dir
    if given is None:
        given = config.getini(option.name)
        base = config.inipath.parent if config.inipath else config.rootpath
    if not given:
        return None
    if option.kind == "path":
        return (base / Path(given).expanduser()).resolve()
    return given


def _count(name: str, text: str | None, *, default: int, least: int) -> int:
    if text is None:
        return default
    try:
        count = int(text)
    except ValueError:
        count = least - 1
    if count < least:
        raise SettingsError(f"{name} is {text!r}", remedy=f"give a whole number from {least} on")
    return count


def _seconds(name: str, text: str | None, *, default: float) -> float:
    if text is None:
        return default
    try:
        return parse_amount(text if not text.replace(".", "").isdigit() else f"{text} s", "ns") / 1e9
    except NsysError as error:
        raise SettingsError(f"{name}: {error.what}", remedy="give seconds, such as 600") from None


def read_tolerances(lines: list[str]) -> tuple[tuple[str, Tolerance], ...]:
    """Pairs of metric and tolerance; the metric ``*`` stands for every timed one.

    Raises:
        SettingsError: a line cannot be read.
    """
    tolerances = []
    for line in lines:
        key, equals, text = line.rpartition("=")
        key = key.strip() if equals else "*"
        try:
            unit = lookup(key).unit if key != "*" else "ns"
            parts = [part.strip() for part in text.split(",")]
            value = parts[0] if len(parts) == 1 else parts
            tolerances.append((key, parse_tolerance(value, unit)))
        except NsysError as error:
            raise SettingsError(
                f"nsys_tolerance: {line!r}: {error.what}", remedy=error.remedy
            ) from None
    return tuple(tolerances)
