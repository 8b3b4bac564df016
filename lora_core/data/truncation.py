"""Truncation of tokenized examples, in time and memory that grow with their length.

A tokenizer that truncates also returns what it cut off: of a pair, every combination of the pieces of both texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Encoding


def truncate(encoding: Encoding, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the token ids and token types of an example, at most `limit` of them.

    Texts lose tokens at their end, and no special token is dropped: the same tokens as by a tokenizer that truncates by
    "longest_first". Raise ValueError if there is no room for a token besides the special ones.
    """
    tokens, types = np.array(encoding.ids, np.int32), np.array(encoding.type_ids, np.int8)
    if len(tokens) <= limit:
        return tokens, types
    texts = np.array([-1 if text is None else text for text in encoding.sequence_ids])
    positions = [np.flatnonzero(texts == text) for text in (0, 1)]
    special = np.flatnonzero(texts == -1)
    if limit <= len(special):
        raise ValueError(
            f"a limit of {limit} tokens leaves no room for text: the tokenizer adds {len(special)} special tokens; "
            f"set data.max_length to {len(special) + 1} or more"
        )
    room = limit - len(special)
    first, second = longest_first(len(positions[0]), len(positions[1]), room)
    order = np.sort(np.concatenate([special, positions[0][:first], positions[1][:second]]))
    return tokens[order], types[order]


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts are kept, at most `room` together: the longer text loses tokens first.

    Of two texts that are both too long, the longer one, or the second if they are as long as each other, keeps the odd
    token.
    """
    short, long = sorted((first, second))
    long = min(long, max(short, room - short))
    if short + long > room:
        short, long = room // 2, room - room // 2
    return (short, long) if first <= second else (long, short)
