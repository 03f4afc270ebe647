"""The engines that are known, and registering others."""

from __future__ import annotations

from pytest_nsys.errors import PresetError, UnknownPreset
from pytest_nsys.servers.engines.preset import (
    Endpoint,
    FailurePattern,
    Preset,
    ProfileEndpoints,
    StartStage,
)
from pytest_nsys.servers.load.dialects import dialect_names
from pytest_nsys.support.text import suggest

_FORKS = "--trace-fork-before-exec=true"
_CUDA_PROFILER: dict[str, object] = {"activities": ["CUDA_PROFILER"]}

_WEIGHTS = "loading weights"
_GRAPHS = "capturing CUDA graphs"
_AUTOTUNE = "autotuning kernels"
_WEB = "starting the web server"
_WARM_UP = "warming up"

VLLM = Preset(
    name="vllm",
    command=("vllm", "serve", "{model}", "--host", "{host}", "--port", "{port}"),
    ready="/health",
    dialect="openai-completions",
    name_options=("--served-model-name",),
    # Its documentation asks for both: forked workers are not traced otherwise.
    nsys_args=(_FORKS,),
    environment={"VLLM_WORKER_MULTIPROC_METHOD": "spawn"},
    profile=ProfileEndpoints(
        start=Endpoint("/start_profile"),
        stop=Endpoint("/stop_profile"),
        arguments=("--profiler-config.profiler", "cuda"),
    ),
    failure_patterns=(
        FailurePattern(
            r"No available memory for the cache blocks|"
            r"KV cache is needed, which is larger than the available KV cache memory",
            "the GPU's memory left no room for the KV cache",
            "lower --max-model-len, or raise --gpu-memory-utilization",
        ),
        FailurePattern(
            r"Free memory on device .*is less than desired GPU memory utilization",
            "other processes use the memory of the GPU that vLLM wants for itself",
            "see who with nvidia-smi, or lower --gpu-memory-utilization",
        ),
        FailurePattern(
            r"Available memory on node .* is less than requested memory for kv",
            "the machine's memory has no room for the KV cache",
            "lower VLLM_CPU_KVCACHE_SPACE (GiB), or --kv-cache-memory-bytes",
        ),
    ),
    proven=True,
    stages=(
        StartStage(r"Initializing a V1 LLM engine", "starting the engine"),
        StartStage(r"Starting to load model", _WEIGHTS),
        # Of a run to find out what memory it needs, the first part of which is torch.compile.
        StartStage(r"Model loading took", "trying the model"),
        StartStage(
            r"for vLLM's torch\.compile|torch\.compile cache is disabled|Dynamo bytecode|"
            r"Directly load AOT compilation|for the compilation\.\.\.",
            "compiling",
        ),
        StartStage(
            r"torch\.compile took|Initial profiling/warmup run took|Profiling CUDA graph memory|"
            r"Available KV cache memory",
            "measuring its memory",
        ),
        StartStage(r"GPU KV cache size", _WARM_UP),
        StartStage(r"Capturing .*CUDA graphs|Capturing model for", _GRAPHS),
        StartStage(r"init engine \(profile, create kv cache, warmup model\) took", _WEB),
    ),
    version="/version",
    checked="vLLM 0.22.1, 2026-11-30",
    source="https://docs.vllm.ai/en/stable/contributing/profiling/",
)

SGLANG = Preset(
    name="sglang",
    command=(
        # Since 0.5.6; `python -m sglang.launch_server` would be of the environment of pytest.
        *("sglang", "serve", "--model-path", "{model}"),
        *("--host", "{host}", "--port", "{port}"),
    ),
    ready="/health_generate",
    health="/health",
    dialect="openai-completions",
    name_options=("--served-model-name",),
    nsys_args=(_FORKS,),
    profile=ProfileEndpoints(
        start=Endpoint("/start_profile", body=_CUDA_PROFILER), stop=Endpoint("/stop_profile")
    ),
    failure_patterns=(
        FailurePattern(
            r"Not enough memory\. Please try to increase --mem-fraction-static",
            "the GPU's memory left no room for the KV cache",
            "raise --mem-fraction-static, or use a smaller model",
        ),
    ),
    proven=True,
    stages=(
        StartStage(r"Init torch distributed begin", "starting the engine"),
        StartStage(r"Load weight begin", _WEIGHTS),
        StartStage(r"Load weight end|KV Cache is allocated", "allocating the KV cache"),
        StartStage(r"Running FlashInfer autotune", _AUTOTUNE),
        StartStage(r"Capture [\w ]+ graph begin", _GRAPHS),
        StartStage(r"DeepGEMM JIT Pre-Compile session", "compiling DeepGEMM kernels"),
        # It sends itself a request as soon as it listens.
        StartStage(r"Started server process", _WARM_UP),
    ),
    version="/server_info",
    checked="SGLang 0.5.16, 2026-11-30",
    source="https://docs.sglang.io/docs/developer_guide/benchmark_and_profiling",
)

