"""Help, errors and completion of all commands alike."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from pytest_nsys.cli.common import show_as
from pytest_nsys.cli.main import _parser, main
from pytest_nsys.cli.parser import Parser
from tests.support.command import Answer


def parsers(parser: Parser) -> Iterator[Parser]:
    """The parser, and those of its commands and their actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                assert isinstance(inner, Parser)
                yield from parsers(inner)


ALL = {parser.prog: parser for parser in parsers(_parser())}


@pytest.mark.parametrize("prog", ALL)
def test_help_has_examples_and_exit_codes_and_fits_eighty_columns(
    prog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = ALL[prog].format_help()
    assert ALL[prog].description
    assert "\nexamples:\n" in text
    assert "\nexit codes:\n" in text
    examples = {f"  {example}" for example in ALL[prog].examples}
    assert examples
    assert max(len(line) for line in text.splitlines() if line not in examples) <= 80


def test_the_commands_are_listed_by_what_they_are_for() -> None:
    parser = _parser()
    text = parser.format_help()
    titles = [text.index(f"\n{title}:\n") for title in parser.listed]
    assert titles == sorted(titles)
    listed = [name for names in parser.listed.values() for name in names]
    commands = [prog.split()[1] for prog in ALL if len(prog.split()) == 2]
    assert sorted(listed) == sorted(commands)
    assert all(text.count(f"\n  {name} ") == 1 for name in listed)


@pytest.mark.parametrize("prog", ALL)
def test_help_names_defaults_and_values_alike(prog: str) -> None:
    for action in ALL[prog]._actions:
        about, value = str(action.help), str(action.metavar)
        given = action.default not in (None, False, "", [], 0, argparse.SUPPRESS)
        if given and action.option_strings:
            assert "(default" in about, action.option_strings
        assert "--baselines" not in action.option_strings, "--baseline-dir"
        assert value not in ("S", "OUT"), "SECONDS, FILE"


@pytest.mark.parametrize(
    "example", [example for parser in ALL.values() for example in parser.examples]
)
def test_examples_are_command_lines_that_are_understood(example: str) -> None:
    words = shlex.split(example.replace("$(", "").replace(")", "").replace("eval ", ""))
    words = words[: words.index(">")] if ">" in words else words
    words = shlex.split(words[0]) if len(words) == 1 else words
    assert words[0] == "pytest-nsys"
    if words[1:] != ["COMMAND", "--help"]:
        assert callable(_parser().parse_args(words[1:]).run)


def test_commands_that_print_have_the_same_formats() -> None:
    formats = {
        prog: action.choices
        for prog, parser in ALL.items()
        for action in parser._actions
        if "--format" in action.option_strings
    }
    assert {*map(tuple, formats.values())} == {("table", "json", "markdown")}
    for name in ("stats", "diff", "compare", "power", "history", "doctor", "metrics"):
        assert f"pytest-nsys {name}" in formats
    for prog in formats:
        assert "--json" not in ALL[prog]._option_string_actions


def test_what_is_missing_is_told_with_what_it_is_and_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", "--perfetto"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "pytest-nsys export wants:",
        "  REPORT  a .nsys-rep or .qdrep (where nsys is installed), an .sqlite, a",
        "          recording, or a trace of torch.profiler or Proton (a folder: of",
        "          several ranks)",
        "such as: pytest-nsys export --perfetto report.nsys-rep -o trace.json.gz",
        "for all options: pytest-nsys export --help",
    ]


def test_what_is_wrong_is_told_without_all_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["baselines", "list", "--older-than", "two"])
    assert capsys.readouterr().err.splitlines() == [
        "pytest-nsys baselines list: argument --older-than: 'two' is no whole number from 1 on",
        "such as: pytest-nsys baselines list 'test_gemm*' --older-than 90",
        "for all options: pytest-nsys baselines list --help",
    ]
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err.startswith("pytest-nsys wants:\n  COMMAND\nsuch as: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_gets_a_script(command: Callable[..., Answer], shell: str) -> None:
    code, out, err = command("completion", shell)
    assert (code, err) == (0, "")
    assert "baselines" in out
    assert "fail-on-change" in out


def test_bash_completes_commands_options_and_choices() -> None:
    script = """
        eval "$("$0" -m pytest_nsys completion bash)"
        complete -p pytest-nsys >/dev/null || exit 9
        for line in "pytest-nsys bas" "pytest-nsys power --tol" "pytest-nsys metrics --format js"
        do
            COMP_LINE=$line; read -ra COMP_WORDS <<<"$line"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_POINT=${#line}; COMPREPLY=()
            _shtab_pytest_nsys
            echo "${COMPREPLY[@]}"
        done
    """
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["baselines", "--tolerance", "json"]


def test_without_the_package_it_says_what_to_install(
    command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, out, err = command("completion", "bash")
    assert (code, out) == (2, "")
    assert "pip install shtab" in err


def test_text_that_looks_like_the_end_of_a_block_of_code_does_not_end_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_as("markdown", lambda: ["a", "```", "b"], list)
    assert capsys.readouterr().out == "````text\na\n```\nb\n````\n"
