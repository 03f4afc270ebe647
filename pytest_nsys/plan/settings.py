"""Reading the options of a run into frozen `Settings`."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pytest_nsys.errors import NsysError, SettingsError
from pytest_nsys.plan.adoption import read_adopt
from pytest_nsys.plan.options import (
    MODES,
    OPTIONS,
    Capture,
    Clock,
    Counting,
    Export,
    Mode,
    Option,
    Table,
    WarnOrFail,
    ini_value,
)
from pytest_nsys.plan.part import Part, read_part
from pytest_nsys.plan.patterns import known_metric
from pytest_nsys.support.units import Tolerance, Unit, parse_amount, parse_tolerance

if TYPE_CHECKING:
    import pytest

_BETWEEN = re.compile(r"[,\s](?![^\[]*\])")
"""Between metrics: a comma or a blank; in brackets it is part of a name."""

Values = Mapping[str, Any]
"""What the command line or else the ini file says, by option; None where neither does."""


@dataclass(frozen=True)
class Settings:
    """What the command line and the ini file ask for; paths are absolute.

    Attributes:
        overriding: the options of the command line, which come before what a marker says; ini
            values come after it.
    """

    mode: Mode
    rootdir: Path
    baseline_dir: Path
    timeline: bool = True
    record: Path | None = None
    part: Part | None = None
    replay: tuple[Path, ...] = ()
    json: Path | None = None
    json_samples: bool = False
    html: Path | None = None
    markdown: Path | None = None
    job_summary: Path | None = None
    report_url: str | None = None
    report_name: str | None = None
    exports: tuple[tuple[Export, Path], ...] = ()
    history: Path | None = None
    keep: Path | None = None
    rounds: int = 5
    auto: bool = False
    max_rounds: int = 50
    warmup: int = 1
    cold_l2: bool = False
    processes: int = 1
    ahead: bool = True
    confirm: int = 2
    inconclusive: WarnOrFail = "warn"
    clock: Clock = "note"
    skipped: WarnOrFail = "warn"
    allow_none: bool = False
    against: str | None = None
    against_setup: tuple[str, ...] = ()
    against_python: str | None = None
    tolerance: tuple[tuple[str, Tolerance], ...] = ()
    table: Table | None = None
    columns: tuple[str, ...] = ()
    ncu: Counting = "off"
    capture: Capture = "auto"
    executable: str | None = None
    nsys_args: tuple[str, ...] = ()
    device: str | None = None
    timeout_s: float = 1800.0
    tool_timeout_s: float = 900.0
    lock_timeout_s: float = 1800.0
    share_gpu: bool = False
    max_duration_s: float | None = None
    max_capture_size: int | None = None
    adopt: tuple[str, ...] = ()
    overriding: frozenset[str] = frozenset()

    @property
    def active(self) -> bool:
        """Whether marked tests are measured (or their recording judged)."""
        return self.mode != "idle"

    @property
    def fails_skipped(self) -> bool:
        """Whether a test that is skipped and has a baseline fails."""
        return self.mode == "gate" and self.skipped == "fail"

    @property
    def records(self) -> bool:
        """Whether baselines are recorded."""
        return self.mode in ("update", "update-new")


def _mode(config: pytest.Config) -> Mode:
    for read in (config.getoption, functools.partial(ini_value, config)):
        asked = [name for name in MODES if read(name)]
        strict = [name for name in asked if name != "nsys"]
        if len(strict) > 1:
            flags = " and ".join("--" + name.replace("_", "-") for name in strict)
            raise SettingsError(f"{flags} contradict each other", remedy="give one of them")
        if asked:
            return MODES[(strict or asked)[0]]
    return "idle"


def read_settings(config: pytest.Config) -> Settings:
    """The settings of this run.

    Raises:
        SettingsError: a value cannot be read, or options contradict each other.
    """
    values = {
        option.name: option_value(config, option) for option in OPTIONS if option.kind != "flag"
    }
    mode = _mode(config)
    replay = values["nsys_replay"] or ()
    against = values["nsys_against"]
    if (replay or against) and mode == "idle":
        mode = "profile"
    if against and (replay or mode in ("update", "update-new")):
        raise SettingsError(
            "--nsys-against measures two revisions, and writes and replays nothing",
            remedy="leave out --nsys-against, or --nsys-replay and --nsys-update",
        )
    if replay and values["nsys_record"]:
        raise SettingsError(
            "--nsys-replay and --nsys-record contradict each other",
            remedy="a replayed run is recorded already: copy the folder",
        )
    folder = values["nsys_baseline_dir"]
    # An ini file may name the folder before the first baseline is recorded.
    demanded = mode == "gate" or config.getoption("nsys_baseline_dir") is not None
    compares = mode in ("profile", "gate") and not against
    if folder and demanded and compares and not folder.is_dir():
        raise SettingsError(
            f"there is no folder of baselines {folder}",
            remedy="correct nsys_baseline_dir, or record baselines there with --nsys-update",
        )
    auto = values["nsys_rounds"] == "auto"
    return Settings(
        mode=mode,
        rootdir=config.rootpath,
        baseline_dir=folder or config.rootpath / "baselines",
        timeline=_truth("nsys_timeline", values["nsys_timeline"] or "true"),
        record=values["nsys_record"],
        part=read_part(values["nsys_part"]) if values["nsys_part"] else None,
        replay=replay,
        json=values["nsys_json"],
        json_samples=_truth("nsys_json_samples", values["nsys_json_samples"] or "false"),
        html=values["nsys_html"],
        markdown=values["nsys_markdown"],
        job_summary=_job_summary(values["nsys_job_summary"] or "true"),
        report_url=values["nsys_report_url"],
        report_name=values["nsys_report_name"],
        exports=values["nsys_export"] or (),
        history=values["nsys_history"],
        keep=values["nsys_keep"],
        rounds=Settings.rounds if auto else _count(values, "nsys_rounds", Settings.rounds, 1),
        auto=auto,
        max_rounds=_count(values, "nsys_max_rounds", Settings.max_rounds, 1),
        warmup=_count(values, "nsys_warmup", Settings.warmup, 0),
        cold_l2=_truth("nsys_cold_l2", values["nsys_cold_l2"] or "false"),
        processes=_count(values, "nsys_processes", _processes(mode, against), 1),
        ahead=_truth("nsys_ahead", values["nsys_ahead"] or "true"),
        confirm=_count(values, "nsys_confirm", Settings.confirm, 0),
        inconclusive=_warn_or_fail("nsys_inconclusive", values),
        clock=_clock(values["nsys_clock"] or "note"),
        skipped=_warn_or_fail("nsys_skipped", values),
        allow_none=_truth("nsys_allow_none", values["nsys_allow_none"] or "false"),
        against=against,
        against_setup=_words("nsys_against_setup", values["nsys_against_setup"] or ""),
        against_python=values["nsys_against_python"],
        tolerance=read_tolerances(values["nsys_tolerance"] or []),
        table=_table(values["nsys_table"]),
        columns=_columns(values["nsys_columns"] or []),
        ncu=_counting(values["nsys_ncu"] or "off"),
        capture=_capture(values["nsys_capture"] or "auto"),
        executable=values["nsys_executable"],
        nsys_args=_words("nsys_args", values["nsys_args"] or ""),
        device=values["nsys_device"],
        timeout_s=_seconds(values, "nsys_timeout") or Settings.timeout_s,
        tool_timeout_s=_seconds(values, "nsys_tool_timeout") or Settings.tool_timeout_s,
        lock_timeout_s=_seconds(values, "nsys_lock_timeout") or Settings.lock_timeout_s,
        share_gpu=_truth("nsys_share_gpu", values["nsys_share_gpu"] or "false"),
        max_duration_s=_seconds(values, "nsys_max_duration"),
        max_capture_size=_size(values, "nsys_max_capture_size"),
        adopt=read_adopt(values["nsys_adopt"]),
        overriding=_overriding(config),
    )


def _overriding(config: pytest.Config) -> frozenset[str]:
    """What the command line has a value of, and of what it has no option ``-o NAME=VALUE``."""
    set_here = {text.partition("=")[0] for text in config.getoption("override_ini") or ()}
    return frozenset(
        option.name
        for option in OPTIONS
        if config.getoption(option.name) is not None
        or (option.ini_only and option.name in set_here)
    )


def _processes(mode: Mode, against: str | None) -> int:
    """A baseline is to know the spread between processes; two revisions are to be alternated."""
    return 3 if mode in ("update", "update-new") else 2 if against else Settings.processes


def _job_summary(text: str) -> Path | None:
    """The file that GitHub (and Gitea, Forgejo) shows as the summary of a job, if there is one."""
    wanted = _truth("nsys_job_summary", text)
    path = os.environ.get("GITHUB_STEP_SUMMARY", "") if wanted else ""
    return Path(path) if path else None


def _clock(text: str) -> Clock:
    known: Clock
    for known in get_args(Clock):
        if text == known:
            return known
    raise SettingsError(f"nsys_clock is {text!r}", remedy="give note or require-locked")


def _warn_or_fail(name: str, values: Values) -> WarnOrFail:
    text = values[name] or "warn"
    known: WarnOrFail
    for known in get_args(WarnOrFail):
        if text == known:
            return known
    raise SettingsError(f"{name} is {text!r}", remedy="give warn or fail")


def _table(text: str | None) -> Table | None:
    known: Table
    for known in get_args(Table):
        if text == known:
            return known
    if text is None:
        return None
    raise SettingsError(f"nsys_table is {text!r}", remedy="give off, changed or all")


def _counting(text: str) -> Counting:
    known: Counting
    for known in get_args(Counting):
        if text == known:
            return known
    raise SettingsError(f"nsys_ncu is {text!r}", remedy="give off, on-regression or always")


def _capture(text: str) -> Capture:
    known: Capture
    for known in get_args(Capture):
        if text == known:
            return known
    raise SettingsError(f"nsys_capture is {text!r}", remedy="give auto, nsys or cupti")


def _columns(lines: list[str]) -> tuple[str, ...]:
    keys = [key.strip() for line in lines for key in _BETWEEN.split(line) if key.strip()]
    try:
        return tuple(dict.fromkeys(known_metric(key).key for key in keys))
    except NsysError as error:
        raise SettingsError(f"nsys_columns: {error.what}", remedy=error.remedy) from None


def _truth(name: str, text: str) -> bool:
    found = {"true": True, "false": False}.get(text.strip().lower())
    if found is None:
        raise SettingsError(f"{name} is {text!r}", remedy="give true or false")
    return found


def option_value(config: pytest.Config, option: Option) -> Any:
    """The command line's value (relative to where pytest was started), else the ini file's."""
    given = config.getoption(option.name)
    base = config.invocation_params.dir
    if given is None:
        given = ini_value(config, option.name)
        base = config.inipath.parent if config.inipath else config.rootpath
    if given is not None and not "".join(given).strip():
        _check_empty(config, option)
        given = None
    if given is None:
        return None
    if option.kind == "path":
        return _path(option.name, given, base)
    if option.kind == "paths":
        for one in given:
            if not one.strip():
                _check_empty(config, option)
        return tuple(_path(option.name, one, base) for one in given)
    if option.kind == "exports":
        return tuple(_export(option.name, one, base) for one in given)
    return given


def _export(name: str, given: str, base: Path) -> tuple[Export, Path]:
    form, _, path = (part.strip() for part in given.partition(":"))
    known: Export
    for known in get_args(Export):
        if form == known and path:
            return known, _path(name, path, base)
    forms = " or ".join(f"{known}:PATH" for known in get_args(Export))
    raise SettingsError(f"{name} is {given!r:.200}", remedy=f"give {forms}")


def _path(name: str, given: str, base: Path) -> Path:
    try:
        return (base / Path(given).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, NUL, no encoding
        raise SettingsError(
            f"{name} is {given!r:.200}",
            evidence=str(error),
            remedy="give the path of a file or folder",
        ) from None


_CAN_BE_EMPTY = (
    *("nsys_args", "nsys_against_setup", "nsys_tolerance", "nsys_report_url", "nsys_report_name"),
    *("nsys_columns", "nsys_adopt", "nsys_device"),
)
"""What an empty value says something of, as ``-o nsys_device=`` takes back what a file says."""


def _check_empty(config: pytest.Config, option: Option) -> None:
    """Refuse an empty value, such as that of a variable that CI does not set."""
    if option.name in _CAN_BE_EMPTY:
        return
    where = option.name if config.getoption(option.name) is None else option.flag
    raise SettingsError(
        f"{where} is empty",
        remedy="give it a value (is a variable not set?), or leave it out",
    )


def _count(values: Values, name: str, default: int, least: int) -> int:
    text = values[name]
    if text is None:
        return default
    try:
        count = int(text)
    except ValueError:
        count = least - 1
    if count < least:
        remedy = f"give a whole number from {least} on" + " or auto" * (name == "nsys_rounds")
        raise SettingsError(f"{name} is {text!r}", remedy=remedy)
    return count


def _seconds(values: Values, name: str) -> float | None:
    text = values[name]
    if text is None:
        return None
    return _amount(name, text, "ns", "give seconds above zero, such as 600", plain=" s") / 1e9


def _size(values: Values, name: str) -> int | None:
    text = values[name]
    if text is None:
        return None
    remedy = "give a size above zero with its unit, such as '2 GiB'"
    if text.strip().replace(".", "").isdigit():
        raise SettingsError(f"{name} is {text!r}", remedy=remedy)
    return int(_amount(name, text, "B", remedy))


def _amount(name: str, text: str, unit: Unit, remedy: str, plain: str = "") -> float:
    """The amount that a text says; ``plain`` is the unit of a number that has none."""
    try:
        amount = parse_amount(text + plain * text.replace(".", "").isdigit(), unit)
    except NsysError as error:
        raise SettingsError(f"{name}: {error.what}", remedy=remedy) from None
    if not amount:
        raise SettingsError(f"{name} is {text!r}", remedy=remedy)
    return amount


def _words(name: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(
            f"{name} is {text!r}: {error}", remedy="quote it as for a shell"
        ) from None


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
            unit = known_metric(key).unit if key != "*" else "ns"
            parts = [part.strip() for part in text.split(",")]
            value = parts[0] if len(parts) == 1 else parts
            tolerances.append((key, parse_tolerance(value, unit)))
        except NsysError as error:
            of_several = "=" in key and "," in key
            remedy = "give one metric each: a line of the ini file, or the option once more"
            raise SettingsError(
                f"nsys_tolerance: {line!r}: {error.what}",
                remedy=remedy if of_several else error.remedy,
            ) from None
    return tuple(tolerances)
