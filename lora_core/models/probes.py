"""What a model can do, tried before a study spends time on it: train on padded texts, read them, its longest input."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_core.data.batches import Examples, truncate
from lora_core.models.model import draw_head, head_parameters, max_input_length
from lora_core.models.sample_texts import padded, tokenized
from lora_core.models.source_folder import one_line
from lora_core.precision import autocast_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lora_core.models.tokenizer import ModelTokenizer

TEXTS = ("The film has little of a plot, and yet its actors make it worth the time.", "It is long.")
# No longer input is tried. Models that take one compute positions, and have no table of them that ends.
LONGEST_TRIED = 4096
# A model that states no limit has none if it takes an input of this length.
LONG_WITHOUT_LIMIT = 1024
PAIRS = (TEXTS, TEXTS[::-1], (TEXTS[1], TEXTS[1]))
SHORT = 8  # tokens that every model takes
SAME = 1e-6  # of the largest logit or hidden state: two texts with no larger difference are the same to a model


def check_encoder_kind(model: Any, tokenizer: ModelTokenizer, longest: int | None) -> None:
    """Raise ValueError if a model is a decoder: a token changes what it computes after that token, and nothing before.

    The encoder of an encoder-decoder reads a text in both directions.
    """
    import torch

    texts = _differing_texts(model, tokenizer, longest, lambda places: places[len(places) // 2])
    if texts is None or model.config.is_encoder_decoder:
        return
    *pair, place = texts
    model.eval()
    try:
        with torch.inference_mode():  # hidden states (tokens, features)
            one, two = (model.base_model(input_ids=torch.from_numpy(text.tokens)[None].long())[0][0] for text in pair)
    except Exception as error:  # a model may fail in any way, and why is said later
        if isinstance(error, MemoryError):
            raise
        return
    changes = (one - two).abs().amax(-1) > SAME * one.abs().max()  # (tokens,)
    if changes[place + 1 :].any() and not changes[:place].any():
        raise ValueError(
            f"model: {type(model).__name__} is a decoder (what it computes for a token does not depend on the tokens "
            "after it), and this study is about encoders; use an encoder or an encoder-decoder"
        )


def check_model(model: Any, tokenizer: ModelTokenizer, precision: str, longest: int | None) -> None:
    """Raise ValueError that names the architecture if a model cannot be used.

    It is a decoder, it cannot be trained on padded texts of any length up to the longest, or not in this precision (as
    in `train.precision`), or a text makes no difference to it. The model is of no use afterwards: its head, its buffers
    and what is trainable change.
    """
    import torch

    check_encoder_kind(model, tokenizer, longest)
    name = type(model).__name__
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draw_head(model, {name for name, _ in head_parameters(model)}, torch.Generator().manual_seed(0))
        kinds = [_encode(model, tokenizer, texts, longest) for texts in (TEXTS, PAIRS)]
        lengths = f"{name} cannot be trained on texts of different lengths", "use another model"
        reduced = f"{name} cannot be trained in train.precision {precision!r}", "set it to 'fp32'"
        # Float16 is tried as bfloat16, because a CPU lacks some of its operations.
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=autocast_type(precision) is not None)
        with autocast:
            tokens = min(longest or LONG_WITHOUT_LIMIT, LONGEST_TRIED)
            _try(model, _encode(model, tokenizer, [_long_text(tokens)], tokens), *reduced)
        for examples in kinds:
            _try(model, examples, *lengths, backward=True)
        _check_reads_texts(model, tokenizer, longest)
        with autocast:
            for examples in kinds if autocast_type(precision) else []:
                _try(model, examples, *reduced, backward=True)


def _try(model: Any, examples: Examples, problem: str, advice: str, backward: bool = False) -> None:
    """Compute logits or, with `backward`, a step without an update. Raise ValueError if that fails or is not finite.

    Only vectors get a gradient. It passes all layers, and those of the matrices would take as much memory as they do.
    """
    import torch

    for parameter in model.parameters():
        parameter.requires_grad_(parameter.ndim == 1)
    model.train(backward)
    try:
        with torch.set_grad_enabled(backward):
            logits = model(**padded(examples, model.config)).logits.float()
        if backward:
            torch.nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)).backward()
    except Exception as error:  # a model may fail in any way
        if isinstance(error, MemoryError):
            raise
        raise ValueError(f"model: {problem} ({one_line(error)}); {advice}") from error
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad(set_to_none=True)
    if not all(tensor.isfinite().all() for tensor in (logits, *gradients)):
        raise ValueError(f"model: {problem} (a logit or gradient is not finite); {advice}")


def _check_reads_texts(model: Any, tokenizer: ModelTokenizer, longest: int | None) -> None:
    """Raise ValueError if a model gives two texts the same logits that differ in their last token."""
    import torch

    texts = _differing_texts(model, tokenizer, longest, lambda places: places[-1])
    if texts is None:
        return
    model.eval()
    with torch.inference_mode():
        one, two = (model(**padded(text, model.config)).logits for text in texts[:2])
    if (one - two).abs().max() <= SAME * one.abs().max():
        raise ValueError(
            f"model: {type(model).__name__} gives the same answer whatever the last word of a text is, so that here it "
            "cannot learn from texts; use another model"
        )


def _differing_texts(
    model: Any, tokenizer: ModelTokenizer, longest: int | None, choose: Callable[[list[int]], int]
) -> tuple[Examples, Examples, int] | None:
    """Return a text twice, with another token at one place, and the place; `choose` takes one of those that can change.

    None for a vocabulary of a few tokens, none of them in this text.
    """
    text = _encode(model, tokenizer, TEXTS[:1], longest)
    ids = text.tokens.copy()
    special = set(tokenizer.loaded.all_special_ids)
    places = [place for place, token in enumerate(ids) if token not in special]
    other = next((i for i in range(model.config.vocab_size) if i not in special and i not in ids), None)
    if not places or other is None:
        return None
    place = choose(places)
    ids[place] = other
    return text, replace(text, tokens=ids), place


def longest_input(model: Any, tokenizer: ModelTokenizer) -> int | None:
    """Return the longest input in tokens: what `max_input_length` derives, or what the model takes if that is less.

    None if there is no limit. BigBird attends to everything once it has seen a short text, so this comes first.
    """
    stated = max_input_length(model)
    fails = min(stated or LONG_WITHOUT_LIMIT, LONGEST_TRIED)
    text = _encode(model, tokenizer, [_long_text(fails)], fails)
    if _takes(model, text, fails):
        return stated
    step = 1
    while not _takes(model, text, works := fails - step):
        fails, step = works, 2 * step
        if fails - step < SHORT:  # why it takes none is said later
            return stated
    while fails - works > 1:
        middle = (works + fails) // 2
        works, fails = (middle, fails) if _takes(model, text, middle) else (works, middle)
    return works


def _long_text(tokens: int) -> str:
    """Return a text of at least so many tokens."""
    return " ".join([TEXTS[0]] * (tokens // SHORT + 1))  # of more words than that


def _takes(model: Any, text: Examples, length: int) -> bool:
    """Whether a model takes the first tokens of a text and its last."""
    import torch

    model.eval()
    try:
        with torch.inference_mode():
            model(**padded(truncate(text, length), model.config))
    except Exception as error:  # a model may fail in any way
        return isinstance(error, MemoryError) or "allocate" in str(error)  # these say something about the machine alone
    return True


def _encode(
    model: Any, tokenizer: ModelTokenizer, texts: Sequence[str | tuple[str, str]], longest: int | None
) -> Examples:
    """Return texts and pairs of them as they are tokenized for training."""
    return tokenized(tokenizer.backend, model.config, texts, [longest or sys.maxsize] * len(texts))
