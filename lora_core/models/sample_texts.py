"""Texts on which a model is tried, tokenized by its own tokenizer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lora_core.data.batches import Examples
from lora_core.data.truncation import truncate

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORDS = "a the this small old red dog cat fox river house runs sees finds jumps over under slowly never again".split()


def sample_texts(tokenizer: Tokenizer, config: Any, lengths: Sequence[int]) -> Examples:
    """Return a text of each length in tokens, with label 0. They begin with the same word and differ in all others.

    `config` is the configuration of the model that the tokenizer belongs to.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = []
    for number, length in enumerate(lengths):
        words = random.Random(number).choices(WORDS, k=2 * length)
        texts.append(truncate(tokenizer.encode(" ".join(["the", *words])), length))
    tokens, types = (np.concatenate(parts) for parts in zip(*texts, strict=True))
    has_types = getattr(config, "type_vocab_size", 2) > 1
    offsets = np.cumsum([0, *(len(ids) for ids, _ in texts)])
    return Examples(tokens, types if has_types and types.any() else None, offsets, np.zeros(len(texts), np.int64))
