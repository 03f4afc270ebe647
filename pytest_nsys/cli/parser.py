"""What the parsers of all commands have in common: help with examples and exit codes, and errors
that say what is wanted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from pytest_nsys.support.text import fit_to_print, wrapped

_MISSING = "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """A parser of a command or of one of its actions.

    Attributes:
        listed: titles of commands in its help, and their names; without, it lists them as argparse
            does.
        examples: command lines, the first of which errors show.
        codes: what each exit code means.
        parts_at_dashes: whether what comes after ``--`` is left alone, as ``after_dashes``, in the
            place of being taken for further values of the last positional argument.
        usage_codes: exit codes of what is wrong with the arguments, by the option among them; 2
            with any other.
    """

    listed: Mapping[str, Sequence[str]] = MappingProxyType({})
    examples: Sequence[str] = ()
    codes: Mapping[int | str, str] = MappingProxyType({})
    parts_at_dashes = False
    usage_codes: Mapping[str, int] = MappingProxyType({})
    _usage_code = 2

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; see ``parts_at_dashes`` and ``usage_codes``. What is not known is told
        here, by the parser of the command that it was given to."""
        words = [*(sys.argv[1:] if args is None else args)]
        end = words.index("--") if "--" in words else len(words)
        for option, code in self.usage_codes.items():
            # As argparse takes it, also in short.
            if any(len(word) > 2 and option.startswith(word) for word in words[:end]):
                self._usage_code = code
        if not self.parts_at_dashes:
            end = len(words)
        found, unknown = super().parse_known_args(words[:end], namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        if self.parts_at_dashes:
            found.after_dashes = words[end + 1 :]
        return found, unknown

    def section(self, title: str) -> argparse._ArgumentGroup:
        """A part of the list of options; the same one for the same title."""
        known = (group for group in self._action_groups if group.title == title)
        return next(known, None) or self.add_argument_group(title)

    def format_help(self) -> str:
        """As argparse's; see ``listed``."""
        if not self.listed:
            return super().format_help()
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        commands = {
            command.dest: command
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for command in action._choices_actions
        }
        sections = {title: [commands[one] for one in names] for title, names in self.listed.items()}
        options = [action for action in self._actions if action.option_strings]
        for title, actions in {**sections, "options": options}.items():
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def describe(
        self, about: str, *, examples: Sequence[str], codes: Mapping[int | str, str]
    ) -> None:
        """Say in the help what the command does, how it is used, and what its exit codes mean.

        Args:
            about: sentences.
            examples: command lines, without a shell's prompt.
            codes: what each exit code means.
        """
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        self.description = "\n".join(wrapped(about, "", ""))
        self.examples = examples
        self.codes = codes
        lines = ["examples:", *(f"  {example}" for example in examples), "", "exit codes:"]
        width = max(len(str(code)) for code in codes)
        for code, meaning in codes.items():
            lines += wrapped(meaning, f"  {code!s:{width}}  ", " " * (width + 4))
        self.epilog = "\n".join(lines)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in a few lines, rather than print all options."""
        lines = [f"{self.prog}: {message}"]
        if message.startswith(_MISSING):
            lines = [f"{self.prog} wants:", *self._wanted(message.removeprefix(_MISSING))]
        lines += [f"such as: {example}" for example in self.examples[:1]]
        lines.append(f"for all options: {self.prog} --help")
        print(fit_to_print("\n".join(lines)), file=sys.stderr)
        raise SystemExit(self._usage_code)

    def _wanted(self, missing: str) -> list[str]:
        names = missing.split(", ")
        found = {
            str(action.metavar or "/".join(action.option_strings) or action.dest): action
            for action in self._actions
        }
        lines = []
        for name in names:
            about = found[name].help if name in found else None
            lines += wrapped(about or "", f"  {name}  ", " " * (len(name) + 4)) or [f"  {name}"]
        return lines
