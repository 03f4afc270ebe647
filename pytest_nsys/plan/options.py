"""Command-line options and their ini twins, declared once.

An option's command-line default is always None, and the ini value is read when it is None, so
that a default never hides what the ini file says. This module is imported in every run of every
project that has the plugin, so it imports next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import pytest

Mode = Literal["idle", "profile", "gate", "update", "update-new"]

WarnOrFail = Literal["warn", "fail"]

Clock = Literal["note", "require-locked"]

Table = Literal["off", "changed", "all"]

Counting = Literal["off", "on-regression", "always"]

ADOPT = "nsys_adopt"
"""Of the ini file alone: which tests are measured is no matter of a run."""

MARKER_LINE = (
    "nsys(warmup, rounds, cold_l2, processes, tolerance, budget, require, forbid, check, expected, "
    "isolate, gpus, timeout, nsys_args, allow_empty): measure this test under NVIDIA Nsight "
    "Systems when pytest runs with --nsys, --nsys-baseline or --nsys-update"
)


class Option(NamedTuple):
    """One option: ``--nsys-some-name`` on the command line, ``nsys_some_name`` in the ini file.

    Attributes:
        name: in the ini file.
        about: what it is for.
        kind: what its values are.
        metavar: what its value is called in the help.
        judging: what it has to do with the judgement of what was measured. A "rule" says how to
            judge, and recordings keep it; a "file" says where baselines and reports are.
    """

    name: str
    about: str
    kind: Literal["flag", "path", "paths", "text", "lines"] = "text"
    metavar: str | None = None
    judging: Literal["", "rule", "file"] = ""

    @property
    def flag(self) -> str:
        """The command-line form."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return self.kind in ("lines", "paths")


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
    Option(
        "nsys_baseline_dir",
        "folder of the baselines (default: baselines)",
        "path",
        "DIR",
        judging="file",
    ),
    Option(
        "nsys_timeline",
        "whether a baseline's timeline is written beside it, for the HTML report (true)",
        metavar="true|false",
    ),
    Option("nsys_record", "keep this run as a recording in DIR", "path", "DIR"),
    Option(
        "nsys_part",
        "which part of the suite the recording is, such as 3/8 of a job of eight: whoever judges "
        "some of them is told that others are missing",
        metavar="NUMBER/OF",
    ),
    Option(
        "nsys_replay",
        "judge the recording in DIR, or all in the folders below it, instead of running tests; "
        "again for more",
        "paths",
        "DIR",
    ),
    Option("nsys_json", "write the results as JSON", "path", "FILE", judging="file"),
    Option(
        "nsys_json_samples",
        "whether the JSON has the samples of every round: true or false (default)",
        metavar="true|false",
        judging="file",
    ),
    Option("nsys_html", "write the results as one HTML page", "path", "FILE", judging="file"),
    Option(
        "nsys_markdown",
        "write the results as short Markdown, for a comment on a pull request",
        "path",
        "FILE",
        judging="file",
    ),
    Option(
        "nsys_job_summary",
        "whether the Markdown is appended to the summary of a CI job, where GITHUB_STEP_SUMMARY "
        "names one: true (default) or false",
        metavar="true|false",
        judging="file",
    ),
    Option(
        "nsys_report_url",
        "where CI publishes the HTML page, for a link to it",
        "text",
        "URL",
        judging="file",
    ),
    Option(
        "nsys_report_name",
        "what this job is called in the Markdown, where several jobs comment on one pull request",
        "text",
        "NAME",
        judging="file",
    ),
    Option(
        "nsys_history",
        "append what was measured of each test to its history in DIR ('pytest-nsys history')",
        "path",
        "DIR",
        judging="file",
    ),
    Option(
        "nsys_rounds",
        "measured calls per test and process (5); 'auto': as many as the tolerance needs",
        metavar="N",
    ),
    Option("nsys_max_rounds", "the most rounds that 'auto' takes (50)", metavar="N"),
    Option("nsys_warmup", "calls before them (1)", metavar="N"),
    Option(
        "nsys_cold_l2",
        "whether the L2 cache is emptied before each of them: true or false (default)",
        metavar="true|false",
    ),
    Option(
        "nsys_processes",
        "processes that measure each test, one after another (1; 3 when baselines are recorded)",
        metavar="N",
    ),
    Option(
        "nsys_ahead",
        "whether processes are started ahead of their turn, to import what tests need side by side "
        "(true) or one after another (false)",
        metavar="true|false",
    ),
    Option(
        "nsys_confirm",
        "how often what looks slower is measured again, in a fresh process, before it fails (2)",
        metavar="N",
    ),
    Option(
        "nsys_allow_none",
        "whether the gate passes though no test was measured: true or false (default)",
        metavar="true|false",
        judging="rule",
    ),
    Option(
        "nsys_skipped",
        "whether a test that is skipped and has a baseline passes the gate: warn (default) or fail",
        metavar="warn|fail",
        judging="rule",
    ),
    Option(
        "nsys_inconclusive",
        "whether a test that is too noisy to tell passes the gate: warn (default) or fail",
        metavar="warn|fail",
        judging="rule",
    ),
    Option(
        "nsys_against",
        "compare with another revision of the code (a git ref, or a folder such as ../main with a "
        "checkout that is ready), measured in the same run, instead of stored baselines",
        metavar="REF",
    ),
    Option(
        "nsys_against_setup",
        "command that prepares the other revision's folder, run in it",
        metavar="COMMAND",
    ),
    Option(
        "nsys_against_python",
        "Python that measures the other revision, from its folder (default: this one)",
        "text",
        "FILE",
    ),
    Option(
        "nsys_tolerance",
        "METRIC=TOLERANCE, such as 'gpu.kernel_time=5%%' or 'mem.peak=2%%, 16 MiB'; "
        "a bare TOLERANCE is that of every timed metric",
        "lines",
        "TOLERANCE",
        judging="rule",
    ),
    Option(
        "nsys_table",
        "which tests the table of the summary has: off, changed (those that are not ok) or all "
        "(default: all; with --nsys-baseline, with -v alone)",
        metavar="off|changed|all",
        judging="file",
    ),
    Option(
        "nsys_columns",
        "metric that the table shows, in the place of the usual ones; again for more",
        "lines",
        "METRIC",
        judging="file",
    ),
    Option(
        "nsys_ncu",
        "run tests once more below ncu (Nsight Compute), for counters of their kernels: off "
        "(default), on-regression: those that regressed, always: every one, and a baseline keeps "
        "its counters",
        metavar="off|on-regression|always",
    ),
    Option("nsys_executable", "the nsys to run (default: searched for)", metavar="FILE"),
    Option("nsys_args", "further arguments of 'nsys profile'", metavar="ARGS"),
    Option(
        "nsys_device",
        "name of the device in the baseline folder, instead of the GPU's",
        metavar="NAME",
        judging="rule",
    ),
    Option("nsys_keep", "keep the raw reports in DIR (they hold secrets)", "path", "DIR"),
    Option(
        "nsys_timeout",
        "longest time one test may take with all its rounds (30 min)",
        metavar="SECONDS",
    ),
    Option(
        "nsys_tool_timeout",
        "longest time that nsys itself may take to begin, to write a report, to export it (15 min)",
        metavar="SECONDS",
    ),
    Option(
        "nsys_lock_timeout",
        "longest wait for another run that measures on the same GPU (30 min)",
        metavar="SECONDS",
    ),
    Option(
        "nsys_share_gpu",
        "whether several workers of pytest-xdist (-n) may measure on one GPU: true or false "
        "(default)",
        metavar="true|false",
    ),
    Option(
        "nsys_max_duration",
        "stop measuring when the tests of one capture have run for so long (default: no limit); "
        "those not measured fail",
        metavar="SECONDS",
    ),
    Option(
        "nsys_max_capture_size",
        "stop measuring when a capture is so large on disk, such as '2 GiB' (default: no limit); "
        "those not measured fail",
        metavar="SIZE",
    ),
)


