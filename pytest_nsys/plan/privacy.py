"""Which words of command lines and options may be handed on.

``docs/security.md`` says for each place in which a secret may be what publishes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pytest_nsys.plan.options import OPTIONS
from pytest_nsys.support.text import line_without_folders

_VARIABLES = ("-e", "--env-var")
_HIDDEN = "..."
_SILENT = ("nsys_args", "nsys_executable", "nsys_device")


def published_command(args: Sequence[str]) -> str:
    """A command line of pytest with the plugin's own options and ``...`` for all others.

    A password is an argument as any other, or the value of one; of folders the last part is kept.
    """
    kept = {option.flag: option.kind for option in OPTIONS if option.name not in _SILENT}
    words: list[str] = []
    value_of = ""
    for arg in args:
        flag, equals, value = arg.partition("=")
        if value_of:
            words.append(_value(kept[value_of], arg))
        elif flag in kept and equals:
            words.append(f"{flag}={_value(kept[flag], value)}")
        elif flag in kept:
            words.append(flag)
        elif words[-1:] != [_HIDDEN]:
            words.append(_HIDDEN)
        takes_value = not value_of and not equals and kept.get(arg, "flag") != "flag"
        value_of = arg if takes_value else ""
    return " ".join(["pytest", *(word if word == _HIDDEN else shlex.quote(word) for word in words)])


def _value(kind: str, value: str) -> str:
    return Path(value).name if kind == "path" else line_without_folders(value)


def published_options(options: Sequence[str]) -> tuple[str, ...]:
    """Options of a capture without the values of environment variables, and with the last part
    of absolute paths."""
    found, hide = [], False
    for option in options:
        name, equals, value = option.partition("=")
        if hide:
            found.append(_HIDDEN)
        elif name in _VARIABLES and equals:
            found.append(f"{name}={_HIDDEN}")
        elif option.startswith("-e") and not option.startswith("--") and len(option) > 2:
            found.append(f"-e{_HIDDEN}")
        elif value.startswith("/"):
            found.append(f"{name}={value.rpartition('/')[2]}")
        else:
            found.append(line_without_folders(option))
        hide = option in _VARIABLES
    return tuple(found)
