"""Marks and options are checked before anything runs, also where nothing is measured."""

from __future__ import annotations

import pytest

from pytest_nsys.plan.options import GROUPS, OPTIONS
from tests.support.harness import Project
from tests.support.seen import Story

WRONG = {
    "waarmup=1": "has no argument 'waarmup'|did you mean 'warmup'?",
    "3": "takes no positional arguments, got (3,)|",
    "rounds=0": "has rounds=0|give a whole number from 1 on",
    "rounds=True": "has rounds=True|give a whole number from 1 on",
    "rounds='5'": "has rounds='5'|give a whole number from 1 on",
    "warmup=-1": "has warmup=-1|give a whole number from 0 on",
    "warmup=1.5": "has warmup=1.5|give a whole number from 0 on",
    "timeout=0": "has timeout=0|give seconds above zero",
    "timeout=float('inf')": "has timeout=inf|give seconds above zero",
    "tolerance={'gpu.kernel_tme': '3%'}": "has tolerance={'gpu.kernel_tme': '3%'}: there is no "
    "metric 'gpu.kernel_tme'|did you mean 'gpu.kernel_time'?",
    "tolerance={'gpu.kernel_time': '3 MiB'}": "'3 MiB' has the unit 'MiB', which does not fit|"
    'write "2.5 ms" or "200 us"',
    "tolerance={'mem.peak': -1}": '-1 is negative or not finite|write "16 MiB"',
    "tolerance='-5%'": "'-5%' is not a quantity|",
    "tolerance=('5%', '1 us', 3)": "is not a relative and an absolute tolerance|"
    'write a pair such as ("2%", "16 MiB")',
    "tolerance=None": "None is not a tolerance|",
    "budget='2 ms'": "has budget='2 ms'|write a dictionary such as budget=",
    "budget={'h2d.bytes': 0}": "there is no metric 'h2d.bytes'|did you mean 'memcpy.h2d.bytes'?",
    "budget={'kernel[x].tim': 1}": "there is no metric 'kernel[x].tim'|did you mean 'kernel[",
    "budget={'gpu.kernel_time': '5%'}": "'5%' has the unit '%', which does not fit here|",
    "tolerance=3": '3 has no unit|such as "3%" or "3 us" or "3 ms"',
    "forbid=['memcpy HtoD']": "'memcpy HtoD', which can never match|did you mean '*memcpy*HtoD*'?",
    "require=5": "has require=5|give a string or a list of strings",
    "forbid=['ok', 5]": "has forbid=['ok', 5]|give a string or a list of strings",
    "check='m.kernels'": "has check='m.kernels'|give a function of one argument",
    "isolate=1": "has isolate=1|give True or False",
    "nsys_args={}": "has nsys_args={}|give a string or a list of strings",
    "allow_empty='no'": "has allow_empty='no'|give True or False",
}
WRONG_TEST = """
    import os, pytest

    class TestIt:
        @pytest.mark.parametrize("value", ["one"])
        @eval("pytest.mark.nsys(" + os.environ["WRONG"] + ")")
        def test_wrong(self, value):
            raise AssertionError("it ran")
"""


