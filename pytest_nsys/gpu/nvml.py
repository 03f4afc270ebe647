"""What the NVIDIA driver says of the machine's GPUs: as evidence in an error, and to lock them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pytest_nsys.gpu.asking import DEADLINE_S, answer_within
from pytest_nsys.gpu.devices import list_gpus, visible_gpus


def describe_gpus(deadline_s: float = DEADLINE_S) -> str:
    """One line: the GPUs that NVML sees, or why it sees none. Never raises, never starts CUDA."""
    unanswered = f"NVML: no answer within {deadline_s:g} s"
    return answer_within(deadline_s, _ask) or unanswered


def _ask() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # a missing package, library or driver: all are evidence
        return f"NVML: {error}"
    try:
        count = pynvml.nvmlDeviceGetCount()
        names = [
            pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(number))
            for number in range(count)
        ]
        return f"NVML: driver {pynvml.nvmlSystemGetDriverVersion()}, {', '.join(names) or 'no GPU'}"
    except pynvml.NVMLError as error:
        return f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()


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
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # a missing package, library or driver: there is no GPU
        return ()
    try:
        return tuple(one.gpu.uuid for one in visible_gpus(list_gpus(pynvml), environ))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()