TGI = Preset(
    name="tgi",
    command=(
        *("text-generation-launcher", "--model-id", "{model}"),
        *("--hostname", "{host}", "--port", "{port}"),
        # Its default lies in /tmp, and two servers would share it.
        *("--shard-uds-path", "{folder}/shard"),
    ),
    ready="/health",
    dialect="tgi",
    nsys_args=(_FORKS,),
    failure_patterns=(
        FailurePattern(
            r"DownloadError",
            "the model could not be downloaded",
            "correct the model's name; a private or gated one needs HF_TOKEN",
        ),
        FailurePattern(
            r"WebserverFailed|WebserverCannotStart",
            "its web server could not start",
            "see the lines above; its --prometheus-port may be taken",
        ),
    ),
    stages=(
        StartStage(r"Starting check and download process", "downloading the model"),
        StartStage(r"Starting shard", _WEIGHTS),
        StartStage(r"Starting Webserver", _WEB),
        StartStage(r"Warming up model", _WARM_UP),
        StartStage(r"Cuda Graphs are enabled for sizes", _GRAPHS),
        StartStage(r"Setting max batch total tokens", "opening its port"),
    ),
    version="/info",
    checked="TGI 3.3.7, 2026-11-30 (in maintenance since 2025-12)",
    source="https://huggingface.co/docs/text-generation-inference/reference/launcher",
)

TRTLLM = Preset(
    name="trtllm",
    command=("trtllm-serve", "{model}", "--host", "{host}", "--port", "{port}"),
    ready="/health",
    dialect="openai-completions",
    api_model="{model_name}",
    name_options=("--served_model_name", "--served-model-name"),
    nsys_args=(_FORKS,),
    # Of its PyTorch backend, and called a prototype.
    profile=ProfileEndpoints(
        start=Endpoint("/start_profile", body=_CUDA_PROFILER), stop=Endpoint("/stop_profile")
    ),
    stages=(
        StartStage(r"Loading (safetensors )?weights|Prefetching .* checkpoint files", _WEIGHTS),
        StartStage(r"Model init total", "allocating the KV cache"),
        StartStage(r"\[Autotuner\] Autotuning process starts", _AUTOTUNE),
        StartStage(
            r"Creating CUDA graph instances|Run (generation[- ]only|piecewise) CUDA graph warmup",
            _GRAPHS,
        ),
        # By now it knows how much memory it has for its KV cache, and prepares all once more.
        StartStage(r"Estimated max memory in KV cache", "preparing with the whole KV cache"),
        StartStage(r"Started server process", _WEB),
    ),
    version="/version",
    checked="TensorRT-LLM 1.4.0rc4, 2026-11-30 (its documentation)",
    source="https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html",
)

NIM = Preset(
    name="nim",
    command=("/opt/nim/start_server.sh",),
    ready="/v1/health/ready",
    health="/v1/health/live",
    dialect="openai-completions",
    api_model="",
    nsys_args=(_FORKS,),
    # The port has the first name in version 2 and the second before; vLLM is inside.
    environment={
        "NIM_SERVER_PORT": "{port}",
        "NIM_HTTP_API_PORT": "{port}",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    },
    failure_patterns=(
        FailurePattern(
            r"NGC_API_KEY|Authentication Error|401 Unauthorized",
            "it may not download the model",
            "set NGC_API_KEY",
        ),
        FailurePattern(
            r"[Nn]o (compatible|runnable) profiles?|Could not (find|match) a profile",
            "none of the container's model profiles fits this GPU",
            "run list-model-profiles in the container, and set NIM_MODEL_PROFILE",
        ),
    ),
    stages=(*VLLM.stages, *SGLANG.stages),  # version 2 has either inside
    version="/v1/version",
    checked="NIM for LLMs 2.1.6, 2026-11-30 (its documentation)",
    source="https://docs.nvidia.com/nim/large-language-models/latest/reference/"
    "environment-variables.html",
)

TRANSFORMERS = Preset(
    name="transformers",
    # The model is loaded before the port is opened, not at the first request.
    command=(
        *("transformers", "serve", "{model}"),
        *("--host", "{host}", "--port", "{port}"),
    ),
    ready="/health",
    dialect="transformers",
    proven=True,
    stages=(
        StartStage(r"Loading (weights|checkpoint shards)", _WEIGHTS),
        StartStage(r"Started server process", _WEB),
    ),
    checked="transformers 5.17.0, 2026-11-30",
    source="https://huggingface.co/docs/transformers/serve-cli/serving",
)

BUILT_IN = (VLLM, SGLANG, TGI, TRTLLM, NIM, TRANSFORMERS)
"""The presets of this package."""

_registered: dict[str, Preset] = {preset.name: preset for preset in BUILT_IN}


def register_preset(preset: Preset) -> Preset:
    """Make an engine known: ``nsys_server`` has a method of its name from then on.

    A second one of the same name replaces the first; those of this package stay.

    Raises:
        PresetError: this package has one of the name, or there is no such dialect.
    """
    if preset.name in {known.name for known in BUILT_IN} and preset not in BUILT_IN:
        raise PresetError(
            f"the preset {preset.name!r} is one of pytest-nsys itself",
            remedy="give yours another name",
        )
    if preset.dialect not in dialect_names():
        raise PresetError(
            f"the preset {preset.name!r} has the dialect {preset.dialect!r}, which there is not",
            remedy=suggest(preset.dialect, dialect_names())
            + " (pytest_nsys.register_dialect makes others known)",
        )
    _registered[preset.name] = preset
    return preset


def preset_names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(_registered)


def preset_named(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UnknownPreset: there is none; the nearest is suggested.
    """
    try:
        return _registered[name]
    except KeyError:
        raise UnknownPreset(
            f"there is no preset {name!r}",
            evidence="presets: " + ", ".join(_registered),
            remedy=suggest(name, list(_registered))
            + " (pytest_nsys.register_preset makes others known)",
        ) from None
