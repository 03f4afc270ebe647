"""What the NVIDIA driver says of the machine's GPUs: as evidence in an error, and to lock them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from pytest_nsys.gpu.devices import list_gpus, visible_gpus
from pytest_nsys.support.own import own

_Answer = TypeVar("_Answer")

DEADLINE_S = 30.0
"""For NVML, which takes seconds to wake the GPUs of a large machine."""


def answer_within(seconds: float, question: Callable[[], _Answer]) -> _Answer | None:
    """What the question, which must not raise, answers; None if it does not in time.

    A driver that hangs cannot be interrupted. So it is asked in a thread of its own, which is then
    left alone: nobody waits for it at the end.
    """
    answers: list[_Answer] = []
    thread = own.Thread(target=lambda: answers.append(question()), daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    return answers[0] if answers else None


def import_nvml() -> Any:
    """The module ``pynvml``.

    Raises:
        ImportError: there is none, or the tests have put something else in its place.
    """
    import pynvml

    if not isinstance(pynvml, ModuleType):
        raise ImportError("the tests have replaced the module pynvml")
    return pynvml


@contextmanager
def nvml_session() -> Iterator[Any]:
    """The module ``pynvml``, initialised for as long as the block.

    Raises:
        Exception: the package, the library or the driver is missing.
    """
    nvml = import_nvml()
    nvml.nvmlInit()
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def describe_gpus(deadline_s: float = DEADLINE_S) -> str:
    """One line: the GPUs that NVML sees, or why it sees none. Never raises, never starts CUDA."""
    unanswered = f"NVML: no answer within {deadline_s:g} s"
    return answer_within(deadline_s, _description) or unanswered


def _description() -> str:
    try:
        with nvml_session() as nvml:
            names = ", ".join(gpu.name for gpu in list_gpus(nvml))
            return f"NVML: driver {nvml.nvmlSystemGetDriverVersion()}, {names or 'no GPU'}"
    except Exception as error:  # whatever is wrong is evidence
        return f"NVML: {error}"


def visible_gpu_uuids(
    environ: Mapping[str, str] = os.environ, deadline_s: float = DEADLINE_S
) -> tuple[str, ...]:
    """The UUIDs of the physical GPUs that CUDA shows to a process with this environment.

    Where CUDA's numbers are not certain to be NVML's, of all that may be meant. Empty without
    NVML or GPUs, or where they do not answer. Never raises, never starts CUDA.
    """
    return answer_within(deadline_s, lambda: _uuids(environ)) or ()


def _uuids(environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        with nvml_session() as nvml:
            return tuple(one.gpu.uuid for one in visible_gpus(list_gpus(nvml), environ))
    except Exception:  # whatever is wrong, there is no GPU to lock
        return ()
