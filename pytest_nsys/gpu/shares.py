"""Which of the visible GPUs each of several workers is shown, by ``CUDA_VISIBLE_DEVICES``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import takewhile

from pytest_nsys.errors import NotEnoughGpus
from pytest_nsys.gpu.devices import VISIBLE, Gpu, are_numbers_certain, list_gpus, named_gpus
from pytest_nsys.gpu.nvml import DEADLINE_S, answer_within, nvml_session


def visible_entries(
    environ: Mapping[str, str] = os.environ, deadline_s: float = DEADLINE_S
) -> tuple[str, ...] | None:
    """Each GPU that CUDA shows to a process with this environment, as the variable names it.

    Where there is no NVML to ask, what the variable says; None where it says nothing. Never raises,
    never starts CUDA.
    """
    gpus = answer_within(deadline_s, _gpus)
    return entries(gpus or None, environ)


def _gpus() -> Sequence[Gpu]:
    try:
        with nvml_session() as nvml:
            return list_gpus(nvml)
    except Exception:  # whatever is wrong, nothing is known of GPUs
        return ()


def entries(gpus: Sequence[Gpu] | None, environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """`visible_entries`, with the GPUs that NVML sees; None where it is not known which."""
    value = environ.get(VISIBLE)
    if value is not None:
        given = [entry.strip() for entry in value.split(",")]
        # CUDA ignores an entry that names nothing, and all behind it.
        if gpus is None:
            return tuple(takewhile(lambda entry: entry not in ("", "-1"), given))
        return tuple(takewhile(lambda entry: named_gpus(entry, gpus, environ), given))
    if gpus is None:
        return None
    if are_numbers_certain(gpus, environ):
        return tuple(str(gpu.index) for gpu in gpus)
    return tuple(name for gpu in gpus for name in (gpu.instances or (gpu.uuid,)))


def shares(
    workers: int, visible: Sequence[str] | None, *, gpus: int = 1, shared: bool = False
) -> tuple[str | None, ...]:
    """What each worker is shown; None for what this process is shown.

    Args:
        workers: how many there are.
        visible: the GPUs that there are; None where that is not known.
        gpus: how many each worker is to have.
        shared: whether workers may share GPUs.

    Raises:
        NotEnoughGpus: there are fewer.
    """
    if not visible:
        return (None,) * workers
    there = "1 GPU is" if len(visible) == 1 else f"{len(visible)} GPUs are"
    seen = f"visible: {', '.join(visible)}"
    if gpus > len(visible):
        raise NotEnoughGpus(
            f"the test asks for {gpus} GPUs, and {there} visible",
            evidence=seen,
            remedy="run it where there are more, or leave it out there (-m, -k, skipif)",
        )
    if workers * gpus > len(visible) and not shared:
        raise NotEnoughGpus(
            f"{workers} workers are to measure, and {there} visible",
            evidence=seen,
            remedy=f"give -n {len(visible)} or -n auto; nsys_share_gpu = true has workers share "
            "GPUs, where they disturb each other's times",
        )
    return tuple(
        ",".join(visible[(worker * gpus + number) % len(visible)] for number in range(gpus))
        for worker in range(workers)
    )
