"""Writes a random Llama that serving engines take for a model: no network, the same for one seed.

    python make_llama.py DIR --size small

DIR then holds config, weights, tokenizer and chat template. What the model says makes no sense, but
it costs what a model of its size costs, and never ends by itself: a request for 64 tokens gets 64.

Needs torch, transformers and tokenizers.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
SPECIAL = [PAD, BOS, EOS, UNKNOWN]

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@dataclass(frozen=True)
class Size:
    """What a model is made of."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int


SIZES = {
    "tiny": Size(2, 128, 4, 2, 256, 1024),
    "wide": Size(4, 4096, 32, 8, 8192, 8192),  # 637 million weights, 1.3 GB, few kernels a token
    "small": Size(16, 1024, 16, 8, 2816, 8192),  # 206 million weights, 411 MB
    "large": Size(16, 2048, 16, 4, 5632, 8192),  # 755 million weights, 1.5 GB
}


def write_model(folder: Path, size: Size, seed: int) -> int:
    """Write the model; returns the number of its weights."""
    tokenizer = _tokenizer(size.vocabulary, seed)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=None,  # a request is to get as many tokens as it asks for
        dtype="bfloat16",
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, pad_token_id=config.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(weights.numel() for weights in model.parameters())


def _tokenizer(vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    """Byte pairs of made-up words, of ASCII alone: each token is a text by itself, so that a
    stream has a piece for each."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        # As ByteLevel writes a new line and a space.
        initial_alphabet=["Ċ", "Ġ", *map(chr, range(33, 127))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(8 * vocabulary, seed), trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise RuntimeError(f"the tokenizer has {tokenizer.get_vocab_size()} tokens")
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, bos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
    )


def _lines(words: int, seed: int) -> Iterator[str]:
    """Made-up words, ten a line."""
    choose = random.Random(seed)
    syllables = [
        first + vowel + last for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in "lnrs"
    ]
    for _ in range(0, words, 10):
        yield " ".join(
            "".join(choose.choices(syllables, k=choose.choice((1, 2, 2, 3)))) for _ in range(10)
        )


def main() -> None:
    """Write the model that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write a random Llama.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    weights = write_model(arguments.folder, SIZES[arguments.size], arguments.seed)
    print(f"{arguments.folder}: {weights / 1e6:.0f} million weights, {2 * weights / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
