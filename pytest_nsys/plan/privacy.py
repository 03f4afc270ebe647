"""Which words of command lines and options may be handed on.

``docs/security.md`` says for each place in which a secret may be what publishes it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from pytest_nsys.plan.nsys_options import full_name, is_shown
from pytest_nsys.plan.options import OPTIONS, Option

_HIDDEN = "..."
_AMOUNT = re.compile(r"\d[\d.]*(e-?\d+)? ?(%|[a-zA-Z]{1,3})?")
_WORDS = ("auto",)
_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]{0,60}")
_PLAIN_NUMBER = re.compile(r"\d{1,7}(\.\d{1,6})?")
_SECRET = re.compile(r"(key|token|secret|passw\w*|auth|credentials?)$", re.IGNORECASE)
_CHOICE = re.compile(
    r"[_-](dtype|quantization|backend|format|policy|algorithm|parser|impl|mode|strategy)$"
)
_CHOSEN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")


def published_command(args: Sequence[str]) -> str:
    """A command line of pytest with the plugin's own options, and ``...`` for all others.

    Of values there are amounts and what an option lets choose from. All others may be anything: a
    password is an argument as any other, or in the value of one.
    """
    flags = {option.flag: option for option in OPTIONS}
    names = {option.name: option for option in OPTIONS}
    words: list[str] = []
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        option = flags.get(flag)
        shown = [_HIDDEN]
        if option is not None and equals:
            shown = [f"{flag}={published_value(option, value)}"]
        elif option is not None:
            shown = [flag]
            if option.kind != "flag":
                shown.append(published_value(option, next(rest, "")))
        elif flag in ("-o", "--override-ini"):
            name, _, value = (value if equals else next(rest, "")).partition("=")
            if name in names:
                shown = ["-o", f"{name}={published_value(names[name], value)}"]
        if shown != [_HIDDEN] or words[-1:] != [_HIDDEN]:
            words += shown
    return " ".join(["pytest", *words])


def published_value(option: Option, value: str) -> str:
    """The value of an option, or ``...`` where it may be anything."""
    choices = (*_WORDS, *(option.metavar or "").split("|"))
    return shlex.quote(value) if value in choices or _AMOUNT.fullmatch(value) else _HIDDEN


def published_arguments(args: Sequence[str]) -> tuple[str, ...]:
    """The words of a server's command that may be handed on, and ``...`` in the place of others.

    Those are names of options, numbers, and a word after an option that lets choose one, such as
    ``--dtype bfloat16``; nothing of an option that is named like a secret.
    """
    words: list[str] = []
    option = ""
    for arg in args:
        name, equals, value = arg.partition("=")
        if _OPTION.fullmatch(name):
            option = name
            words.append(f"{name}={_argument(name, value)}" if equals else name)
        else:
            words.append(_argument(option, arg))
    return tuple(words)


def _argument(option: str, value: str) -> str:
    number = _PLAIN_NUMBER.fullmatch(value) and not _SECRET.search(option)
    chosen = _CHOICE.search(option) and _CHOSEN.fullmatch(value)
    return value if number or chosen else _HIDDEN


def published_options(options: Sequence[str]) -> tuple[str, ...]:
    """Options of a capture under their full names, and with ``...`` for values that may be
    anything, such as those of environment variables."""
    found: list[str] = []
    shown = False
    for option in options:
        if not option.startswith("-"):  # a value that stands apart from its option
            found.append(option if shown else _HIDDEN)
            continue
        name = full_name(option)
        shown = is_shown(name)
        value = option.partition("=")[2] if option.startswith("--") else option[2:]
        has_value = "=" in option if option.startswith("--") else bool(value)
        found.append(f"{name}={value if shown else _HIDDEN}" if has_value else name)
    return tuple(found)
