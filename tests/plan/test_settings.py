"""Options and ini values read into settings."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS, lookup
from pytest_nsys.errors import SettingsError
from pytest_nsys.plan.options import MODES, OPTIONS, Mode, Option, is_active
from pytest_nsys.plan.part import Part
from pytest_nsys.plan.settings import Settings, read_settings, read_tolerances
from pytest_nsys.support.units import Tolerance

Configure = Callable[..., pytest.Config]


@pytest.fixture
def configure(pytester: pytest.Pytester) -> Configure:
    """A configuration from command-line arguments and lines of an ini file."""

    def parse(*args: str, ini: str = "") -> pytest.Config:
        lines = ["[pytest]", "asyncio_default_fixture_loop_scope = function", *ini.splitlines()]
        (pytester.path / "pytest.ini").write_text("\n".join(lines) + "\n")
        return pytester.parseconfig(*args)

    return parse


@pytest.fixture
def read(configure: Configure) -> Callable[..., Settings]:
    def settings(*args: str, ini: str = "") -> Settings:
        return read_settings(configure(*args, ini=ini))

    return settings


def test_without_options_the_plugin_is_idle_and_all_is_default(
    configure: Configure, pytester: pytest.Pytester
) -> None:
    config = configure()
    assert not is_active(config)
    settings = read_settings(config)
    assert settings == Settings("idle", pytester.path, pytester.path / "baselines")
    assert not settings.active
    assert (settings.rounds, settings.warmup, settings.timeout_s) == (5, 1, 1800.0)


@pytest.mark.parametrize(
    ("args", "mode"),
    [
        (["--nsys"], "profile"),
        (["--nsys-baseline"], "gate"),
        (["--nsys-update"], "update"),
        (["--nsys-update-new"], "update-new"),
        (["--nsys", "--nsys-baseline"], "gate"),
        (["--nsys-update", "--nsys"], "update"),
        (["--nsys-replay", "x"], "profile"),
        (["--nsys-replay", "x", "--nsys-baseline"], "gate"),
        (["--nsys-against", "main"], "profile"),
        (["--nsys-against", "main", "--nsys-baseline"], "gate"),
    ],
)
def test_the_strictest_mode_asked_for_counts(
    configure: Configure, args: list[str], mode: Mode
) -> None:
    config = configure(*args)
    assert is_active(config)
    settings = read_settings(config)
    assert settings.mode == mode
    assert settings.active


@pytest.mark.parametrize("name", MODES)
def test_every_mode_can_be_asked_for_in_the_ini_file(configure: Configure, name: str) -> None:
    config = configure(ini=f"{name} = true")
    assert is_active(config)
    assert read_settings(config).mode == MODES[name]
    assert not is_active(configure(ini=f"{name} = false"))


def test_the_command_lines_mode_takes_the_place_of_the_ini_files(
    read: Callable[..., Settings],
) -> None:
    assert read("--nsys", ini="nsys_baseline = true").mode == "profile"
    assert read("--nsys-update", ini="nsys_baseline = true").mode == "update"


@pytest.mark.parametrize(
    "args",
    [
        ("--nsys-update", "--nsys-baseline"),
        ("--nsys-update", "--nsys-update-new"),
        ("--nsys-update-new", "--nsys-baseline"),
    ],
)
def test_modes_that_contradict_each_other_are_refused(
    configure: Configure, args: tuple[str, str]
) -> None:
    config = configure(*args)
    with pytest.raises(SettingsError, match="contradict each other") as caught:
        read_settings(config)
    assert all(flag in caught.value.what for flag in args)


def test_a_replay_is_not_recorded(configure: Configure) -> None:
    config = configure("--nsys-replay=a", "--nsys-record=b")
    with pytest.raises(SettingsError, match="contradict each other"):
        read_settings(config)


@pytest.mark.parametrize("other", ["--nsys-update", "--nsys-update-new", "--nsys-replay=a"])
def test_what_measures_two_revisions_neither_records_baselines_nor_replays(
    configure: Configure, other: str
) -> None:
    config = configure("--nsys-against=main", other)
    with pytest.raises(SettingsError, match="--nsys-against measures two revisions") as caught:
        read_settings(config)
    assert "leave out --nsys-against" in caught.value.remedy


@pytest.mark.parametrize(
    ("args", "processes"),
    [
        (["--nsys"], 1),
        (["--nsys-baseline"], 1),
        (["--nsys-replay=x"], 1),
        (["--nsys-update"], 3),
        (["--nsys-update-new"], 3),
        (["--nsys-against=main"], 2),
        (["--nsys-update", "--nsys-processes=1"], 1),
        (["--nsys-against=main", "--nsys-processes=5"], 5),
    ],
)
def test_a_run_has_as_many_sessions_as_it_needs_where_nobody_says(
    read: Callable[..., Settings], args: list[str], processes: int
) -> None:
    settings = read(*args)
    assert settings.processes == processes
    assert settings.records is any("update" in arg for arg in args)


def test_how_verdicts_are_made_is_read_from_both_places(read: Callable[..., Settings]) -> None:
    default = read("--nsys")
    assert (default.rounds, default.auto, default.max_rounds) == (5, False, 50)
    assert (default.confirm, default.inconclusive) == (2, "warn")
    assert default.lock_timeout_s == 1800.0
    assert (default.against, default.against_setup, default.against_python) == (None, (), None)
    ini = """\