MODES: dict[str, Mode] = {
    "nsys_update": "update",
    "nsys_update_new": "update-new",
    "nsys_baseline": "gate",
    "nsys": "profile",
}


CLOCK = "nsys_clock"
"""Of the ini file alone: how a machine is set up is no matter of a run."""


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and its ini twin."""
    group = parser.getgroup("nsys", "GPU performance under NVIDIA Nsight Systems (nsys)")
    parser.addini(
        ADOPT,
        "'benchmark': tests that use the fixture of pytest-benchmark or pytest-codspeed are "
        "measured as if they were marked nsys; 'do_bench': so is what triton.testing.do_bench is "
        "given in measured tests",
        type="args",
        default=None,
    )
    parser.addini(
        CLOCK,
        "'require-locked': a gate fails a test around whose rounds the GPU's clocks were not "
        "locked (nvidia-smi -lgc); 'note' (default): they are evidence",
        default=None,
    )
    for option in OPTIONS:
        if option.kind == "flag":
            group.addoption(
                option.flag, action="store_true", default=None, dest=option.name, help=option.about
            )
            parser.addini(option.name, option.about, type="bool", default=None)
        else:
            group.addoption(
                option.flag,
                action="append" if option.is_list else "store",
                default=None,
                dest=option.name,
                metavar=option.metavar,
                help=option.about,
            )
            kind: Any = "linelist" if option.is_list else "string"
            parser.addini(option.name, option.about, type=kind, default=None)


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
        raise _usage_error(name, given.value, "give a text, a number, true or false")
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    if option.is_list:
        return texts
    if option.kind != "flag":
        return "\n".join(texts)
    if texts not in (["true"], ["false"]):
        raise _usage_error(name, given.value, "give true or false")
    return texts == ["true"]


def _usage_error(name: str, value: object, remedy: str) -> Exception:
    import pytest

    from pytest_nsys.errors import SettingsError

    return pytest.UsageError(str(SettingsError(f"{name} is {value!r:.200}", remedy=remedy)))


def is_active(config: pytest.Config) -> bool:
    """Whether this run measures or judges, decided as cheaply as possible."""
    # An empty value of these is a mistake, which is told: it does not turn the gate off.
    given = ("nsys_replay", "nsys_against")
    return any(config.getoption(name) or ini_value(config, name) for name in MODES) or any(
        config.getoption(name) is not None or ini_value(config, name) is not None for name in given
    )
