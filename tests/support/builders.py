"""Runs made by hand: measurements of given samples and parts, judged as a real run is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.measure.measurement import Environment, Measurement, Part, Parts, WindowMeasurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.plan.options import Mode
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Verdict

FLASH = "flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits>"
GEMM = "nvjet_sm90_hsh_*_TNN"
NODEID = "tests/test_decode.py::test_decode[bf16-8]"

ENVIRONMENT = Environment(
    gpu="NVIDIA H200",
    driver="580.65.06",
    cuda="13.0",
    nsys="2025.3.2",
    trace=("--trace=cuda,nvtx", "--cuda-memory-usage=true"),
    versions={"python": "3.12.3", "torch": "2.11.0"},
    date="2026-01-10",
)
SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)


def kernel(label: str, count: float, ns: float, category: str = "gemm") -> Part:
    """A kernel: how often a round runs it, and for how long in all."""
    return Part(label, count, ns=ns, category=category)


def window(
    *kernels: Part,
    name: str = "test",
    copies: Sequence[Part] = (),
    syncs: Sequence[Part] = (),
    units: Mapping[str, float] | None = None,
    **samples: Sequence[float],
) -> WindowMeasurement:
    """A window whose totals are those of its parts, but for a little spread in its times.

    Keyword arguments give a metric's samples; underscores in them stand for dots.
    """
    time, count = sum(part.ns for part in kernels), sum(part.count for part in kernels)
    h2d = [part for part in copies if part.label.startswith("h2d")]
    rounds: dict[str, Sequence[float]] = {
        "gpu.kernel_time": [time - 900, time - 300, time, time + 400, time + 1100],
        "gpu.kernel_count": [count] * 5,
        "memcpy.h2d.bytes": [sum(part.bytes for part in h2d)] * 5,
        "memcpy.h2d.count": [sum(part.count for part in h2d)] * 5,
        "sync.count": [sum(part.count for part in syncs)] * 5,
        "wall.time": [time * 1.2, time * 1.3, time * 1.25, time * 1.21, time * 1.22],
        **{key.replace("_", ".", 1): values for key, values in samples.items()},
    }
    breakdown: dict[Breakdown, Sequence[Part]] = {
        "kernels": kernels,
        "copies": copies,
        "syncs": syncs,
    }
    return WindowMeasurement(
        name=name,
        samples={key: (tuple(map(float, values)),) for key, values in rounds.items()},
        units=units or {},
        breakdown={kind: Parts(tuple(parts)) for kind, parts in breakdown.items()},
    )


def measurement(
    *windows: WindowMeasurement, nodeid: str = NODEID, environment: Environment = ENVIRONMENT
) -> Measurement:
    """A measurement of a test on an H200."""
    by_name = {part.name: part for part in windows}
    return Measurement(nodeid, "nvidia-h200", 1, 5, by_name, environment)


def verdict(
    now: Measurement,
    then: Measurement | None = None,
    *,
    mode: Mode = "profile",
    spec: Spec = SPEC,
    other_devices: tuple[str, ...] = (),
) -> Verdict:
    """What the gate says of a measurement."""
    return judge(spec, now, then, Policy(mode), other_devices=other_devices)


def before(test: Measurement, *windows: WindowMeasurement) -> Measurement:
    """The baseline of a test: other windows, an older driver, an earlier day."""
    environment = replace(test.environment, driver="570.86.15", date="2025-11-30")
    return replace(test, windows={part.name: part for part in windows}, environment=environment)


def slower(nodeid: str = NODEID) -> Verdict:
    """A regressed test: one kernel slower, one replaced by another, one more copy."""
    now = measurement(
        window(
            kernel(FLASH, 32, 1_190_450, "attention"),
            kernel(GEMM, 64, 1_240_120),
            kernel("rms_norm_v2", 65, 40_210, "norm"),
            kernel("silu_and_mul", 32, 61_020, "elementwise"),
            copies=[Part("h2d 4 KiB", 2, 2400, 8192), Part("d2h 8 B", 1, 1100, 8)],
            syncs=[Part("cudaStreamSynchronize", 1, 45_000)],
        ),
        nodeid=nodeid,
    )
    then = before(
        now,
        window(
            kernel(FLASH, 32, 1_010_003, "attention"),
            kernel(GEMM, 64, 1_241_871),
            kernel("rms_norm", 65, 52_840, "norm"),
            kernel("silu_and_mul", 32, 60_979, "elementwise"),
            copies=[Part("h2d 4 KiB", 1, 1200, 4096), Part("d2h 8 B", 1, 1100, 8)],
            syncs=[Part("cudaStreamSynchronize", 1, 44_000)],
        ),
    )
    return verdict(now, then)


def steady(nodeid: str = "tests/test_decode.py::test_prefill") -> Verdict:
    """A test that is as fast as it was."""
    now = measurement(window(kernel(GEMM, 64, 2_240_120)), nodeid=nodeid)
    return verdict(now, before(now, window(kernel(GEMM, 64, 2_238_400))))
