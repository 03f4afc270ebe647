"""What is measured of the engines: jobs, in the order of what matters."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ENGINES = ("vllm", "sglang", "transformers")
MODELS = ("large", "wide")
"""Sizes of the random Llama (``examples/servers/make_llama.py``)."""

NO_MULTICAST = {
    "NCCL_NVLS_ENABLE": "0",
    "NVSHMEM_DISABLE_NVLS": "1",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "VLLM_ALLREDUCE_USE_FLASHINFER": "0",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
}
"""NVLink multicast is off: where GPUs of a host are lent to several, it can stop all of them."""


@dataclass(frozen=True)
class Job:
    """One run of ``pytest --nsys --nsys-record`` on GPUs of its own.

    Attributes:
        name: its own, also of its folder.
        engine: that it starts; "" for all of them, one after another.
        args: further arguments of the engine.
        kind: "base", what others are judged against; "same", another start of a base; "knob", a
            base with one thing changed; "way", a base measured in another way.
        base: name of the base it is judged against; "" for none.
        metric: that is expected to get worse; "" for none.
        culprit: regular expression of a kernel, copy, call or wait that is expected to be more, or
            to take longer; "" for none.
        test: function of the test module.
        model: size of the model that is served, one of `MODELS`.
        processes: starts of the engine.
        gpus: how many it needs.
        seconds: that it is expected to take.
        timeout: seconds after which it is ended.
        caches: of compiled kernels: "use" those that the engine's first start has made, "make"
            them, or begin with "none", as what is compiled differs.
        attach: whether the server is started under ``nsys launch``, and attached to.
        launcher: further options of ``nsys_server.ENGINE``.
        options: further options of pytest.
        environment: further variables.
    """

    name: str
    engine: str
    args: str = ""
    kind: str = "knob"
    base: str = ""
    metric: str = ""
    culprit: str = ""
    test: str = "test_serving"
    model: str = "large"
    processes: int = 1
    gpus: int = 1
    seconds: float = 60.0
    timeout: float = 150.0
    caches: str = "use"
    attach: bool = False
    launcher: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def engines(self) -> tuple[str, ...]:
        """Those it starts."""
        return (self.engine,) if self.engine else ENGINES

    @property
    def nodeid(self) -> str:
        """What pytest is asked for."""
        return f"test_serving.py::{self.test}" + (f"[{self.engine}]" if self.engine else "")


def _of(base: Job, name: str, args: str = "", /, **fields: Any) -> Job:
    """A base with something changed, in one start."""
    job = replace(base, name=f"{base.engine}-{name}", args=args, base=base.name, processes=1)
    return replace(job, **{"kind": "knob", "seconds": 60.0, "timeout": 150.0, **fields})


def _same(base: Job, first: int, last: int) -> list[Job]:
    name = base.name.partition("-")[2].removesuffix("base")
    return [
        _of(base, f"{name}same-{n:02}", kind="same", seconds=75.0) for n in range(first, last + 1)
    ]


def _slip(name: str) -> dict[str, str]:
    """The variables that put a slip of ``slips/sitecustomize.py`` into an engine."""
    return {"ENGINE_SLIP": name, "PYTHONPATH": str(Path(__file__).resolve().parent / "slips")}


_THREE: dict[str, Any] = {"kind": "base", "processes": 3, "seconds": 180.0, "timeout": 330.0}
_VLLM = Job("vllm-base", "vllm", **_THREE)
_PREFIX = Job("vllm-prefix-base", "vllm", test="test_shared_prefix", **_THREE)
_SGLANG = Job("sglang-base", "sglang", **_THREE)
_TRANSFORMERS = Job(
    *("transformers-base", "transformers"),
    **{**_THREE, "model": "wide", "seconds": 240.0, "timeout": 400.0},
)

# Windows as people have them, for what clients see: too much for graphs node by node.
_LONG: dict[str, Any] = {
    "environment": {"SERVE_TOKENS": "64", "SERVE_SECONDS": "3"},
    "options": ("--nsys-args=--cuda-graph-trace=graph",),
    "seconds": 240.0,
    "timeout": 400.0,
}
_VLLM_LONG = replace(_VLLM, name="vllm-long-base", **_LONG)
_SGLANG_LONG = replace(_SGLANG, name="sglang-long-base", **_LONG)

_FIRST: dict[str, Any] = {"kind": "same", "caches": "make", "seconds": 170.0, "timeout": 300.0}
_COMPILED: dict[str, Any] = {"caches": "none", "seconds": 125.0, "timeout": 240.0}
_TWO: dict[str, Any] = {"kind": "way", "base": "", "gpus": 2, "seconds": 150.0, "timeout": 260.0}
_TIME = {"metric": "gpu.kernel_time.per_token"}
_LAUNCHES = {"metric": "api.count.per_token", "culprit": "[Ll]aunchKernel"}
_WAITS = {"metric": "sync.count.per_token", "culprit": "cudaDeviceSynchronize"}
_COPIES = {"metric": "memcpy.d2h.bytes.per_token", "culprit": "d2h"}

JOBS = (
    _of(_VLLM, "same-00", **_FIRST),
    _of(_SGLANG, "same-00", **_FIRST),
    _VLLM,
    _SGLANG,
    _TRANSFORMERS,
    _VLLM_LONG,
    *_same(_VLLM_LONG, 1, 12),
    _SGLANG_LONG,
    *_same(_SGLANG_LONG, 1, 12),
    _of(_VLLM, "eager", "--enforce-eager", **_LAUNCHES, caches="none"),
    _of(_VLLM, "float16", "--dtype float16", culprit="half|_hsh_|f16", **_COMPILED),
    _of(_VLLM, "kv-fp8", "--kv-cache-dtype fp8", culprit="fp8|e4m3", **_COMPILED),
    _of(
        *(_VLLM, "triton-attn", "--attention-backend TRITON_ATTN"),
        **{**_COMPILED, "culprit": "unified_attention"},
    ),
    _of(
        *(_VLLM, "tp2", "--tensor-parallel-size 2 --disable-custom-all-reduce"),
        **{**_TWO, "caches": "none"},
    ),
    _of(_VLLM, "sync", environment=_slip("sync"), **_WAITS),
    _of(_VLLM, "copy", environment=_slip("copy"), **_COPIES),
    *_same(_VLLM, 1, 4),
    *_same(_SGLANG, 1, 2),
    _of(
        *(_SGLANG, "tp2"),
        "--tp-size 2 --disable-custom-all-reduce --enforce-disable-flashinfer-allreduce-fusion",
        environment=_slip("no-multicast"),
        **_TWO,
    ),
    # Few kernels a token, and few tokens: the recording is kept in git.
    Job(
        *("engines", ""),
        **{"kind": "way", "model": "wide", "environment": {"SERVE_TOKENS": "5"}},
        **{"caches": "none", "seconds": 250.0, "timeout": 400.0},
    ),
    _of(_VLLM, "seqs-4", "--max-num-seqs 4", **_TIME, **_COMPILED),
    _PREFIX,
    _of(_PREFIX, "prefix-off", "--no-enable-prefix-caching", **_TIME),
    _of(_VLLM, "own", kind="way", launcher={"own_endpoints": True}, timeout=200.0),
    _of(_VLLM, "graph", kind="way", options=("--nsys-args=--cuda-graph-trace=graph",)),
    _of(_VLLM, "attach", kind="way", attach=True, timeout=200.0),
    *_same(_PREFIX, 1, 2),
    _of(_PREFIX, "prefix-chunks", "--max-num-batched-tokens 256", **_TIME, **_COMPILED),
    _of(_VLLM, "chunks", "--max-num-batched-tokens 256", **_TIME, **_COMPILED),
    _of(_TRANSFORMERS, "eager", "--attn-implementation eager", culprit="softmax", **_TIME),
    *_same(_TRANSFORMERS, 1, 2),
    *_same(_SGLANG, 3, 4),
    *_same(_VLLM, 5, 12),
    _of(
        _SGLANG, "no-graph", "--disable-decode-cuda-graph --disable-prefill-cuda-graph", **_LAUNCHES
    ),
    _of(_SGLANG, "own", kind="way", launcher={"own_endpoints": True}),
    *_same(_SGLANG, 5, 10),
    *_same(_VLLM, 13, 20),
)


def jobs_of(path: Path) -> tuple[Job, ...]:
    """The jobs of another file like this one."""
    found: tuple[Job, ...] = runpy.run_path(str(path))["JOBS"]
    return found
