"""Command-line options and ini values, declared once.

An option's command-line default is always None, and the ini value is read when it is None, so
that a default never hides what the ini file says. This module is imported in every run of every
project that has the plugin, so it imports next to nothing.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

Mode = Literal["idle", "profile", "gate", "update", "update-new"]

WarnOrFail = Literal["warn", "fail"]

Clock = Literal["note", "require-locked"]

Table = Literal["off", "changed", "all"]

Counting = Literal["off", "on-regression", "always"]

Export = Literal["bencher", "github-benchmark"]
"""Formats of other tools that results can be written in."""

Capture = Literal["auto", "nsys", "cupti"]

MARKER_LINE = (
    "nsys(warmup, rounds, cold_l2, processes, tolerance, budget, require, forbid, check, expected, "
    "isolate, gpus, timeout, nsys_args, allow_empty): measure this test under NVIDIA Nsight "
    "Systems when pytest runs with --nsys, --nsys-baseline or --nsys-update"
)


Group = Literal["run", "measuring", "gate", "recordings", "reports", "diagnosis"]

GROUPS: dict[Group, str] = {
    "run": "GPU performance under NVIDIA Nsight Systems (nsys)",
    "measuring": "nsys: measuring",
    "gate": "nsys: gate and baselines",
    "recordings": "nsys: recordings and replay",
    "reports": "nsys: reports",
    "diagnosis": "nsys: diagnosis",
}
"""The titles under which ``pytest --help`` has the options, in their order."""


class Option(NamedTuple):
    """One option: ``--nsys-some-name`` on the command line, ``nsys_some_name`` in the ini file.

    Attributes:
        name: in the ini file.
        group: what it is about: a key of `GROUPS`.
        about: what it is for, in a line or two of the help.
        kind: what its values are; "exports" are of the form FORMAT:PATH.
        metavar: what its value is called in the help.
        ini_only: whether the command line does not have it: a project decides it once, and who
            needs another value for one run gives ``-o nsys_some_name=VALUE``.
        judging: what it has to do with the judgement of what was measured. A "rule" says how to
            judge, and recordings keep it; a "file" says where baselines and reports are.
    """

    name: str
    group: Group
    about: str
    kind: Literal["flag", "path", "paths", "exports", "text", "lines"] = "text"
    metavar: str | None = None
    ini_only: bool = False
    judging: Literal["", "rule", "file"] = ""

    @property
    def flag(self) -> str:
        """The command-line form."""
        return "--" + self.name.replace("_", "-")

    @property
    def help(self) -> str:
        """What it is for, as argparse takes it: with its percent signs doubled."""
        return self.about.replace("%", "%%")

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return self.kind in ("lines", "paths", "exports")


OPTIONS: tuple[Option, ...] = (
    Option(
        "nsys",
        "run",
        "measure marked tests; compare where there is a baseline, and enforce budgets",
        "flag",
    ),
    Option(
        "nsys_baseline",
        "run",
        "the gate for CI: as --nsys, and what cannot be compared fails too",
        "flag",
    ),
    Option("nsys_update", "run", "measure marked tests and record their baselines", "flag"),
    Option("nsys_update_new", "run", "record only baselines that are missing", "flag"),
    Option(
        "nsys_rounds",
        "measuring",
        "measured calls per test and process (default: 5); 'auto': as many as its tolerance needs",
        metavar="N",
    ),
    Option(
        "nsys_max_rounds",
        "measuring",
        "the most rounds that 'auto' takes (default: 50)",
        metavar="N",
        ini_only=True,
    ),
    Option(
        "nsys_warmup",
        "measuring",
        "calls before the measured ones (default: 1)",
        metavar="N",
        ini_only=True,
    ),
    Option(
        "nsys_capture",
        "measuring",
        "cupti: record in pytest's own process, without nsys; nsys: nsys, or an error; auto: nsys "
        "where there is one (default)",
        metavar="auto|nsys|cupti",
    ),
    Option(
        "nsys_processes",
        "measuring",
        "processes that measure each test, one after another (default: 1; 3 for baselines)",
        metavar="N",
    ),
    Option(
        "nsys_confirm",
        "measuring",
        "how often what looks slower is measured again, in a fresh process, before it fails "
        "(default: 2)",
        metavar="N",
        ini_only=True,
    ),
    Option(
        "nsys_cold_l2",
        "measuring",
        "true: the L2 cache is emptied before each measured call (default: false)",
        metavar="true|false",
        ini_only=True,
    ),
    Option(
        "nsys_adopt",
        "measuring",
        "'benchmark': tests that use the fixture of pytest-benchmark or pytest-codspeed are "
        "measured as if they were marked nsys; 'do_bench': so is what triton.testing.do_bench is "
        "given in measured tests (default: neither)",
        metavar="benchmark|do_bench",
        ini_only=True,
    ),
    Option(
        "nsys_ahead",
        "measuring",
        "true: processes are started ahead of their turn, to import what tests need side by side "
        "(default); false: one after another",
        metavar="true|false",
        ini_only=True,
    ),
    Option(
        "nsys_share_gpu",
        "measuring",
        "true: several workers of pytest-xdist (-n) may measure on one GPU (default: false)",
        metavar="true|false",
        ini_only=True,
    ),
    Option(
        "nsys_timeout",
        "measuring",
        "longest time one test may take with all its rounds (default: 30 min)",
        metavar="SECONDS",
        ini_only=True,
    ),
    Option(
        "nsys_tool_timeout",
        "measuring",
        "longest time that nsys itself may take to begin, to write a report, to export it "
        "(default: 15 min)",
        metavar="SECONDS",
        ini_only=True,
    ),
    Option(
        "nsys_lock_timeout",
        "measuring",
        "longest wait for another run that measures on the same GPU (default: 30 min)",
        metavar="SECONDS",
        ini_only=True,
    ),
    Option(
        "nsys_max_duration",
        "measuring",
        "stop measuring when the tests of one capture have run for so long; those not measured "
        "fail (default: no limit)",
        metavar="SECONDS",
        ini_only=True,
    ),
    Option(
        "nsys_max_capture_size",
        "measuring",
        "stop measuring when a capture is so large on disk, such as '2 GiB'; those not measured "
        "fail (default: no limit)",
        metavar="SIZE",
        ini_only=True,
    ),
    Option(
        "nsys_baseline_dir",
        "gate",
        "folder of the baselines (default: baselines)",
        "path",
        "DIR",
        judging="file",
    ),
    Option(
        "nsys_tolerance",
        "gate",
        "such as gpu.kernel_time=5% or 'mem.peak=2%, 16 MiB'; without METRIC: of every timed one; "
        "again for more",
        "lines",
        "[METRIC=]TOLERANCE",
        judging="rule",
    ),
    Option(
        "nsys_against",
        "gate",
        "compare with another revision, measured in the same run: a git ref, or a folder that has "
        "it",
        metavar="REF",
    ),
    Option(
        "nsys_against_setup",
        "gate",
        "command that makes a checkout of the other revision ready, run in it",
        metavar="COMMAND",
        ini_only=True,
    ),
    Option(
        "nsys_against_python",
        "gate",
        "Python that measures the other revision, seen from its folder (default: this one)",
        metavar="FILE",
        ini_only=True,
    ),
    Option(
        "nsys_device",
        "gate",
        "name of the device in the folder of baselines (default: the GPU's)",
        metavar="NAME",
        ini_only=True,
        judging="rule",
    ),
    Option(
        "nsys_allow_none",
        "gate",
        "true: the gate passes though no test was measured (default: false)",
        metavar="true|false",
        ini_only=True,
        judging="rule",
    ),
    Option(
        "nsys_skipped",
        "gate",
        "fail: the gate fails a test that is skipped and has a baseline (default: warn)",
        metavar="warn|fail",
        ini_only=True,
        judging="rule",
    ),
    Option(
        "nsys_inconclusive",
        "gate",
        "fail: the gate fails a test that is too noisy to tell (default: warn)",
        metavar="warn|fail",
        ini_only=True,
        judging="rule",
    ),
    Option(
        "nsys_clock",
        "gate",
        "require-locked: the gate fails a test around whose rounds the GPU's clocks were not "
        "locked (nvidia-smi -lgc); note: they are evidence (default)",
        metavar="note|require-locked",
        ini_only=True,
        judging="rule",
    ),
    Option(
        "nsys_timeline",
        "gate",
        "false: no timeline for the HTML page is kept beside a baseline (default: true)",
        metavar="true|false",
        ini_only=True,
    ),
    Option("nsys_record", "recordings", "keep this run as a recording in DIR", "path", "DIR"),
    Option(
        "nsys_part",
        "recordings",
        "which part of the suite the recording is, such as 3/8: one that is missing fails the gate",
        metavar="NUMBER/OF",
    ),
    Option(
        "nsys_replay",
        "recordings",
        "judge the recording in DIR, or all below it, instead of running tests; again for more",
        "paths",
        "DIR",
    ),
    Option("nsys_json", "reports", "write the results as JSON", "path", "FILE", judging="file"),
    Option(
        "nsys_json_samples",
        "reports",
        "true: the JSON has the samples of every round (default: false)",
        metavar="true|false",
        ini_only=True,
        judging="file",
    ),
    Option(
        "nsys_html", "reports", "write the results as one HTML page", "path", "FILE", judging="file"
    ),
    Option(
        "nsys_markdown",
        "reports",
        "write the results as Markdown, for a comment on a pull request",
        "path",
        "FILE",
        judging="file",
    ),
    Option(
        "nsys_job_summary",
        "reports",
        "false: the Markdown is not appended to the summary of a CI job, where "
        "GITHUB_STEP_SUMMARY names one (default: true)",
        metavar="true|false",
        ini_only=True,
        judging="file",
    ),
    Option(
        "nsys_report_url",
        "reports",
        "where CI publishes the HTML page, for a link to it in the Markdown",
        metavar="URL",
        ini_only=True,
        judging="file",
    ),
    Option(
        "nsys_report_name",
        "reports",
        "what this job is called in the Markdown, where several comment on one pull request",
        metavar="NAME",
        ini_only=True,
        judging="file",
    ),
    Option(
        "nsys_export",
        "reports",
        "write the results for another tool: bencher:FILE or github-benchmark:DIR; again for more",
        "exports",
        "FORMAT:PATH",
        judging="file",
    ),
    Option(
        "nsys_history",
        "reports",
        "append the results to the histories in DIR, which 'pytest-nsys history' shows",
        "path",
        "DIR",
        judging="file",
    ),
    Option(
        "nsys_table",
        "reports",
        "rows of the summary's table; changed: what is not ok (default: all; in the gate with -v "
        "alone)",
        metavar="off|changed|all",
        judging="file",
    ),
    Option(
        "nsys_columns",
        "reports",
        "metric that the table shows, in the place of the usual ones; again for more",
        "lines",
        "METRIC",
        judging="file",
    ),
    Option(
        "nsys_ncu",
        "diagnosis",
        "count kernels with ncu (Nsight Compute): of what regressed, or of all tests (default: "
        "off)",
        metavar="off|on-regression|always",
    ),
    Option(
        "nsys_executable", "diagnosis", "the nsys to run (default: searched for)", metavar="FILE"
    ),
    Option("nsys_args", "diagnosis", "further arguments of 'nsys profile'", metavar="ARGS"),
    Option(
        "nsys_keep", "diagnosis", "keep nsys's own reports in DIR; they hold secrets", "path", "DIR"
    ),
)


MODES: dict[str, Mode] = {
    "nsys_update": "update",
    "nsys_update_new": "update-new",
    "nsys_baseline": "gate",
    "nsys": "profile",
}


class _RefusesIniOnly(argparse.Action):
    """Tells who gives an ini value as an option where it belongs."""

    def __call__(self, _parser: Any, _namespace: Any, values: Any, flag: Any = None) -> None:
        name, value = self.dest, "VALUE" if values is None else values
        raise usage_error(
            f"{flag} is no option: {name} is set in the ini file",
            f"write {name} = {value} there, or for this run alone give "
            f"-o {shlex.quote(f'{name}={value}')}",
        )


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and its ini twin."""
    groups = {group: parser.getgroup(f"nsys-{group}", title) for group, title in GROUPS.items()}
    for option in OPTIONS:
        group = groups[option.group]
        if option.ini_only:
            group.addoption(
                option.flag,
                action=_RefusesIniOnly,
                nargs="?",
                default=None,
                dest=option.name,
                help=argparse.SUPPRESS,
            )
        elif option.kind == "flag":
            group.addoption(
                option.flag, action="store_true", default=None, dest=option.name, help=option.help
            )
        else:
            group.addoption(
                option.flag,
                action="append" if option.is_list else "store",
                default=None,
                dest=option.name,
                metavar=option.metavar,
                help=option.help,
            )
        kind: Any = "bool" if option.kind == "flag" else "linelist" if option.is_list else "string"
        about = option.about if option.ini_only else f"as {option.flag}"
        parser.addini(option.name, about, type=kind, default=None)


