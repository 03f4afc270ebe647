"""How logs say why a server failed, whatever engine it is; and finding that in a log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_nsys.servers.engines.preset import FailurePattern

COMMON = (
    FailurePattern(
        r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|"
        r"cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED|"
        r"CUDA runtime error in .*out of memory",
        "the GPU's memory was not enough",
        "use a smaller model or a shorter context, give it less of the memory at once, and see "
        "with nvidia-smi who else uses the GPU",
    ),
    FailurePattern(
        r"[Aa]ddress already in use|EADDRINUSE|error while attempting to bind on address",
        "its port was taken by somebody else",
        "run again, or leave the choice of the port to the plugin (no port=)",
    ),
    FailurePattern(
        r"gated repo|Access to model .* is restricted|GatedRepoError",
        "the model is gated, and this user has no access to it",
        "ask for access on the model's page, and set HF_TOKEN",
    ),
    FailurePattern(
        r"is not a local folder and is not a valid model identifier|Repository Not Found|"
        r"RepositoryNotFoundError|HFValidationError|Repo id must be in the form|"
        r"Incorrect path_or_model_id|does not appear to have a file named config\.json",
        "the model was not found",
        "correct the model's name or path; a private one needs HF_TOKEN",
    ),
    FailurePattern(
        r"LocalEntryNotFoundError|outgoing traffic has been disabled|"
        r"couldn't connect to 'https://huggingface\.co'",
        "the model is not in the local cache and could not be downloaded",
        "download it first, or unset HF_HUB_OFFLINE",
    ),
    FailurePattern(
        r"no kernel image is available|is not compatible with the current PyTorch installation|"
        r"compute capability .* (is )?(not supported|at least)|requires compute capability",
        "this GPU is not supported by the engine or by what it is asked to use",
        "use a build of the engine for this GPU, or another data type or attention backend",
    ),
    FailurePattern(
        r"CUDA driver version is insufficient|driver on your system is too old",
        "the NVIDIA driver is too old for the engine's CUDA",
        "install a newer driver, or a build of the engine for an older CUDA",
    ),
    FailurePattern(
        r"No CUDA GPUs are available|no CUDA-capable device|Failed to infer device type|"
        r"Found no NVIDIA driver|No GPU devices found",
        "it found no GPU",
        "see whether nvidia-smi shows one, and what CUDA_VISIBLE_DEVICES names",
    ),
    FailurePattern(
        r"No space left on device|Disk quota exceeded|Bus error",
        "a disk was full, or the shared memory (/dev/shm)",
        "free some space; a container needs --shm-size or --ipc=host",
    ),
    FailurePattern(
        r"ipc path .* is longer than|AF_UNIX path too long|path must be shorter than SUN_LEN",
        "the paths of its sockets are too long",
        "set TMPDIR to a folder with a shorter path",
    ),
    FailurePattern(
        r"ModuleNotFoundError|ImportError",
        "a Python package is missing or does not fit",
        "install what the log names into the engine's environment",
    ),
    FailurePattern(
        r"unrecognized arguments|unrecognised arguments|No such option|"
        r"error: unexpected argument|error: argument ",
        "it refused its arguments",
        "correct args; this version of the engine may call an option otherwise",
    ),
    # The last: they tell what has died, and a pattern above may tell of what.
    FailurePattern(
        r"EngineDeadError|EngineCore encountered a fatal error|died unexpectedly|"
        r"Engine core initialization failed",
        "a process of the engine has ended, and the rest with it",
        "see the lines above; of one that was killed for its memory, only the kernel tells (dmesg)",
    ),
)
"""Patterns of what most engines share: PyTorch, CUDA, the Hugging Face hub, the sockets."""


def first_failure(log: str, failure_patterns: Iterable[FailurePattern]) -> FailurePattern | None:
    """The first pattern that the log shows, those of the engine before the common ones."""
    for failure in (*failure_patterns, *COMMON):
        if re.search(failure.pattern, log):
            return failure
    return None


def failure_line(log: str, failure: FailurePattern) -> str:
    """The first line of the log that has the pattern."""
    return next((line for line in log.splitlines() if re.search(failure.pattern, line)), "")
