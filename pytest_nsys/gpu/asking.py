"""Asking what may never answer: a library of a driver that hangs cannot be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_Answer = TypeVar("_Answer")

DEADLINE_S = 30.0
"""For NVML, which takes seconds to wake the GPUs of a large machine."""


def answer_within(seconds: float, question: Callable[[], _Answer]) -> _Answer | None:
    """What the question, which must not raise, answers; None if it does not in time.

    It is asked in a thread of its own, which is then left alone: nobody waits for it at the end.
    """
    answers: list[_Answer] = []
    thread = threading.Thread(target=lambda: answers.append(question()), daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    return answers[0] if answers else None
