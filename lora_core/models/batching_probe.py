"""Whether a model gives a text the same logits alone and in a batch, tried when it is prepared.

Padding changes the logits of some models although they get a mask: it takes part in a Fourier transform, a convolution
or a hash. Such a model is trained, evaluated and timed in batches of equal length, which need no padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lora_core import job
from lora_core.data.batches import Examples
from lora_core.models.model import EQUAL_LENGTH, PADDING_SIDE
from lora_core.models.sample_texts import padded, sample_texts
from lora_core.models.source_folder import one_line

if TYPE_CHECKING:
    from lora_core.models.tokenizer import ModelTokenizer

TOLERANCE = 1e-4  # relative to the largest logit; rounding is below 1e-5
SHORT, LONG = 9, 1024  # tokens of the two texts; BigBird has sparse attention from 704 tokens on
# An attention that a text below some length replaces for the rest of the process, and what it is replaced by.
SPARSE, FULL = "block_sparse", "original_full"


def record_batching(model: Any, tokenizer: ModelTokenizer, limit: int | None) -> None:
    """Record in a model's configuration how its texts have to be batched; `limit` is its longest input in tokens.

    The weights are changed, so they have to be stored before. Raise ValueError if the model cannot compute a text, or
    gives the same text other logits when it has seen another one.
    """
    config = model.config
    for name in (EQUAL_LENGTH, PADDING_SIDE):
        vars(config).pop(name, None)  # of a folder that was prepared before
    examples = _texts(tokenizer, config, limit)
    model.eval()
    _scale_up(model)
    alone = _logits_alone(model, examples)
    sides = dict.fromkeys(("right", tokenizer.loaded.padding_side))
    side = next((side for side in sides if _same(_logits(model, examples, [0, 1], side), alone)), None)
    if side is None:
        setattr(config, EQUAL_LENGTH, True)
        kind = type(model).__name__
        job.announce(f"padding changes the logits of {kind}: its batches hold texts of equal length only")
    elif side != "right":
        setattr(config, PADDING_SIDE, side)


def _logits_alone(model: Any, examples: Examples) -> torch.Tensor:
    """Return the logits (2, outputs) of a short and a long text, each computed alone."""
    long_first = _logits(model, examples, [1])
    short = _logits(model, examples, [0])
    long = _logits(model, examples, [1])
    if not _same(long, long_first):
        kind = type(model).__name__
        if getattr(model.config, "attention_type", None) != SPARSE:
            raise ValueError(
                f"model: {kind} answers the same text differently after another text, so that no score could be "
                "repeated; use another model"
            )
        model.config.attention_type = FULL  # the short text has replaced the model's attention already
        job.announce(f"{kind} gives up its sparse attention at the first short text: it has full attention throughout")
    return torch.cat([short, long])


def _texts(tokenizer: ModelTokenizer, config: Any, limit: int | None) -> Examples:
    """Return a short and a long text as the model's tokenizer gives them."""
    from tokenizers import Tokenizer

    longest = min(limit or LONG, tokenizer.loaded.model_max_length, LONG)
    longest -= longest % getattr(config, "block_size", 1)  # sparse attention pads to whole blocks
    return sample_texts(Tokenizer.from_str(tokenizer.backend.to_str()), config, [min(SHORT, longest), longest])


@torch.no_grad()
def _scale_up(model: Any) -> None:
    """Give small matrices the size of trained ones: next to those just initialized, attention hardly counts."""
    for parameter in model.parameters():
        size = (parameter.numel() / len(parameter)) ** -0.5 if parameter.ndim > 1 else 0.0
        if parameter.numel() > 1 and 0 < (spread := float(parameter.std())) < size:
            parameter.mul_(size / spread)


@torch.no_grad()
def _logits(model: Any, examples: Examples, rows: list[int], side: str = "right") -> torch.Tensor:
    """Return the logits (rows, outputs) of one batch. Raise ValueError if the model cannot compute it."""
    try:
        return model(**padded(examples, model.config, rows, side)).logits
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"model: {type(model).__name__} cannot compute a text of {examples.lengths[rows].max()} tokens "
            f"({one_line(error)}); use another model"
        ) from error


def _same(logits: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((logits - expected).abs().max() <= TOLERANCE * expected.abs().max())
