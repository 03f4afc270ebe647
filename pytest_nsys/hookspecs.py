"""Hooks that a project or another plugin implements to extend pytest-nsys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_nsys.metrics.custom import CustomMetric
    from pytest_nsys.verdict.verdict import Verdict


@pytest.hookspec
def pytest_nsys_metrics() -> Iterable[CustomMetric] | None:
    """Metrics of the project's own, measured, gated and shown like the built-in ones.

    Called in the controller, before marks are read: in runs that measure or replay, and wherever
    marked tests are collected. It may be called more than once, and must say the same each time.

    Returns:
        What each metric is, and the function that computes it from a trace and windows of it (see
        `pytest_nsys.CustomMetric`), or None.
    """


@pytest.hookspec(firstresult=True)
def pytest_nsys_kernel_name(name: str) -> str | None:
    """The canonical name of a kernel, under which runs are compared.

    Args:
        name: the raw, demangled name.

    Returns:
        The canonical name, or None to leave it to the next implementation.
    """


@pytest.hookspec(firstresult=True)
def pytest_nsys_kernel_category(name: str) -> str | None:
    """The category of a kernel (gemm, attention, ...), or None to leave it to the next."""


@pytest.hookspec(firstresult=True)
def pytest_nsys_device_key(gpus: tuple[str, ...]) -> str | None:
    """The key of the baseline folder for a test that used these GPUs.

    Args:
        gpus: the names of the GPUs the test used, one per GPU; empty if it used none.

    Returns:
        The key, or None for the default, the model's name, with ``-xN`` for several.
    """


@pytest.hookspec
def pytest_nsys_release_memory(stage: Literal["setup", "rounds"]) -> None:
    """Called in the worker before a test is set up and before its first round: give cached device
    memory back.

    Args:
        stage: what comes next. What the warm-up has made ready for the rounds (libraries'
            workspaces) is to stay before these.
    """


@pytest.hookspec
def pytest_nsys_verdict(nodeid: str, verdict: Verdict) -> None:
    """Called in the controller with each verdict; it can be read and not changed."""
