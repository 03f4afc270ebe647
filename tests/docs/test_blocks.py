"""Every block of code in the documentation is looked at.

- ``python`` is run, and the marks of its tests are read; packages that need a GPU are mocks.
- ``sh`` and ``console`` (where ``$`` begins a command) are read by bash, and each command of pytest
  and of pytest-nsys in it by its own parser: so are those in ``yaml``.
- Each step of a ``dockerfile`` that runs commands is read as ``sh`` is.
- ``ini``, ``toml``, ``json`` and ``xml`` are read; what is for pytest by pytest.
- What ``<!-- output: COMMAND -->`` stands before is run: ``tests/public/test_doc_outputs.py``.
- ``text`` is nothing that could be run. Blocks name their language, so that nothing is left out.

``<!-- skip: next "reason" -->`` says why the next one is not looked at.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import SkipTest
from unittest.mock import MagicMock, create_autospec
from xml.etree import ElementTree

import pytest
import tomllib
from markdown_it import MarkdownIt
from ruamel.yaml import YAML
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from pytest_nsys import NsysServer
from pytest_nsys.cli.main import _parser
from pytest_nsys.plan.marker import read_spec
from pytest_nsys.plan.options import OPTIONS
from pytest_nsys.plan.settings import read_settings
from pytest_nsys.servers.engines import presets
from pytest_nsys.servers.load import dialects
from tests.support.harness import ROOT
from tests.support.reference import every_command

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
ELSEWHERE = ("torch", "triton", "triton.testing", "cupy", "jax", "vllm")
"""Packages that are not installed here."""

COMMANDS = {
    command.prog: frozenset(command._option_string_actions) for command in every_command(_parser())
}
"""The options of each command."""

_OPERATORS = frozenset("();<>|&\n")


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of pytest or pytest-nsys in a script, from its name on."""
    # What GitHub and the shell fill in may be a number.
    text = re.sub(r"\$\{\{.*?\}\}|\$\(\(.*?\)\)|\$\{?\w+\}?", "1", text)
    text = re.sub(r"(?m)(^|\s)#.*$", "", text.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars="".join(_OPERATORS))
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if not _OPERATORS.issuperset(token):
            words.append(token)
            continue
        names = [Path(word).name for word in words]
        for place, name in enumerate(names):
            if " " in words[place] and "pytest" in words[place]:
                yield from commands(words[place])
            elif name in ("pytest", "pytest-nsys") and not {"install", "clone", "cd"} & {*names}:
                yield [name, *words[place + 1 :]]
                break
        words = []


def check_command(words: list[str], pytester: pytest.Pytester) -> None:
    """A command whose options and values are none fails."""
    if words[0] == "pytest":
        read_settings(pytester.parseconfig("-p", "no:cacheprovider", *words[1:]))
        return
    try:
        _parser().parse_args(words[1:])
    except SystemExit as end:
        if end.code:
            raise


def check_shell(example: Example) -> None:
    check_script(example.parsed, example)


def check_script(text: str, example: Example) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert not done.stderr
    for words in commands(text):
        check_command(words, example.namespace["pytester"])


def check_dockerfile(example: Example) -> None:
    for step in re.findall(r"(?m)^RUN ((?:.*\\\n)*.*)$", example.parsed):
        check_script(step, example)


def check_console(example: Example) -> None:
    lines = re.findall(r"(?m)^\w*\$ +((?:.*\\\n)*.*)$", example.parsed)
    assert lines, "no line begins with $"
    for words in commands("\n".join(lines)):
        check_command(words, example.namespace["pytester"])


def check_yaml(example: Example) -> None:
    for document in YAML(typ="safe").load_all(example.parsed):
        for text in _texts(document):
            for words in commands(text) if "pytest" in text else ():
                check_command(words, example.namespace["pytester"])


def _texts(value: object) -> Iterator[str]:
    """The texts in YAML; the words of a container's command are one."""
    if isinstance(value, dict):
        words = [*value.get("command", ()), *value.get("args", ())]
        if words and all(isinstance(word, str) for word in words):
            yield shlex.join(words)
            value = {key: each for key, each in value.items() if key not in ("command", "args")}
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def check_ini(example: Example) -> None:
    check_settings("pytest.ini", example)


def check_toml(example: Example) -> None:
    if "pytest" in tomllib.loads(example.parsed).get("tool", ()):
        check_settings("pyproject.toml", example)


def check_settings(name: str, example: Example) -> None:
    """What the configuration file of that name says to pytest, it can be told."""
    pytester: pytest.Pytester = example.namespace["pytester"]
    file = pytester.path / name
    file.write_text(example.parsed)
    read_settings(pytester.parseconfig(f"--config-file={file}"))
    file.unlink()


def check_json(example: Example) -> None:
    json.loads(example.parsed)


def check_xml(example: Example) -> None:
    ElementTree.fromstring(f"<all>{example.parsed}</all>")


