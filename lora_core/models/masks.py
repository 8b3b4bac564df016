"""The form of attention mask that a model takes: one that it uses as it is, without looking at values on the host.

From a mask (rows, tokens) transformers makes one in four dimensions, or none if there is no padding; to decide that,
the host waits for the device. A mask in four dimensions is taken as it is by most models, but not by all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

FLAT, BOOLEAN, ADDITIVE = "flat", "boolean", "additive"
# The form in four dimensions that each attention of transformers uses; flash attention takes the flat one alone.
IN_FOUR_DIMENSIONS = {"sdpa": BOOLEAN, "eager": ADDITIVE}
TOLERANCE = 1e-4  # relative to the largest logit
LENGTHS, LONGEST = (8, 5, 2), 8  # of the examples that a form is tried on

_forms: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def form(model: nn.Module) -> str:
    """Return the form of mask that `choose_form` found for a model, the flat one if it was not called."""
    return _forms.get(model, FLAT)


def choose_form(model: nn.Module, device: torch.device) -> None:
    """Find the form of mask for a model: in four dimensions if that gives the same logits as the flat one.

    On a CPU it is the flat one, for nothing waits there. For another device the model is tried before it is moved: what
    a mask breaks on the CPU is an error like others, but on a GPU it may end the process's use of it.
    """
    if device.type == "cpu":
        return
    config: Any = model.config
    candidate = IN_FOUR_DIMENSIONS.get(getattr(config, "_attn_implementation", ""), FLAT)
    if candidate != FLAT and _has_only_this_mask(model) and _gives_the_same_logits(model, candidate):
        _forms[model] = candidate


def _has_only_this_mask(model: nn.Module) -> bool:
    """Whether every layer of a model uses the mask of the whole input; some see a window of it in some layers."""
    inner: Any = getattr(model, "get_base_model", lambda: model)()
    names = vars(sys.modules[type(inner.base_model).__module__])
    return "create_bidirectional_mask" in names and "create_bidirectional_sliding_window_mask" not in names


@torch.no_grad()
def _gives_the_same_logits(model: nn.Module, candidate: str) -> bool:
    config: Any = model.config
    real = torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]  # (rows, tokens)
    ids = torch.arange(real.numel()).view(real.shape) % getattr(config, "vocab_size", real.numel())
    inputs = {"input_ids": torch.where(real, ids, config.pad_token_id or 0)}
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            flat, other = (model(**inputs, attention_mask=build(name, real)).logits for name in (FLAT, candidate))
    except Exception:  # a model may fail in any way on a mask that it does not take
        return False
    finally:
        model.train(was_training)
    return bool((other - flat).abs().max() <= TOLERANCE * flat.abs().max())


def build(form: str, real: Tensor) -> Tensor:
    """Return a mask as a model's argument; `real` (rows, tokens) is True for tokens and False for padding."""
    if form == FLAT:
        return real.long()
    mask = real[:, None, None, :].expand(-1, 1, real.shape[1], -1)  # (rows, 1, tokens, tokens)
    if form == ADDITIVE:
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill_(~mask, torch.finfo(torch.float32).min)
    return mask