def check_flags(parser: pytest.Parser, args: Sequence[str]) -> None:
    """Refuse an option that begins as ours do and is nobody's, with the nearest of ours.

    Args:
        parser: of a run whose plugins and first ``conftest.py`` files are loaded.
        args: the command line.

    Raises:
        pytest.UsageError: there is such an option.
    """
    flags = [option.flag for option in OPTIONS]
    given = {arg: arg.partition("=")[0] for arg in args if arg.startswith("--nsys")}
    if {*given.values()} <= {*flags}:
        return
    for arg in parser.parse_known_and_unknown_args(list(args))[1]:
        if arg in given:
            raise _nobodys(f"there is no option {given[arg]}", given[arg], flags)


def check_ini(config: pytest.Config) -> None:
    """Refuse an ini value that is named as ours are and is nobody's: pytest would only warn, and
    a gate would judge with a default.

    Raises:
        pytest.UsageError: there is such an ini value, in the ini file or of ``-o``.
    """
    names = [option.name for option in OPTIONS]
    overridden = [text.partition("=")[0] for text in config.getoption("override_ini", None) or ()]
    in_file: Any = config._inicfg if hasattr(config, "_inicfg") else config.inicfg  # pytest < 9
    for name in [*overridden, *in_file]:
        if name in names or not name.lower().replace("-", "_").startswith("nsys_"):
            continue
        try:
            config.getini(name)
        except ValueError as error:
            if "unknown configuration value" not in str(error):
                continue  # another plugin's, which says itself what is wrong with it
            where = "-o" if name in overridden else str(config.inipath and config.inipath.name)
            what = f"{where} sets {name}, and there is no such ini value"
            raise _nobodys(what, name, names) from None