nsys_rounds = auto
nsys_max_rounds = 80
nsys_processes = 4
nsys_confirm = 0
nsys_inconclusive = fail
nsys_against_setup = make "all of it"
nsys_against_python = .venv/bin/python
nsys_lock_timeout = 5 s"""
    settings = read("--nsys", ini=ini)
    assert (settings.rounds, settings.auto, settings.max_rounds) == (5, True, 80)
    assert (settings.processes, settings.confirm, settings.inconclusive) == (4, 0, "fail")
    assert settings.against_setup == ("make", "all of it")
    assert settings.against_python == ".venv/bin/python"
    assert settings.lock_timeout_s == 5.0
    args = (
        "--nsys-rounds=7",
        "-o",
        "nsys_confirm=1",
        "-o",
        "nsys_inconclusive=warn",
        "--nsys-processes=2",
    )
    settings = read("--nsys", *args, ini=ini)
    assert (settings.rounds, settings.auto, settings.confirm) == (7, False, 1)
    assert (settings.processes, settings.inconclusive) == (2, "warn")


PATHS = [
    ("nsys_baseline_dir", "baseline_dir"),
    ("nsys_record", "record"),
    ("nsys_json", "json"),
    ("nsys_html", "html"),
    ("nsys_keep", "keep"),
]


@pytest.mark.parametrize(("name", "attribute"), PATHS)
def test_paths_are_relative_to_where_they_were_written(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, attribute: str
) -> None:
    below = pytester.mkdir("below")
    (pytester.path / "pytest.ini").write_text(
        f"[pytest]\nasyncio_default_fixture_loop_scope = function\n{name} = from-ini\n"
    )
    monkeypatch.chdir(below)
    arguments = (f"--rootdir={pytester.path}", "-c", "../pytest.ini")
    settings = read_settings(pytester.parseconfig(*arguments))
    assert getattr(settings, attribute) == pytester.path / "from-ini"
    flag = "--" + name.replace("_", "-")
    settings = read_settings(pytester.parseconfig(*arguments, flag, "given"))
    assert getattr(settings, attribute) == below / "given"
    settings = read_settings(pytester.parseconfig(*arguments, flag, "~/given"))
    assert getattr(settings, attribute) == Path("~/given").expanduser().resolve()


def test_several_recordings_can_be_named(read: Callable[..., Settings]) -> None:
    here = Path.cwd()
    assert read().replay == ()
    assert read("--nsys-replay=a", "--nsys-replay=/b").replay == (here / "a", Path("/b"))
    assert read(ini="nsys_replay =\n    a\n    b c").replay == (here / "a", here / "b c")
    for empty in ("", " "):
        with pytest.raises(SettingsError, match="--nsys-replay is empty"):
            read("--nsys-replay=a", f"--nsys-replay={empty}")


def test_what_is_exported_has_a_format_and_a_place(read: Callable[..., Settings]) -> None:
    here = Path.cwd()
    assert read().exports == ()
    both = read("--nsys-export=bencher:a:b.json", "--nsys-export=github-benchmark: /lists").exports
    assert both == (("bencher", here / "a:b.json"), ("github-benchmark", Path("/lists")))
    assert read(ini="nsys_export = bencher:x").exports == (("bencher", here / "x"),)
    for wrong in ("bencher", "bencher:", "Bencher:x", ":x", "csv:x"):
        with pytest.raises(SettingsError, match="nsys_export is ") as error:
            read(f"--nsys-export={wrong}")
        assert error.value.remedy == "give bencher:PATH or github-benchmark:PATH"


def test_a_part_is_a_number_of_so_many(read: Callable[..., Settings]) -> None:
    assert read().part is None
    assert read("--nsys-part=0/8").part == Part(0, 8)
    assert read("--nsys-part=8/8").part == Part(8, 8)
    for wrong in ("9/8", "-1/8", "3", "/8", "3/", "/", "a/b", "0/0", "1.5/2"):
        with pytest.raises(SettingsError, match="nsys_part is ") as error:
            read(f"--nsys-part={wrong}")
        assert "is a variable not set?" in error.value.remedy


def test_every_option_is_an_ini_value_too(configure: Configure) -> None:
    texts = {"flag": "true", **dict.fromkeys(("lines", "paths", "exports"), "5%")}
    ini = "\n".join(f"{option.name} = {texts.get(option.kind, '7')}" for option in OPTIONS)
    config = configure(ini=ini)
    for option in OPTIONS:
        assert config.getoption(option.name) is None
        assert config.getini(option.name) in (True, ["5%"], "7")


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.ini_only])
def test_what_the_ini_file_alone_has_is_told_where_it_belongs(
    configure: Configure, option: Option
) -> None:
    forms = (((f"{option.flag}=a b",), "a b"), ((option.flag, "a b"), "a b"))
    for args, value in (*forms, ((option.flag,), "VALUE")):
        with pytest.raises(pytest.UsageError) as caught:
            configure(*args)
        what, _, remedy = str(caught.value).partition("\nWhat to do: ")
        assert what == f"{option.flag} is no option: {option.name} is set in the ini file"
        quoted = shlex.quote(f"{option.name}={value}")
        assert remedy == (
            f"write {option.name} = {value} there, or for this run alone give -o {quoted}"
        )


def test_the_command_line_comes_before_marks_by_options_or_else_by_ini_values(
    read: Callable[..., Settings],
) -> None:
    assert read(ini="nsys_warmup = 3\nnsys_rounds = 3").overriding == frozenset()
    # What has an option is overridden by it: -o stands for the file, as in pytest-nsys judge.
    given = ("-o", "nsys_warmup=3", "--nsys-rounds=3", "-o", "nsys_processes=3", "-o", "addopts=")
    settings = read(*given)
    assert settings.overriding == {"nsys_warmup", "nsys_rounds"}
    assert (settings.warmup, settings.processes) == (3, 3)


def test_values_are_read_from_the_command_line_and_from_the_ini_file(
    read: Callable[..., Settings],
) -> None:
    ini = """\
