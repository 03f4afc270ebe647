"""Rules on real captures: which of them find something in which range, and which do not."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest

from pytest_nsys.insights.bottlenecks import RULES, diagnose
from pytest_nsys.insights.bottlenecks.background import Background
from pytest_nsys.insights.bottlenecks.view import build_view
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.windows.cut import Cut
from pytest_nsys.windows.ranges import Selection, selected_ranges

OWN = Path(__file__).parent / "captures"

FIRES, QUIET = True, False

CASES = (
    ("host_bound", "bottlenecks", "host_bound", FIRES),
    ("host_bound", "llama_node", "generate", FIRES),
    ("host_bound", "train", "fwd", FIRES),
    ("host_bound", "bottlenecks", "sync_bound", QUIET),
    ("host_bound", "bottlenecks", "launch_bound", QUIET),
    ("host_bound", "bottlenecks", "allocation", QUIET),
    ("host_bound", "llama_node", "graph_replay", QUIET),
    ("sync_bound", "bottlenecks", "sync_bound", FIRES),
    ("sync_bound", "bottlenecks", "host_bound", QUIET),
    ("sync_bound", "bottlenecks", "synchronous", QUIET),
    ("launch_bound", "bottlenecks", "launch_bound", FIRES),
    ("launch_bound", "llama_node", "generate", FIRES),
    ("launch_bound", "graph_node", "eager", FIRES),
    ("launch_bound", "graph_node", "replays", QUIET),  # the same kernels, in a CUDA graph
    ("launch_bound", "llama_node", "graph_replay", QUIET),
    ("launch_bound", "bottlenecks", "host_bound", QUIET),
    ("transfer_bound", "bottlenecks", "transfer_bound", FIRES),
    ("transfer_bound", "basic", "step", FIRES),
    ("transfer_bound", "gpu_metrics", "transfers", FIRES),
    ("transfer_bound", "bottlenecks", "overlap", QUIET),
    ("pageable_copies", "bottlenecks", "pageable", FIRES),
    ("pageable_copies", "basic", "step", FIRES),
    ("pageable_copies", "bottlenecks", "transfer_bound", QUIET),
    ("pageable_copies", "bottlenecks", "sync_bound", QUIET),
    ("pageable_copies", "train", "h2d", QUIET),
    ("synchronous_copies", "bottlenecks", "synchronous", FIRES),
    ("synchronous_copies", "bottlenecks", "transfer_bound", QUIET),
    ("synchronous_copies", "bottlenecks", "pageable", QUIET),
    ("copy_overlap", "bottlenecks", "no_overlap", FIRES),
    ("copy_overlap", "bottlenecks", "overlap", QUIET),
    ("copy_overlap", "bottlenecks", "transfer_bound", QUIET),  # hardly anything to hide behind
    ("allocation", "bottlenecks", "allocation", FIRES),
    ("allocation", "bottlenecks", "sync_bound", QUIET),
    ("one_kernel", "bottlenecks", "one_kernel", FIRES),
    ("one_kernel", "gpu_metrics", "compute bound", FIRES),
    ("one_kernel", "bottlenecks", "launch_bound", QUIET),  # kernels are not what takes the time
    ("one_kernel", "bottlenecks", "sync_bound", QUIET),
    ("communication_overlap", "nccl", "exposed", FIRES),
    ("communication_overlap", "nccl", "hidden", QUIET),
    ("low_sm_activity", "low_throughput", "few_blocks", FIRES),
    ("low_sm_activity", "low_throughput", "fp32_products", QUIET),
    ("low_sm_activity", "gpu_metrics", "compute bound", QUIET),
    ("low_sm_activity", "gpu_metrics", "transfers", QUIET),
    ("low_tensor_activity", "low_throughput", "fp32_products", FIRES),
    ("low_tensor_activity", "low_throughput", "thin_products", QUIET),  # limited by memory
    ("low_tensor_activity", "gpu_metrics", "compute bound", QUIET),
    ("low_memory_throughput", "low_throughput", "few_blocks", FIRES),
    ("low_memory_throughput", "low_throughput", "fp32_products", QUIET),
    ("low_memory_throughput", "gpu_metrics", "memory bound", QUIET),
    *((rule.__name__, "bottlenecks", "healthy", QUIET) for rule in RULES),
)

_BY_NAME = {rule.__name__: rule for rule in RULES}


@pytest.fixture(scope="module")
def traces(captures: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    folder = tmp_path_factory.mktemp("own")
    paths = {name: captures[name] for _, name, _, _ in CASES if name in captures}
    for packed in OWN.glob("*.sqlite.xz"):
        name = packed.name.removesuffix(".sqlite.xz")
        paths[name] = folder / f"{name}.sqlite"
        with lzma.open(packed) as source, paths[name].open("wb") as target:
            shutil.copyfileobj(source, target)
    return {name: load_trace(path) for name, path in paths.items()}


def meanwhile(trace: Trace, text: str) -> Cut:
    """What the whole machine did during the ranges."""
    rows = selected_ranges(trace, Selection(text))
    return Cut(trace, rows["start"].to_numpy(np.int64), rows["end"].to_numpy(np.int64))


@pytest.mark.parametrize(("rule", "capture", "text", "fires"), CASES)
def test_rules_on_real_captures(
    traces: dict[str, Trace], rule: str, capture: str, text: str, fires: bool
) -> None:
    trace = traces[capture]
    view = build_view(meanwhile(trace, text), Background(trace, Naming()))
    found = _BY_NAME[rule](view)
    assert (found is not None) == fires, found


def test_every_rule_has_a_real_case_of_both_kinds() -> None:
    for outcome in (FIRES, QUIET):
        assert {rule for rule, _, _, fires in CASES if fires == outcome} == set(_BY_NAME)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("host_bound", "host-bound"),
        ("sync_bound", "sync-bound"),
        ("launch_bound", "launch-bound"),
        ("transfer_bound", "transfer-bound"),
        ("pageable", "pageable-copies"),
        ("synchronous", "synchronous-copies"),
        ("one_kernel", "one-kernel"),
        ("allocation", "allocation"),
        ("healthy", None),
    ],
)
def test_what_a_program_was_made_to_suffer_from_is_its_first_finding(
    traces: dict[str, Trace], text: str, first: str | None
) -> None:
    findings = diagnose(meanwhile(traces["bottlenecks"], text))
    assert next((finding.name for finding in findings), None) == first


def test_numbers_of_a_real_finding(traces: dict[str, Trace]) -> None:
    """The waits of 60 rounds of ``.item()``; the first comes back to what is queued already."""
    found = {f.name: f for f in diagnose(meanwhile(traces["bottlenecks"], "sync_bound"))}
    assert list(found) == ["sync-bound"]
    (line,) = found["sync-bound"].evidence
    assert line.startswith("59 gaps after cudaStreamSynchronize: 1.29 ms together")