def _nobodys(what: str, name: str, names: list[str]) -> Exception:
    from pytest_nsys.support.text import suggest

    return usage_error(
        what, f"{suggest(name, names)} (if it is another plugin's, that is not loaded)"
    )


def ini_value(config: pytest.Config, name: str) -> Any:
    """What the configuration file says of an option: text, a list of lines, or a truth.

    pytest 9 keeps the types of values in ``[tool.pytest]``, and takes one type for an option.
    Ours have several spellings (``nsys_rounds`` is 3 or "auto"): there, too, a number is the text
    that it would be in an ini file.

    Raises:
        pytest.UsageError: the value has a type or text that the option cannot have.
    """
    given: Any = getattr(config, "_inicfg", {}).get(name)
    if getattr(given, "mode", "ini") != "toml":
        return config.getini(name)
    option = next(option for option in OPTIONS if option.name == name)
    values = given.value if isinstance(given.value, list) else [given.value]
    if not all(isinstance(value, (str, int, float)) for value in values):
        raise _wrong_type(name, given.value, "give a text, a number, true or false")
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    if option.is_list:
        return texts
    if option.kind != "flag":
        return "\n".join(texts)
    if texts not in (["true"], ["false"]):
        raise _wrong_type(name, given.value, "give true or false")
    return texts == ["true"]


def _wrong_type(name: str, value: object, remedy: str) -> Exception:
    return usage_error(f"{name} is {value!r:.200}", remedy)


def usage_error(what: str, remedy: str) -> Exception:
    """What pytest prints without a traceback, before it runs anything."""
    import pytest

    from pytest_nsys.errors import SettingsError

    return pytest.UsageError(str(SettingsError(what, remedy=remedy)))


def is_active(config: pytest.Config) -> bool:
    """Whether this run measures or judges, decided as cheaply as possible."""
    # An empty value of these is a mistake, which is told: it does not turn the gate off.
    given = ("nsys_replay", "nsys_against")
    return any(config.getoption(name) or ini_value(config, name) for name in MODES) or any(
        config.getoption(name) is not None or ini_value(config, name) is not None for name in given
    )
