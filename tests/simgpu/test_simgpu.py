"""The simulated GPU: what it records is what a real nsys records of a real GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simgpu.machine import FLAGS, Export, Machine, environment
from tests.simgpu.rows import short_name
from tests.support.exports.tables import statements

APP = """
import os, subprocess, sys, threading, nvtx, simgpu
print("printed-secret", flush=True)
domain = nvtx.get_domain("tests")
domain.push_range(domain.get_event_attributes("outer", "red", "a category", 3))
simgpu.launch("void ns::gemm<float, (int)4>(float *, int)", 300)
simgpu.launch("relu", 50.5)
with nvtx.annotate("inner"):
    simgpu.launch("other_stream", 10, stream=13)
    simgpu.copy("h2d", 1 << 20)
    simgpu.copy("d2h", 1 << 20, sync=True)
    simgpu.copy("h2d", 1 << 20, pageable=True)
    simgpu.copy("p2p", 1000)
    simgpu.memset(4096)
    block = simgpu.malloc(1 << 20)
    simgpu.free(block)
thread = threading.Thread(target=simgpu.launch, args=("from_thread", 10))
thread.start()
thread.join()
simgpu.graph_launch([("node_a", 5), ("node_b", 6)])
simgpu.graph_launch([("node_a", 5), ("node_b", 6)])
simgpu.synchronize()
simgpu.synchronize("stream")
simgpu.synchronize("event")
simgpu.api("cudaOccupancyMaxActiveClusters", 20)
domain.pop_range()
nvtx.end_range(nvtx.start_range("process range", domain="tests"))
nvtx.mark("a mark", payload=1.5)
child = "import simgpu; simgpu.launch('from_child', 7)"
subprocess.run([sys.executable, "-c", child], check=True)
if os.fork() == 0:
    simgpu.launch("from_fork", 1)
    os._exit(0)
os.wait()
nvtx.push_range("still open")
"""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """What becomes of APP."""
    return Machine(tmp_path_factory.mktemp("capture")).exported(APP, TOKEN="planted-secret")


def test_without_a_capture_nothing_is_recorded_and_nobody_waits() -> None:
    app = (
        "import simgpu, nvtx\n"
        "with nvtx.annotate('x'): simgpu.launch('k', 60e6)\n"
        "simgpu.synchronize()\n"
        "simgpu.free(simgpu.malloc(10))\n"
    )
    subprocess.run([sys.executable, "-c", app], env=environment(), timeout=20, check=True)


def test_tables_are_those_of_the_real_one(export: Export) -> None:
    tables = export.tables()
    assert {name: statements()[name] for name in tables} == tables
    assert {name for name in statements() if name.startswith("ENUM_")} <= set(tables)
    for name in tables:
        assert export.rows(f"SELECT count(*) FROM {name}") > [(0,)], name
    assert "CUPTI_ACTIVITY_KIND_GRAPH_TRACE" not in tables


@pytest.mark.parametrize("kind", ["KERNEL", "MEMCPY", "MEMSET"])
def test_each_operation_belongs_to_one_call(export: Export, kind: str) -> None:
    calls = export.rows(
        f"SELECT count(r.rowid) FROM CUPTI_ACTIVITY_KIND_{kind} o "
        "LEFT JOIN CUPTI_ACTIVITY_KIND_RUNTIME r ON o.correlationId = r.correlationId "
        "AND o.globalPid = (r.globalTid >> 24) << 24 AND r.start <= o.start GROUP BY o.rowid"
    )
    assert set(calls) == {(1,)}


def test_kernels_take_what_they_were_given(export: Export) -> None:
    assert sorted(export.kernels()) == [
        ("from_child", 7_000),
        ("from_thread", 10_000),
        ("node_a", 5_000),
        ("node_a", 5_000),
        ("node_b", 6_000),
        ("node_b", 6_000),
        ("other_stream", 10_000),
        ("relu", 50_500),
        ("void ns::gemm<float, (int)4>(float *, int)", 300_000),
    ]


def test_kernels_start_after_their_launch_and_queue_in_their_stream(export: Export) -> None:
    early = export.rows(
        "SELECT * FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN CUPTI_ACTIVITY_KIND_RUNTIME r "
        "ON k.correlationId = r.correlationId AND k.globalPid = (r.globalTid >> 24) << 24 "
        "WHERE k.start < r.end + 2000"
    )
    overlapping = export.rows(
        "SELECT * FROM CUPTI_ACTIVITY_KIND_KERNEL a JOIN CUPTI_ACTIVITY_KIND_KERNEL b "
        "ON a.globalPid = b.globalPid AND a.streamId = b.streamId AND a.rowid != b.rowid "
        "AND a.start <= b.start AND b.start < a.end"
    )
    assert (early, overlapping) == ([], [])


def test_synchronisation_waits_for_the_device(export: Export) -> None:
    [(synchronised,)] = export.rows(
        "SELECT r.end FROM CUPTI_ACTIVITY_KIND_RUNTIME r JOIN StringIds ON id = nameId "
        "WHERE value = 'cudaDeviceSynchronize_v3020'"
    )
    [(idle,)] = export.rows(
        "SELECT max(end) FROM CUPTI_ACTIVITY_KIND_KERNEL JOIN StringIds ON id = demangledName "
        "WHERE value != 'from_child'"
    )
    assert synchronised >= idle


def test_synchronisations_are_recorded_as_by_the_real_one(export: Export, tmp_path: Path) -> None:
    query = "SELECT syncType, streamId FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION ORDER BY start"
    assert export.rows(query) == [(2, 7), (1, 0xFFFFFFFF)]
    documented = Machine(tmp_path, ["documented_sync"]).exported(APP)
    assert documented.rows(query) == [(4, 0xFFFFFFFF), (3, 7), (1, 0xFFFFFFFF)]


def test_calls_have_the_real_names(export: Export) -> None:
    names = export.rows(
        "SELECT DISTINCT value FROM CUPTI_ACTIVITY_KIND_RUNTIME JOIN StringIds ON id = nameId"
    )
    assert {
        ("cudaLaunchKernel_v7000",),
        ("cudaGraphLaunch_v10000",),
        ("cudaMemcpyAsync_v3020",),
        ("cudaMalloc_v3020",),
    } <= set(names)


def test_threads_and_child_processes_are_seen_and_forks_are_not(
    export: Export, tmp_path: Path
) -> None:
    query = (
        "SELECT count(DISTINCT r.globalTid), count(DISTINCT k.globalPid) "
        "FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN CUPTI_ACTIVITY_KIND_RUNTIME r "
        "ON k.correlationId = r.correlationId AND k.globalPid = (r.globalTid >> 24) << 24"
    )
    assert export.rows(query) == [(3, 2)]
    traced = Machine(tmp_path).exported(APP, flags=[*FLAGS, "--trace-fork-before-exec=true"])
    assert traced.rows(query) == [(4, 3)]
    assert ("from_fork", 1_000) in traced.kernels()


def test_many_threads_and_processes_lose_nothing(tmp_path: Path) -> None:
    app = """
