"""Greedy decoding with a small random GPT-2 of transformers: prefill, then 16 tokens."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from torch.cuda import nvtx
from transformers import GPT2Config, GPT2LMHeadModel

TOKENS = 16


def main() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=4096, n_positions=256, n_embd=512, n_layer=4, n_head=8)
    model = GPT2LMHeadModel(config).to("cuda", torch.bfloat16).eval()
    prompt = torch.randint(0, 4096, (4, 64), device="cuda")
    with torch.inference_mode():
        for name in ("warmup", "decode"):
            with nvtx.range(name):
                with nvtx.range("prefill"):
                    answer = model(prompt, use_cache=True)
                for _ in range(TOKENS if name == "decode" else 2):
                    with nvtx.range("token"):
                        token = answer.logits[:, -1:].argmax(dim=-1)
                        answer = model(
                            token, past_key_values=answer.past_key_values, use_cache=True
                        )
                    with nvtx.range("read"):
                        token[0, 0].item()
                torch.cuda.synchronize()


if __name__ == "__main__":
    main()
