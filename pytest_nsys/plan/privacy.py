"""What a run may hand on of texts and reports: nothing of the machine, the output or the folders.

``docs/security.md`` says for each place in which a secret may be what publishes it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_nsys.plan.options import OPTIONS
from pytest_nsys.support.json_values import listing, mapping, number, text_of, whole

_QUOTED_PATH = re.compile(r"(?P<quote>['\"])/(?:[^'\"\n]*/)?(?P<last>[^'\"/\n]*)(?P=quote)")
_PATH = re.compile(r"(?<![\w.])/(?:[^/\s'\"]+/)+")

_REPORT = ("$report_type", "nodeid", "location", "outcome", "when", "duration")
_OUTCOMES = ("passed", "failed", "skipped")
_PHASES = ("setup", "call", "teardown")

_VARIABLES = ("-e", "--env-var")
_HIDDEN = "..."
_SILENT = ("nsys_args", "nsys_executable", "nsys_device")


def published_line(text: str) -> str:
    """The first line of a text, and of absolute paths in it their last part.

    A path with spaces is known as one only where it is in quotes, as in Python's messages.
    """
    return without_folders(text.partition("\n")[0])


def without_folders(text: str) -> str:
    """A text with the last part of the absolute paths in it."""
    return _PATH.sub("", _QUOTED_PATH.sub(r"\g<quote>\g<last>\g<quote>", text))


def published_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as a recording keeps it: without captured output, properties and tracebacks.

    They may hold anything, and a recording is made to be handed on.
    """
    kept = {key: report[key] for key in _REPORT if key in report}
    longrepr = report.get("longrepr")
    if isinstance(longrepr, Mapping):
        with suppress(KeyError, TypeError):
            crash = longrepr["reprcrash"]
            message = published_line(crash["message"])
            longrepr = f"{Path(crash['path']).name}:{crash['lineno']}: {message}"
    elif isinstance(longrepr, str):
        longrepr = published_line(longrepr)
    if isinstance(longrepr, (list, tuple)):  # of a skip: where, and why
        path, line, reason = longrepr
        longrepr = [Path(path).name, line, published_line(reason)]
    kept["longrepr"] = longrepr if isinstance(longrepr, (str, list)) else None
    if "wasxfail" in report:
        kept["wasxfail"] = published_line(report["wasxfail"])
    return {**kept, "keywords": {}, "sections": [], "user_properties": []}


def read_published_report(value: object) -> dict[str, Any]:
    """A report of a recording, which anybody may have written: what `published_report` keeps.

    Raises:
        KeyError, TypeError, ValueError: the value is something else.
    """
    data = mapping(value)
    path, line, domain = listing(data["location"])
    report: dict[str, Any] = {
        "$report_type": "TestReport",
        "nodeid": text_of(data["nodeid"]),
        "location": [text_of(path), None if line is None else whole(line), text_of(domain)],
        "outcome": _one_of(data["outcome"], _OUTCOMES),
        "when": _one_of(data["when"], _PHASES),
        "duration": number(data.get("duration", 0.0)),
        "longrepr": _read_longrepr(data.get("longrepr")),
        "keywords": {},
        "sections": [],
        "user_properties": [],
    }
    if "wasxfail" in data:
        report["wasxfail"] = text_of(data["wasxfail"])
    return report


def _read_longrepr(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    path, line, reason = listing(value)
    return [text_of(path), whole(line), text_of(reason)]


def _one_of(value: object, allowed: Sequence[str]) -> str:
    text = text_of(value)
    if text not in allowed:
        raise ValueError(f"{text[:80]!r} where there should be one of {', '.join(allowed)}")
    return text


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
    return Path(value).name if kind == "path" else published_line(value)


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
            found.append(published_line(option))
        hide = option in _VARIABLES
    return tuple(found)