import subprocess, sys, threading
part = '''
import threading, simgpu
def work():
    for _ in range(50): simgpu.launch("k" * 200, 1)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
'''
for child in [subprocess.Popen([sys.executable, "-c", part]) for _ in range(3)]: child.wait()
"""
    export = Machine(tmp_path).exported(app)
    assert len(export.kernels()) == 3 * 8 * 50
    unique = "SELECT DISTINCT globalPid, correlationId FROM CUPTI_ACTIVITY_KIND_KERNEL"
    assert len(export.rows(unique)) == 3 * 8 * 50


def test_graph_kernels_share_a_launch_and_repeat_their_nodes(export: Export) -> None:
    launches = export.rows(
        "SELECT correlationId, group_concat(graphNodeId) FROM (SELECT * FROM "
        "CUPTI_ACTIVITY_KIND_KERNEL ORDER BY start) WHERE graphNodeId NOT NULL "
        "GROUP BY correlationId"
    )
    assert [nodes for _, nodes in launches] == [f"{2 << 32},{(2 << 32) + 1}"] * 2
    nodes = "SELECT graphNodeId, originalGraphNodeId FROM CUDA_GRAPH_NODE_EVENTS"
    assert set(export.rows(nodes)) == {
        (1 << 32, None),
        ((1 << 32) + 1, None),
        (2 << 32, 1 << 32),
        ((2 << 32) + 1, (1 << 32) + 1),
    }


def test_whole_graphs_hide_their_kernels(tmp_path: Path) -> None:
    flags = [flag.replace("trace=node", "trace=graph") for flag in FLAGS]
    export = Machine(tmp_path).exported(APP, flags=flags)
    query = "SELECT end - start, graphId FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
    assert export.rows(query) == [(11_000, 1), (11_000, 1)]
    assert not [name for name, _ in export.kernels() if name.startswith("node")]
    assert "CUDA_GRAPH_NODE_EVENTS" not in export.tables()


def test_copies(export: Export) -> None:
    copies = export.rows(
        "SELECT copyKind, srcKind, dstKind, bytes, dstDeviceId FROM CUPTI_ACTIVITY_KIND_MEMCPY "
        "ORDER BY start"
    )
    assert copies == [
        (1, 1, 2, 1 << 20, None),
        (2, 2, 1, 1 << 20, None),
        (1, 0, 2, 1 << 20, None),
        (10, 2, 2, 1000, 1),
    ]


def test_memory_events_need_their_option(export: Export, tmp_path: Path) -> None:
    query = (
        "SELECT memoryOperationType, bytes, memKind, count(*) OVER (PARTITION BY address) "
        "FROM CUDA_GPU_MEMORY_USAGE_EVENTS ORDER BY start"
    )
    assert export.rows(query) == [(0, 1 << 20, 2, 2), (1, 1 << 20, 2, 2)]
    without = [flag for flag in FLAGS if "memory" not in flag]
    assert (
        "CUDA_GPU_MEMORY_USAGE_EVENTS"
        not in Machine(tmp_path).exported(APP, flags=without).tables()
    )


def test_ranges_marks_and_domains(export: Export) -> None:
    events = export.rows(
        "SELECT eventType, COALESCE(text, value), domainId, end IS NULL, int64Value, doubleValue "
        "FROM NVTX_EVENTS LEFT JOIN StringIds ON id = textId ORDER BY start"
    )
    assert events == [
        (75, "tests", 1, 1, None, None),
        (33, "a category", 1, 1, None, None),
        (59, "outer", 1, 0, 3, None),
        (59, "inner", 0, 0, None, None),
        (60, "process range", 1, 0, None, None),
        (34, "a mark", 0, 1, None, 1.5),
        (59, "still open", 0, 1, None, None),
    ]


def test_the_simulated_nvtx_has_the_real_signatures() -> None:
    script = (
        "import inspect, nvtx\n"
        "for name in 'annotate push_range pop_range start_range end_range mark get_domain'.split():"
        " print(name, list(inspect.signature(getattr(nvtx, name)).parameters))\n"
    )
    real = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    outputs = [
        subprocess.check_output([sys.executable, "-c", script], env=env, text=True)
        for env in (real, environment())
    ]
    assert outputs[0] == outputs[1]


def test_the_number_of_events_is_a_checksum(export: Export) -> None:
    [(text,)] = export.rows("SELECT text FROM DIAGNOSTIC_EVENT WHERE text LIKE '%CUDA events%'")
    kinds = ("RUNTIME", "KERNEL", "MEMCPY", "MEMSET")
    rows = [export.rows(f"SELECT 1 FROM CUPTI_ACTIVITY_KIND_{kind}") for kind in kinds]
    assert text == f"Number of CUDA events collected: \t{sum(map(len, rows))}."


@pytest.mark.parametrize("secret", ["planted-secret", "printed-secret"])
def test_stores_secrets_as_the_real_one_does(export: Export, secret: str) -> None:
    places = {
        "planted-secret": "SELECT value FROM META_DATA_CAPTURE "
        "UNION ALL SELECT value FROM TARGET_INFO_SYSTEM_ENV",
        "printed-secret": "SELECT value FROM ProcessStreams JOIN StringIds ON id = contentId",
    }
    assert [text for (text,) in export.rows(places[secret]) if secret in text]


def test_several_gpus(tmp_path: Path) -> None:
    app = "import simgpu; simgpu.launch('k', 1, device=1)"
    export = Machine(tmp_path, gpus=["NVIDIA A100", "NVIDIA L4"]).exported(app)
    names = export.rows("SELECT id, name FROM TARGET_INFO_GPU ORDER BY id")
    assert names == [(0, "NVIDIA A100"), (1, "NVIDIA L4")]
    devices = export.rows("SELECT deviceId, contextId FROM CUPTI_ACTIVITY_KIND_KERNEL")
    assert devices == [(1, 2)]


def test_jitter_is_the_same_in_each_run(tmp_path: Path) -> None:
    app = "import simgpu\nfor _ in range(9): simgpu.launch('k', 100)"
    runs = [
        Machine(tmp_path / str(seed)).exported(app, SIMGPU_JITTER_PCT="5", SIMGPU_SEED=seed)
        for seed in ("1", "2")
    ]
    again = Machine(tmp_path / "3").exported(app, SIMGPU_JITTER_PCT="5", SIMGPU_SEED="1")
    assert runs[0].kernels() == again.kernels() != runs[1].kernels()
    assert all(95_000 <= duration <= 105_000 for _, duration in again.kernels())


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("relu", "relu"),
        ("void at::native::reduce<(int)4, std::array<char *, 2>>(int, T2)", "reduce"),
        ("ns::f(ns::A<int>)", "f"),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert short_name(name) == short
