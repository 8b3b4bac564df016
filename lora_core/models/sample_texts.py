"""Texts on which a model is tried, tokenized by its own tokenizer, and as its arguments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lora_core.data.batches import Examples, batches
from lora_core.data.truncation import truncate

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

WORDS = "a the this small old red dog cat fox river house runs sees finds jumps over under slowly never again".split()


def sample_texts(tokenizer: Tokenizer, config: Any, lengths: Sequence[int]) -> Examples:
    """Return a text of each length in tokens. They begin with the same word and differ in all others."""
    words = (random.Random(number).choices(WORDS, k=2 * length) for number, length in enumerate(lengths))
    return tokenized(tokenizer, config, [" ".join(["the", *chosen]) for chosen in words], lengths)


def tokenized(
    tokenizer: Tokenizer, config: Any, texts: Sequence[str | tuple[str, str]], longest: Sequence[int]
) -> Examples:
    """Return texts, or pairs of them, as they are tokenized for training, with label 0.

    `config` is the configuration of the model that the tokenizer belongs to, `longest` the most tokens of each text.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    truncated = [truncate(*pair) for pair in zip(tokenizer.encode_batch(list(texts)), longest, strict=True)]
    tokens, types = (np.concatenate(parts) for parts in zip(*truncated, strict=True))
    has_types = getattr(config, "type_vocab_size", 2) > 1
    offsets = np.cumsum([0, *(len(ids) for ids, _ in truncated)])
    return Examples(tokens, types if has_types and types.any() else None, offsets, np.zeros(len(texts), np.int64))


def padded(
    examples: Examples, config: Any, rows: Sequence[int] | None = None, side: str = "right"
) -> dict[str, torch.Tensor]:
    """Return some of the examples, or all, as a model's arguments, padded on a side to the longest of them."""
    import torch

    chosen = np.array(range(len(examples)) if rows is None else rows)
    (batch,) = batches(examples, [chosen], config.pad_token_id, side)
    arrays = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.types}
    return {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}
