"""``check=``: a function of the user's, and what it says of a measurement in whatever way."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pytest_nsys.errors import NsysError
from pytest_nsys.measure.measurement import WindowMeasurement
from pytest_nsys.verdict.looked_at import Seen, WatchedWindow

_LONGEST = 160


class Failure(NamedTuple):
    """Why a check does not hold.

    Attributes:
        text: in a sentence that may be handed on: it holds nothing of the check.
        said: its message, or what it looked at and its source.
    """

    text: str
    said: str


def failure_of(check: Callable[[Any], object], window: WindowMeasurement) -> Failure | None:
    """Why the check does not hold; None if it does.

    It holds if it returns None, or True, or a number or anything else that knows whether it is
    true. What says neither yes nor no, such as a coroutine, an array, a text or a tuple, is a
    mistake in the check, and no measurement may pass by it.

    Args:
        check: the function.
        window: what it gets.

    Raises:
        KeyboardInterrupt, pytest.exit.Exception: the check did; they end the run.
    """
    seen: Seen = {}
    try:
        answer = check(WatchedWindow(window, seen))
        return _said_by(answer, check, seen)
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except (AssertionError, pytest.fail.Exception) as error:
        return Failure("check failed", _text(error) or _looked_at(seen) + _source(check))
    except NsysError as error:
        return Failure(
            "check asks for what there cannot be", _line(f"{error.what}: {error.remedy}")
        )
    except BaseException as error:  # sys.exit, too: it is to end no more than the check
        text = f"check raised {type(error).__name__}"
        return Failure(text, f"{_text(error)} ({_source(check)})")


def _said_by(answer: object, check: Callable[[Any], object], seen: Seen) -> Failure | None:
    if answer is None:
        return None
    unasked = _unasked(answer)
    if unasked:
        return Failure(f"check returned {unasked}", _source(check))
    try:
        held = bool(answer)
    except Exception as error:
        kind = type(answer).__name__
        return Failure(
            f"check returned {kind}, which is neither true nor false; return a bool, such "
            "as that of .all() or .any()",
            f"{_text(error)} ({_source(check)})",
        )
    if held:
        return None
    if answer is False:
        return Failure("check returned False", _looked_at(seen) + _source(check))
    kind = type(answer).__name__
    return Failure(
        f"check returned something false of type {kind}",
        f"{_shown(answer)} ({_looked_at(seen)}{_source(check)})",
    )


def _looked_at(seen: Seen) -> str:
    """What the check asked of the window, and the answers; of many the last, which decided."""
    told = [f"{what} {answer}" for what, answer in seen.items()]
    shown: list[str] = []
    while told and len("; ".join([told[-1], *shown])) <= _LONGEST:
        shown.insert(0, told.pop())
    if told:
        shown.insert(0, "...")
    return "".join(f"{one}; " for one in shown)


def _unasked(answer: object) -> str:
    """What was returned in the place of an answer, which is true whatever it would say."""
    if inspect.iscoroutine(answer):
        answer.close()  # or Python warns that nobody awaited it
        return "a coroutine, which nobody awaits; write it without async"
    if inspect.isawaitable(answer) or inspect.isasyncgen(answer):
        return "something to be awaited, which nobody does; write it without async"
    if inspect.isgenerator(answer):
        return "a generator, which nobody iterates; use all(...) or any(...)"
    if callable(answer):
        return "a function, which nobody calls; add its brackets"
    knows = hasattr(type(answer), "__bool__") and answer is not NotImplemented
    if not knows or (isinstance(answer, float) and math.isnan(answer)):
        kind = "NaN" if knows else type(answer).__name__
        return f"{kind}, which is neither true nor false; return a bool"
    return ""


def _shown(answer: object) -> str:
    try:
        return _line(repr(answer))
    except Exception:
        return "it has no repr"


def _source(check: Callable[[Any], object]) -> str:
    """The check's source on one line, as far as Python knows it."""
    try:
        return _line(inspect.getsource(check))
    except (OSError, TypeError):
        return getattr(check, "__qualname__", repr(check))


def _text(error: BaseException) -> str:
    try:
        return _line(str(error))
    except Exception:
        return ""


def _line(text: str) -> str:
    """A text of several lines on one, cut off where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
