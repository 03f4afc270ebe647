"""What engines print while they start, a line of each kind."""

from __future__ import annotations

LOGS = {
    "vllm": (
        "INFO 11-30 10:00:00 [api_server.py:594] Supported tasks: ['generate']",
        "(EngineCore pid=7) INFO 11-30 10:00:09 [core.py:113] Initializing a V1 LLM engine "
        "(v0.22.1)",
        "(EngineCore pid=7) INFO 11-30 10:00:12 [gpu_model_runner.py:5038] Starting to load "
        "model m...",
        "Loading safetensors checkpoint shards:  50% Completed | 1/2",
        "(EngineCore pid=7) INFO [gpu_model_runner.py:5133] Model loading took 1.5 GiB "
        "memory and 3 s",
        "INFO [backends.py:1090] Using cache directory: "
        "/c/torch_compile_cache/a/rank_0_0/backbone for vLLM's torch.compile",
        "INFO [backends.py:1149] Dynamo bytecode transform time: 6.50 s",
        "INFO [monitor.py:53] torch.compile took 19.20 s in total",
        "INFO [gpu_worker.py:467] Available KV cache memory: 20.0 GiB",
        "INFO [kv_cache_utils.py:1733] GPU KV cache size: 1,000,000 tokens",
        "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):   0%|          | 0/35",
        "INFO [gpu_model_runner.py:6457] Graph capturing finished in 12 secs, took 0.50 GiB",
        "INFO [core.py:310] init engine (profile, create kv cache, warmup model) took 40.12 s",
    ),
    "sglang": (
        "[2026-11-30 10:00:00] server_args=ServerArgs(model_path='m')",
        "[2026-11-30 10:00:05] Init torch distributed begin.",
        "[2026-11-30 10:00:06] Load weight begin. avail mem=140.00 GB",
        "[2026-11-30 10:00:09] Load weight end. elapsed=3.10 s, type=LlamaForCausalLM",
        "[2026-11-30 10:00:09] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 100",
        "[2026-11-30 10:00:09] Running FlashInfer autotune with cache: /c/x.json",
        "[2026-11-30 10:00:10] Capture target decode CUDA graph begin. backend=full",
        "[2026-11-30 10:00:20] Entering DeepGEMM JIT Pre-Compile session. It may take a long time",
        "[2026-11-30 10:00:30] INFO:     Started server process [7]",
        "[2026-11-30 10:00:40] The server is fired up and ready to roll!",
    ),
    "tgi": (
        '2026-11-30T10:00:00.1Z  INFO text_generation_launcher: Args { model_id: "m" }',
        "2026-11-30T10:00:00.2Z  INFO download: text_generation_launcher: Starting check and "
        "download process for m",
        "2026-11-30T10:00:05.0Z  INFO shard-manager: text_generation_launcher: Starting "
        "shard rank=0",
        "2026-11-30T10:00:15.0Z  INFO shard-manager: text_generation_launcher: Waiting for "
        "shard to be ready... rank=0",
        "2026-11-30T10:00:16.0Z  INFO text_generation_launcher: Starting Webserver",
        "2026-11-30T10:00:17.0Z  INFO text_generation_router_v3: Warming up model",
        "2026-11-30T10:00:18.0Z  INFO text_generation_launcher: Cuda Graphs are enabled for "
        "sizes [1]",
        "2026-11-30T10:00:19.0Z  INFO text_generation_router_v3: Setting max batch total "
        "tokens to 9",
    ),
    "trtllm": (
        "[11/30/2026-04:20:04] [TRT-LLM] [I] Using LLM with PyTorch backend",
        "Loading safetensors weights in parallel: 100%|####| 15/15",
        "Loading weights: 100%|####| 801/801 [00:46<00:00, 17.29it/s]",
        "Model init total -- 49.14s",
        "[11/30/2026-04:21:10] [TRT-LLM] [I] [Autotuner] Autotuning process starts ...",
        "[11/30/2026-04:21:37] [TRT-LLM] [I] Creating CUDA graph instances for 11 batch sizes.",
        "[11/30/2026-04:21:37] [TRT-LLM] [I] Run generation only CUDA graph warmup for batch "
        "size=64",
        "[11/30/2026-04:21:51] [TRT-LLM] [I] Estimated max memory in KV cache : 5.95 GiB",
        "[11/30/2026-04:21:52] [TRT-LLM] [I] [Autotuner] Autotuning process starts ...",
        "INFO:     Started server process [41]",
    ),
    "transformers": (
        "Loading weights: 100%|####| 146/146 [00:00<00:00, 900.00it/s]",
        "INFO:     Started server process [7]",
    ),
}
LOGS["nim"] = LOGS["vllm"]