def test_a_wrong_mark_is_a_usage_error_in_any_run(
    simulated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated.write(WRONG_TEST)
    monkeypatch.setenv("WRONG", "budget={'gpu.kernel_tme': '3 ms'}")
    for options in ((), ("--nsys",), ("--collect-only",)):
        result = simulated.run(*options)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, options
        assert "it ran" not in result.stdout.str()
        assert "Traceback" not in result.stderr.str()
        result.stderr.fnmatch_lines(
            [
                "ERROR: test_it.py::TestIt::test_wrong?one?: @pytest.mark.nsys has "
                "budget={'gpu.kernel_tme': '3 ms'}: there is no metric 'gpu.kernel_tme'",
                "What to do: did you mean 'gpu.kernel_time'?",
            ]
        )


@pytest.mark.parametrize("arguments", WRONG)
def test_each_wrong_argument_is_named_with_what_is_right(
    arguments: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", arguments)
    project = Project(pytester)
    project.write(WRONG_TEST)
    result = pytester.runpytest_inprocess("--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    error = result.stderr.str()
    assert error.startswith("ERROR: test_it.py::TestIt::test_wrong[one]: @pytest.mark.nsys ")
    what, _, remedy = WRONG[arguments].partition("|")
    first, _, last = error.strip().partition("\n")
    assert what in first
    assert remedy in last


def test_right_marks_of_every_form_are_taken(simulated: Project) -> None:
    simulated.write(
        """
        import pytest, simgpu

        MARKS = [
            pytest.mark.nsys(),
            pytest.mark.nsys(tolerance="5%"),
            pytest.mark.nsys(tolerance=("5%", "200 us")),
            pytest.mark.nsys(tolerance={
                "gpu.kernel_time": ("1_0 us", "3%"), "kernel[ker*].time": "5%",
                "kernel[ker*].count": 1, "category[other].time": "5%", "api[cuda*].count": 2,
                "gpu.kernel_time.per_token": "2%", "mem.peak": ["2%", "16 MiB"],
            }),
            pytest.mark.nsys(budget={"mem.peak": "1 GiB", "gpu.kernel_time": "2.5ms"}),
            pytest.mark.nsys(require="kernel", forbid=("cudaMalloc*",), check=lambda m: True),
            pytest.mark.nsys(timeout=600, isolate=False, nsys_args=[], allow_empty=True),
        ]

        @pytest.mark.parametrize(
            "n", [pytest.param(n, marks=mark) for n, mark in enumerate(MARKS)]
        )
        def test_right(n, nsys):
            simgpu.launch("kernel", 10)
            nsys.units(tokens=4)
        """
    )
    simulated.run("--nsys-update").assert_outcomes(passed=7)


# For each option: what the ini file says, what the command line says over it, and what tells which
# of the two was heard ("" for nothing to tell).
TWINS = {
    "nsys_baseline_dir": ("ini-folder", "other-folder"),
    "nsys_record": ("ini-recording", "other-recording"),
    "nsys_json": ("ini.json", "other.json"),
    "nsys_html": ("ini.html", "other.html"),
    "nsys_markdown": ("ini.md", "other.md"),
    "nsys_history": ("ini-history", "other-history"),
    "nsys_export": ("bencher:ini.bmf", "bencher:other.bmf"),
    "nsys_keep": ("ini-kept", "other-kept"),
    "nsys_device": ("ini-device", "other-device"),
    "nsys_rounds": ("2", "3"),
    "nsys_warmup": ("4", "5"),
    "nsys_cold_l2": ("0", "true"),
    "nsys_tolerance": ("gpu.kernel_time=1%", "gpu.kernel_time=50%"),
    "nsys_args": ("--trace=cuda,nvtx,osrt", "--trace=cuda,nvtx,mpi"),
    "nsys_timeout": ("0", "600"),
    "nsys_tool_timeout": ("0", "600"),
    "nsys_lock_timeout": ("0", "600"),
    "nsys_max_rounds": ("0", "60"),
    "nsys_inconclusive": ("0", "fail"),
    "nsys_skipped": ("0", "fail"),
    "nsys_table": ("0", "all"),
    "nsys_ncu": ("0", "always"),
    "nsys_capture": ("0", "nsys"),
    "nsys_allow_none": ("0", "true"),
    "nsys_json_samples": ("0", "true"),
    "nsys_ahead": ("0", "true"),
    "nsys_part": ("0", "1/2"),
    "nsys_timeline": ("0", "false"),
    "nsys_max_duration": ("0", "600"),
    "nsys_max_capture_size": ("0", "8 GiB"),
    "nsys_executable": ("no-such-program", "nsys"),
    "nsys_replay": ("ini-replay", "other-replay"),
    "nsys_clock": ("0", "require-locked"),
}
# Of these, other tests say so: the projects here set some of them themselves, others need a
# repository or a CI.
ELSEWHERE = {
    "nsys_adopt",
    "nsys_job_summary",
    "nsys_report_url",
    "nsys_report_name",
    "nsys_columns",
    "nsys_share_gpu",
    "nsys_processes",
    "nsys_confirm",
    "nsys_against",
    "nsys_against_setup",
    "nsys_against_python",
}
MODES = ("nsys", "nsys_baseline", "nsys_update", "nsys_update_new")
TEST = """
    import pytest, simgpu
    from story import tell

    @pytest.mark.nsys
    def test_it():
        tell("called")
        simgpu.launch("kernel", {us})
"""


def given(name: str, value: str) -> tuple[str, ...]:
    """How the command line says it: by the option, or as one value of the ini file."""
    option = next(option for option in OPTIONS if option.name == name)
    return ("-o", f"{name}={value}") if option.ini_only else (f"{option.flag}={value}",)


def test_every_option_has_an_ini_twin_that_is_tested_here() -> None:
    assert {option.name for option in OPTIONS} == {*TWINS, *MODES, *ELSEWHERE}


def test_the_help_has_the_options_in_groups_and_what_is_set_in_the_ini_file(
    pytester: pytest.Pytester,
) -> None:
    printed = pytester.runpytest_inprocess("--help").stdout.str()
    options, _, ini = printed.partition("configuration options in the first")
    for option in OPTIONS:
        assert (f"\n  {option.flag}" in options) != option.ini_only
        assert f"\n  {option.name} (" in ini
    begins = [options.index(f"\n{title}:\n") for title in GROUPS.values()]
    assert begins == sorted(begins)
    ours = options[begins[0] :].split("\n\n")[: len(GROUPS)]
    assert sum(group.count("\n  --nsys") for group in ours) == options.count("\n  --nsys")
    assert max(len(line) for group in ours for line in group.splitlines()) <= 80
    assert "such as gpu.kernel_time=5% or" in " ".join(options.split())


def test_who_gives_an_ini_value_as_an_option_reads_no_usage(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(
        "--nsys", "--nsys-max-capture-size", "2 GiB", "test_it.py"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().split("\n")[:2] == [
        "ERROR: --nsys-max-capture-size is no option: nsys_max_capture_size is set in the ini file",
        "What to do: write nsys_max_capture_size = 2 GiB there, or for this run alone give "
        "-o 'nsys_max_capture_size=2 GiB'",
    ]


def test_an_ini_value_of_the_command_line_comes_before_marks_too(
    simulated: Project, story: Story
) -> None:
    simulated.write(TEST.format(us=100).replace("mark.nsys", "mark.nsys(warmup=0, rounds=2)"))
    simulated.run("--nsys", "-o", "nsys_warmup=3").assert_outcomes(passed=1)
    assert len(story.of("worker")) == 2 + 3
    simulated.ini("nsys_warmup = 3")
    simulated.run("--nsys").assert_outcomes(passed=1)
    assert len(story.of("worker")) == 2


def test_every_ini_twin_works_and_the_command_line_wins(simulated: Project, story: Story) -> None:
    together = {
        name: values
        for name, values in TWINS.items()
        if name not in ("nsys_executable", "nsys_replay", "nsys_tolerance") and values[0] != "0"
    }
    ini = [f"{name} = {values[0]}" for name, values in together.items()]
    simulated.ini("nsys_update = true", *ini)
    simulated.write(TEST.format(us=100))
    folder = simulated.path
    simulated.run().assert_outcomes(passed=1)
    assert len(story.of("worker")) == 2 + 4
    baseline = folder / "ini-folder/ini-device/test_it.py/test_it.json"
    assert "--trace=cuda,nvtx,osrt" in baseline.read_text()
    written = ["ini-recording/recording.json", "ini.json", "ini.html", "ini.md", "ini.bmf"]
    written.append("ini-kept/report-1.nsys-rep")
    assert [name for name in written if not (folder / name).is_file()] == []

    over = [word for name, values in together.items() for word in given(name, values[1])]
    simulated.run(*over).assert_outcomes(passed=1)
    assert len(story.of("worker")) == 3 + 5
    baseline = folder / "other-folder/other-device/test_it.py/test_it.json"
    assert "--trace=cuda,nvtx,mpi" in baseline.read_text()
    written = [name.replace("ini", "other") for name in written]
    assert [name for name in written if not (folder / name).is_file()] == []


@pytest.mark.parametrize("name", [name for name, values in TWINS.items() if values[0] == "0"])
def test_a_limit_of_the_ini_file_is_read_and_the_command_line_wins(
    name: str, pytester: pytest.Pytester
) -> None:
    project = Project(pytester)
    project.write("def test_it():\n    pass\n")
    project.ini(f"{name} = 0")
    refused = pytester.runpytest_inprocess("--nsys")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{name} is '0'" in refused.stderr.str()
    over = given(name, TWINS[name][1])
    pytester.runpytest_inprocess("--nsys", *over).assert_outcomes(passed=1)


def test_an_ini_file_can_switch_profiling_on_and_the_command_line_chooses_how(
    simulated: Project, story: Story
) -> None:
    simulated.write(TEST.format(us=1000))
    simulated.ini("nsys = true", "nsys_rounds = 1", "nsys_tolerance =", "  gpu.kernel_time=1%")
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    simulated.write(TEST.format(us=1200))
    regressed = simulated.run()
    regressed.assert_outcomes(failed=1)
    regressed.stdout.fnmatch_lines(["gpu.kernel_time +20.0%, limit 1.9% (noise): *"])
    assert story.of("worker") == ["called"] * 4
    simulated.run("--nsys-tolerance=gpu.kernel_time=50%").assert_outcomes(passed=1)
    # Settings that are false are none.
    simulated.ini("nsys = false", "nsys_baseline = 0")
    story.lines()
    simulated.run().assert_outcomes(passed=1)
    assert story.lines() == ["controller: called"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--nsys-rounds=many",), "nsys_rounds is 'many'|give a whole number from 1 on"),
        (("--nsys-rounds=0",), "nsys_rounds is '0'|give a whole number from 1 on"),
        (("-o", "nsys_warmup=-1"), "nsys_warmup is '-1'|give a whole number from 0 on"),
        (("-o", "nsys_timeout=soon"), "nsys_timeout: 'soon' is not a quantity|give seconds above"),
        (("-o", "nsys_timeout=0"), "nsys_timeout is '0'|give seconds above zero, such as 600"),
        (("--nsys-tolerance=gpu.time=3%",), "there is no metric 'gpu.time'|did you mean"),
        (("--nsys-tolerance=much",), "nsys_tolerance: 'much': 'much' is not a quantity|write"),
        (("--nsys-args='",), 'nsys_args is "\'": No closing quotation|quote it as for a shell'),
        (("--nsys-update", "--nsys-baseline"), "--nsys-update and --nsys-baseline contradict|"),
        (("--nsys-update", "--nsys-update-new"), "--nsys-update and --nsys-update-new contra|"),
        (("--nsys-replay=a", "--nsys-record=b"), "--nsys-replay and --nsys-record contradict|"),
        (("--nsys-executable=no-nsys",), "there is no program 'no-nsys'|correct --nsys-exec"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_setting_is_a_usage_error(
    options: tuple[str, ...], words: str, pytester: pytest.Pytester
) -> None:
    project = Project(pytester)
    project.write("import pytest\n\n@pytest.mark.nsys\ndef test_it():\n    pass\n")
    result = pytester.runpytest_inprocess("--nsys", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    what, _, remedy = words.partition("|")
    error = result.stderr.str()
    assert "Traceback" not in error
    assert what in error.partition("\n")[0]
    assert f"What to do: {remedy}" in error or not remedy


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pytest.ini", "[pytest]\nnsys_tolerence = 5%\n"),
        ("pyproject.toml", '[tool.pytest.ini_options]\nnsys_tolerence = "5%"\n'),
        ("tox.ini", "[pytest]\nnsys-tolerence = 5%\n"),
        ("setup.cfg", "[tool:pytest]\nNSYS_tolerence = 5%\n"),
    ],
)
def test_a_misspelt_ini_value_ends_the_run(pytester: pytest.Pytester, file: str, text: str) -> None:
    pytester.path.joinpath("pytest.ini").unlink(missing_ok=True)  # the other files come after it
    pytester.path.joinpath(file).write_text(text)
    pytester.makepyfile("def test_it(): pass")
    name = text.split("\n")[1].split()[0]
    for mode in ((), ("--nsys-baseline",)):
        result = pytester.runpytest_inprocess(*mode)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [
                f"ERROR: {file} sets {name}, and there is no such ini value",
                "What to do: did you mean 'nsys_tolerance'? (if it is another plugin's, *",
            ]
        )


def test_a_misspelt_name_of_the_command_line_ends_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    for given, what, meant in [
        ("-onsys_round=3", "-o sets nsys_round, and there is no such ini value", "nsys_rounds"),
        ("--nsys-tolerence=5%", "there is no option --nsys-tolerence", "--nsys-tolerance"),
        ("--nsys-basline", "there is no option --nsys-basline", "--nsys-baseline"),
    ]:
        result = pytester.runpytest_inprocess("--nsys", given)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {what}", f"What to do: did you mean '{meant}'? *"])


def test_names_that_other_plugins_declare_are_theirs(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_addoption(parser):
            parser.addini("nsys_of_ours", "ours", default="")
            parser.addini("nsys_switch_of_ours", "ours", type="bool")
            parser.addoption("--nsys-of-ours")
        """
    )
    pytester.makeini("[pytest]\nnsys_of_ours = 5\nnsys_switch_of_ours = perhaps\n")
    pytester.makepyfile(
        "def test_it(request):\n"
        "    assert request.config.getini('nsys_of_ours') == '6'\n"
        "    assert request.config.getoption('--nsys-of-ours') == '7'\n"
    )
    result = pytester.runpytest_inprocess("-o", "nsys_of_ours=6", "--nsys-of-ours=7")
    result.assert_outcomes(passed=1)
