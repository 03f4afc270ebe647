"""What a project adds in its ``conftest.py``, with all that the plugin hands to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pytest_nsys import (
    Ask,
    CustomMetric,
    Dialect,
    Endpoint,
    FailurePattern,
    Metric,
    Preset,
    ProfileEndpoints,
    Reading,
    StartStage,
    Tolerance,
    Unit,
    register_dialect,
    register_preset,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_nsys import (
        Bottleneck,
        Comparison,
        Contribution,
        Cut,
        Environment,
        Measurement,
        Members,
        NameSums,
        Requirement,
        Resolution,
        Status,
        Trace,
        TraceGpu,
        Verdict,
    )

TIME: Unit = "ns"


def body(ask: Ask) -> Mapping[str, object]:
    return {"text": ask.prompt, "n": ask.max_tokens, "stream": ask.stream}


def read_reply(reply: Mapping[str, Any]) -> Reading:
    return Reading(output_tokens=len(reply["tokens"]))


def read_chunk(chunk: Mapping[str, Any]) -> Reading:
    return Reading(token=True, text=True, finished=chunk["last"])


OURS: Dialect = register_dialect(Dialect("ours", "/predict", body, read_reply, read_chunk))
ENGINE: Preset = register_preset(
    Preset(
        name="ours",
        command=("our-server", "{model}", "--port", "{port}"),
        ready="/health",
        dialect=OURS.name,
        source="https://example.com/our-server",
        environment={"OUR_PORT": "{port}"},
        profile=ProfileEndpoints(start=Endpoint("/start"), stop=Endpoint("/stop", body={})),
        failure_patterns=(
            FailurePattern(r"out of memory", "the model does not fit", "take a smaller one"),
        ),
        stages=(StartStage(r"reading the model", "loading weights"),),
    )
)


def longest_kernel(cut: Cut) -> npt.NDArray[np.float64]:
    """ns, one number per window."""
    import numpy as np

    trace: Trace = cut.trace
    members: Members = cut.kernels
    gpus: tuple[TraceGpu, ...] = trace.gpus
    assert all(gpu.name for gpu in gpus)
    ns = (trace.kernels["end"] - trace.kernels["start"]).to_numpy()
    longest = np.zeros(len(cut))
    np.maximum.at(longest, members.window, ns[members.row])
    return longest


def kernel_names(cut: Cut) -> npt.NDArray[np.float64]:
    names: NameSums = cut.kernel_names
    return cut.counts(names.only(names.count > 0))


def pytest_nsys_metrics() -> Iterable[CustomMetric]:
    about = "the longest kernel"
    longest = Metric("ours.longest", TIME, "timed", about, Tolerance(0.1), combine="max")
    return [
        CustomMetric(longest, longest_kernel),
        CustomMetric(Metric("ours.kernels", "1", "exact", "kernels"), kernel_names),
    ]


def pytest_nsys_kernel_name(name: str) -> str | None:
    return name.partition("_v")[0] if name.startswith("ours_") else None


def pytest_nsys_kernel_category(name: str) -> str | None:
    return "attention" if "ours_" in name else None


def pytest_nsys_device_key(gpus: tuple[str, ...]) -> str | None:
    return "+".join(gpus) or None


def pytest_nsys_release_memory(stage: Literal["setup", "rounds"]) -> None:
    print(stage)


def pytest_nsys_verdict(nodeid: str, verdict: Verdict) -> None:
    status: Status = verdict.status
    measured: Measurement = verdict.measurement
    environment: Environment = measured.environment
    bottlenecks: tuple[Bottleneck, ...] = measured.bottlenecks
    unmet: tuple[Requirement, ...] = verdict.unmet
    print(nodeid, status, environment.gpu, *(one.advice for one in bottlenecks))
    print(*(requirement.text for requirement in unmet))
    for comparison in verdict.worse:
        show(comparison)


def show(comparison: Comparison) -> None:
    culprits: tuple[Contribution, ...] = comparison.culprits
    resolution: Resolution = comparison.resolution
    unit: Unit = comparison.metric.unit
    print(comparison.limit, resolution.amount, unit, *(culprit.label for culprit in culprits))