def run_python(example: Example) -> None:
    line = "\n" * (example.line + example.parsed.line_offset)
    code = compile(line + example.parsed, example.path, "exec", dont_inherit=True)
    names = example.namespace
    names.pop("pytestmark", None)
    exec(code, names)
    settings = read_settings(names["pytester"].parseconfig())
    for name in [name for name in names if name.startswith("test_")]:
        test = names.pop(name)
        marks = [*getattr(test, "pytestmark", ()), *_listed(names.get("pytestmark", ()))]
        of_nsys = [mark for mark in marks if mark.name == "nsys"]
        item = SimpleNamespace(nodeid=name, iter_markers=lambda _, found=of_nsys: iter(found))
        read_spec(item, settings)  # type: ignore[arg-type]


def _listed(marks: object) -> list[pytest.Mark]:
    return [each.mark for each in (marks if isinstance(marks, (list, tuple)) else [marks])]


CHECKS = {
    "python": run_python,
    "sh": check_shell,
    "bash": check_shell,
    "console": check_console,
    "dockerfile": check_dockerfile,
    "yaml": check_yaml,
    "ini": check_ini,
    "toml": check_toml,
    "json": check_json,
    "xml": check_xml,
}
SYBIL = Sybil([SkipParser(), *(CodeBlockParser(name, check) for name, check in CHECKS.items())])


def look_at(page: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check all blocks of a page.

    Raises:
        AssertionError: one cannot be what it says.
    """
    for name in ELSEWHERE:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    for registry in (presets, dialects):
        monkeypatch.setattr(registry, "_registered", {**registry._registered})
    document = SYBIL.parse(page)
    document.namespace |= {
        "pytest": pytest,
        "pytester": pytester,
        "nsys_server": create_autospec(NsysServer, instance=True),
    }
    for example in document.examples():
        try:
            example.evaluate()
        except SkipTest:
            continue
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{page}:{example.line}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_blocks_say_holds(
    page: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at(page, pytester, monkeypatch)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sh", "pytest --nsys-basline"),
        ("sh", "pip install x && CI=1 .venv/bin/pytest --nsys --nsys-rounds=many  # as ever"),
        ("sh", "docker run image sh -c 'pytest --nsys-html'"),
        ("sh", "pytest-nsys stats report.sqlite \\\n  --ranges=NAME"),
        ("sh", "if true; then"),
        ("console", "$ make\n$ pytest-nsys stat report.sqlite"),
        ("console", "pytest --nsys"),
        ("dockerfile", "FROM x\nRUN a \\\n  && if b; then"),
        ("yaml", "run: |\n  pytest --nsys-basline"),
        ("yaml", "command: [pytest-nsys]\nargs: [judge]"),
        ("ini", "[pytest]\nnsys_rounds = many"),
        ("toml", "[tool.pytest.ini_options]\nnsys_rounds = 'many'"),
        ("json", "{"),
        ("xml", "<a>"),
        ("python", "import pytest\n@pytest.mark.nsys(round=3)\ndef test_it(): ..."),
        ("python", "import pytest\npytestmark = pytest.mark.nsys(rounds=0)\ndef test_it(): ..."),
        ("python", "from pytest_nsys import Nsyss"),
    ],
)
def test_what_does_not_hold_is_seen(
    language: str, text: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = pytester.path / "page.md"
    page.write_text(f"```{language}\n{text}\n```\n")
    with pytest.raises(AssertionError):
        look_at(page, pytester, monkeypatch)
    page.write_text(f'<!-- skip: next "it is wrong" -->\n\n```{language}\n{text}\n```\n')
    look_at(page, pytester, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_blocks_name_their_language(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<!-+ skip: (?!next \"[^\"]+\" -+>)", text), "say why it is skipped"
    is_output = False
    for token in MarkdownIt("commonmark").parse(text):
        where = f"{page}:{token.map[0] + 1 if token.map else 0}"
        assert token.type != "code_block", f"{where}: begin code with ```, and its language"
        if token.type == "fence" and not is_output:
            language = token.info.strip()
            known = language in {*CHECKS, "text"} or language.startswith("{")  # a directive
            assert known, f"{where}: {language!r} is neither a language that is looked at nor text"
        is_output = token.type == "html_block" and token.content.startswith("<!-- output:")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_options_that_are_named_are_there(page: Path) -> None:
    """In whatever text: those of pytest, ini values, and what follows a command's name."""
    text = page.read_text(encoding="utf-8")
    flags = {option.flag for option in OPTIONS if not option.ini_only}
    assert {*re.findall(r"(?<![\w-])--nsys[\w-]*\b", text)} <= flags
    fixtures = {"nsys_run", "nsys_server"}
    names = {option.name for option in OPTIONS} | fixtures
    assert {*re.findall(r"(?<![\w.])nsys_[a-z_0-9]+\b(?![.(/])", text)} <= names
    for code in re.findall(r"`(pytest-nsys [a-z][^`]*)`", text):
        name, _, rest = code.partition(" -- ")[0].partition(" -")
        command, action = (" ".join(name.split()[:words]) for words in (2, 3))
        options = COMMANDS[command] | COMMANDS.get(action, frozenset())
        assert {*re.findall(r"(?:^|(?<=\s))-[\w-]+", f"-{rest}" if rest else "")} <= options, code
