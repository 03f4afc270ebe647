"""Slips in an engine that has this folder on PYTHONPATH; ENGINE_SLIP chooses one.

sync: vLLM waits for the GPU after each step. copy: it brings the hidden states of each step to the
host. no-multicast, of SGLang, is none: ranks gather logits by NCCL in the place of a kernel that
uses NVLink multicast whatever the options are.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any


def slow_step(module: Any) -> None:
    """Put the slip into vLLM's model runner."""
    import torch

    inner = module.GPUModelRunner.execute_model

    def execute_model(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = inner(self, *args, **kwargs)
        if self.execute_model_state is not None:  # there were tokens to be computed
            if SLIP == "sync":
                torch.cuda.synchronize()
            else:
                with torch.inference_mode():
                    self.execute_model_state.hidden_states.to("cpu")
        return result

    module.GPUModelRunner.execute_model = execute_model


def without_multicast(module: Any) -> None:
    """Have SGLang's gatherer of logits refuse."""
    inner = module.MultimemAllGatherer.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        inner(self, *args, **{**kwargs, "enabled": False})

    module.MultimemAllGatherer.__init__ = init


_RUNNER = "vllm.v1.worker.gpu_model_runner"
_GATHERER = "sglang.srt.distributed.device_communicators.triton_symm_mem_ag"
_SLIPS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "sync": (_RUNNER, slow_step),
    "copy": (_RUNNER, slow_step),
    "no-multicast": (_GATHERER, without_multicast),
}
SLIP = os.environ.get("ENGINE_SLIP", "")


class Finder(importlib.abc.MetaPathFinder):
    """Changes the slip's module as soon as it is imported."""

    def find_spec(self, name: str, *_: Any) -> Any:
        """The module as it is found without this, with the slip put in once it is loaded."""
        wanted, change = _SLIPS[SLIP]
        if name != wanted:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            change(module)
            print(f"engine slip: {SLIP}", flush=True)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if SLIP:
    sys.meta_path.insert(0, Finder())