nsys_rounds = 7
nsys_warmup = 0
nsys_tolerance =
    gpu.kernel_time=5%
    mem.peak = 2%, 16 MiB
nsys_executable = /opt/nsys
nsys_args = --gpu-metrics-devices=all "--a b"
nsys_device = my gpu
nsys_timeout = 90"""
    settings = read(ini=ini)
    assert (settings.rounds, settings.warmup, settings.timeout_s) == (7, 0, 90.0)
    assert settings.tolerance == (
        ("gpu.kernel_time", Tolerance(0.05)),
        ("mem.peak", Tolerance(0.02, 2**24)),
    )
    assert settings.executable == "/opt/nsys"
    assert settings.nsys_args == ("--gpu-metrics-devices=all", "--a b")
    assert settings.device == "my gpu"
    args = (
        "--nsys-rounds=3",
        "-o",
        "nsys_warmup=2",
        "--nsys-tolerance=9%",
        "-o",
        "nsys_timeout=2 s",
    )
    settings = read(*args, "--nsys-args=-x", "-o", "nsys_device=other", ini=ini)
    assert (settings.rounds, settings.warmup, settings.timeout_s) == (3, 2, 2.0)
    assert settings.tolerance == (("*", Tolerance(0.09)),)
    assert (settings.nsys_args, settings.device) == (("-x",), "other")


@pytest.mark.parametrize(
    ("ini", "named"),
    [
        ("nsys_rounds = 0", "nsys_rounds is '0'"),
        ("nsys_rounds = many", "nsys_rounds is 'many'"),
        ("nsys_rounds = 2.5", "nsys_rounds is '2.5'"),
        ("nsys_warmup = -1", "nsys_warmup is '-1'"),
        ("nsys_rounds = Auto", "nsys_rounds is 'Auto'"),
        ("nsys_max_rounds = auto", "nsys_max_rounds is 'auto'"),
        ("nsys_processes = 0", "nsys_processes is '0'"),
        ("nsys_confirm = -1", "nsys_confirm is '-1'"),
        ("nsys_inconclusive = maybe", "nsys_inconclusive is 'maybe'"),
        ("nsys_lock_timeout = 0", "nsys_lock_timeout"),
        ("nsys_against_setup = make 'all", "nsys_against_setup"),
        ("nsys_timeout = soon", "nsys_timeout"),
        ("nsys_timeout = -5", "nsys_timeout"),
        ("nsys_timeout = 0", "nsys_timeout"),
        ("nsys_timeout = 5 MB", "nsys_timeout"),
        ("nsys_tolerance = gpu.kernel_tme=5%", "nsys_tolerance: 'gpu.kernel_tme=5%'"),
        ("nsys_tolerance = mem.peak=5 s", "nsys_tolerance: 'mem.peak=5 s'"),
        ("nsys_args = --a 'b", "nsys_args"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_with_a_remedy(
    configure: Configure, ini: str, named: str
) -> None:
    config = configure(ini=ini)
    with pytest.raises(SettingsError) as caught:
        read_settings(config)
    assert named in caught.value.what
    assert caught.value.remedy
    assert caught.value.remedy.endswith("or auto") == ini.startswith("nsys_rounds")


def test_two_tolerances_in_one_are_told_how_to_be_two(configure: Configure) -> None:
    config = configure("--nsys-tolerance=gpu.busy=5%,wall.time=2%")
    with pytest.raises(SettingsError) as caught:
        read_settings(config)
    assert caught.value.remedy.startswith("give one metric each")


@pytest.mark.parametrize(
    ("text", "seconds"), [("600", 600), ("1.5", 1.5), ("90 s", 90), ("1500 ms", 1.5)]
)
def test_a_deadline_is_in_seconds(read: Callable[..., Settings], text: str, seconds: float) -> None:
    assert read(ini=f"nsys_timeout = {text}").timeout_s == seconds


@pytest.mark.parametrize(
    ("line", "tolerance"),
    [
        ("5%", ("*", Tolerance(0.05))),
        ("20 us", ("*", Tolerance(absolute=2e4))),
        ("5%, 20 us", ("*", Tolerance(0.05, 2e4))),
        ("*=5%", ("*", Tolerance(0.05))),
        ("gpu.kernel_time = 5%", ("gpu.kernel_time", Tolerance(0.05))),
        ("kernel[a=b].time=1 ms", ("kernel[a=b].time", Tolerance(absolute=1e6))),
        ("memcpy.h2d.count=2", ("memcpy.h2d.count", Tolerance(absolute=2))),
    ],
)
def test_a_line_of_tolerance_names_a_metric_or_none(
    line: str, tolerance: tuple[str, Tolerance]
) -> None:
    assert read_tolerances([line]) == (tolerance,)


@given(st.sampled_from(METRICS), st.integers(0, 100), st.integers(0, 10**6))
def test_any_metric_can_be_given_a_tolerance(metric: Any, relative: int, absolute: int) -> None:
    names = {"ns": "ns", "B": "B", "%": "pp", "B/s": "B/s", "1/s": "/s", "Hz": "Hz"}
    line = f"{metric.key}={relative}%,{absolute} {names.get(metric.unit, '')}"
    if metric.unit in ("W", "°C", "FLOP", "FLOP/s"):
        line += metric.unit
    ((key, tolerance),) = read_tolerances([line])
    assert key == metric.key
    assert tolerance == Tolerance(relative / 100, absolute)


@given(st.text())
def test_any_line_is_a_tolerance_or_the_error(line: str) -> None:
    with contextlib.suppress(SettingsError):
        ((key, tolerance),) = read_tolerances([line])
        assert key == "*" or lookup(key)
        assert tolerance.relative >= 0
        assert tolerance.absolute >= 0


def test_reading_options_imports_next_to_nothing() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pytest_nsys.plugin;"
        "heavy = {'pandas', 'numpy', 'jinja2', 'nvtx', 'filelock', 'psutil'} & set(sys.modules);"
        "own = {name for name in sys.modules if name.startswith('pytest_nsys')};"
        "print(heavy, own);"
        "sys.exit(bool(heavy) or len(own) > 4)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


TAKES_NOTHING = {
    *(
        "nsys_args",
        "nsys_against_setup",
        "nsys_tolerance",
        "nsys_report_url",
        "nsys_report_name",
        "nsys_columns",
        "nsys_adopt",
        "nsys_device",
    )
}


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_refused_and_turns_nothing_off(configure: Configure, value: str) -> None:
    """It is what a variable leaves that CI does not set."""
    for option in OPTIONS:
        if option.kind == "flag":
            continue
        for in_ini in (True,) if option.ini_only else (True, False):
            given = ("-o", f"{option.name}={value}") if in_ini else (f"{option.flag}={value}",)
            config = configure(*given)
            if option.name in TAKES_NOTHING:
                read_settings(config)
                continue
            with pytest.raises(SettingsError) as error:
                read_settings(config)
            assert error.value.what == f"{option.name if in_ini else option.flag} is empty"
            assert is_active(config) is (option.name in ("nsys_replay", "nsys_against"))
