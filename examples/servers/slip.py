"""``transformers serve`` with a slip: in each step the hidden states are copied to the host."""

from __future__ import annotations

from typing import Any

from transformers.cli.transformers import main
from transformers.models.llama import modeling_llama

forward = modeling_llama.LlamaModel.forward


def with_copy(self: Any, *args: Any, **kwargs: Any) -> Any:
    """The model's step, and a look at what came out."""
    out = forward(self, *args, **kwargs)
    out.last_hidden_state.float().abs().max().item()
    out.last_hidden_state.cpu()
    return out


modeling_llama.LlamaModel.forward = with_copy

if __name__ == "__main__":
    main()
