"""A tokenized split on the device: a batch is gathered there from the numbers of its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lora_core.data.batches import Examples, evaluation_order
from lora_core.device import to_device
from lora_core.models import masks
from lora_core.models.model import max_input_length, needs_equal_length, padding_side

# Lengths are rounded up to a multiple of this, by the type of the device: kernels of a GPU are fast on such shapes, and
# there are fewer of them.
MULTIPLE = {"cuda": 8}


Inputs = dict[str, Tensor]  # by the names of a model's arguments
Parts = tuple[tuple[int, int], ...]  # rows and tokens, padding included, of each micro-batch


@dataclass(frozen=True)
class DeviceBatch:
    """Examples that are trained on in one step, or evaluated in one pass.

    Attributes:
        rows: Their positions in the split, (rows,) int64, on the device.
        tokens_real: Tokens without padding.
        parts: Its micro-batches; one for a batch that is computed as a whole.
    """

    rows: Tensor
    tokens_real: int
    parts: Parts

    @property
    def tokens(self) -> int:
        """The length to which its longest examples are padded."""
        return max(tokens for _, tokens in self.parts)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and tokens, padding included."""
        return len(self.rows), self.tokens

    @property
    def tokens_computed(self) -> int:
        """Tokens with padding."""
        return sum(rows * tokens for rows, tokens in self.parts)


class DeviceExamples:
    """A split on the device of a model, as that model takes it.

    Attributes:
        examples: The split on the host.
        equal_length: Whether a batch must hold examples of equal length: padding would change the model's logits.
        padded_lengths: Tokens of each example, (examples,), rounded up as the device wants it.
        labels: (examples,), on the device.
    """

    def __init__(self, examples: Examples, model: nn.Module) -> None:
        config: Any = model.config
        device = next(model.parameters()).device
        self.examples = examples
        self.device = device
        self.labels = to_device(examples.labels, device)
        self.equal_length = needs_equal_length(model)
        self.padded_lengths = lengths_on_device(examples.lengths, model, device.type)
        self._pads_left = padding_side(model) == "left"
        self._pad: int = config.pad_token_id
        self._mask_form = masks.form(model)
        self._tokens = to_device(examples.tokens, device)
        self._types = None if examples.types is None else to_device(examples.types, device)
        self._starts = to_device(examples.offsets[:-1], device)
        self._lengths = to_device(examples.lengths, device)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.examples)

    def evaluation_order(self, batch_size: int) -> list[np.ndarray]:
        """Return all rows sorted by length, in batches as the model needs them."""
        return evaluation_order(self.examples.lengths, batch_size, self.equal_length)

    def batches(
        self, order: Sequence[np.ndarray], micro: int | None = None, one_length: bool = False
    ) -> Iterator[DeviceBatch]:
        """Yield the batches of an order; all row numbers are copied to the device at once.

        Each is divided into parts of at most `micro` rows (None: not at all), which are padded to their own longest
        example, or with `one_length` to the batch's.
        """
        on_device = to_device(np.concatenate(order), self.device).split([len(rows) for rows in order])
        lengths = self.examples.lengths
        for rows, numbers in zip(order, on_device, strict=True):
            starts = np.arange(0, len(rows), micro or len(rows))
            padded = np.maximum.reduceat(self.padded_lengths[rows], starts)
            if one_length:
                padded[:] = padded.max()
            sizes = np.diff(starts, append=len(rows))
            parts = tuple(zip(sizes.tolist(), padded.tolist(), strict=True))
            yield DeviceBatch(numbers, int(lengths[rows].sum()), parts)

    def inputs_in(self, order: Sequence[np.ndarray]) -> list[Inputs]:
        """Return the model's arguments for all batches of an order."""
        return [self.inputs(batch.rows, batch.tokens) for batch in self.batches(order)]

    def inputs(self, rows: Tensor, tokens: int) -> Inputs:
        """Return the model's arguments for rows, padded to a length; the host does not wait for them."""
        position, lengths = torch.arange(tokens, device=self.device), self._lengths[rows, None]
        if self._pads_left:
            position = position - (tokens - lengths)
        real = (position >= 0) & (position < lengths)  # (rows, tokens)
        places = torch.where(real, self._starts[rows, None] + position, 0)
        inputs = {
            "input_ids": torch.where(real, self._tokens[places], self._pad).long(),
            "attention_mask": masks.build(self._mask_form, real),
        }
        if self._types is not None:
            inputs["token_type_ids"] = torch.where(real, self._types[places], 0).long()
        return inputs


def lengths_on_device(lengths: np.ndarray, model: nn.Module, device_type: str) -> np.ndarray:
    """Return the lengths to which a device pads examples of a model, each alone."""
    multiple = 1 if needs_equal_length(model) else MULTIPLE.get(device_type, 1)
    return padded_lengths(lengths, multiple, max_input_length(model))


def padded_lengths(lengths: np.ndarray, multiple: int, longest: int | None) -> np.ndarray:
    """Return lengths rounded up to a multiple, but not beyond the longest input that a model takes (None: no limit)."""
    rounded = -(-lengths // multiple) * multiple
    return rounded if longest is None else np.maximum(lengths, np.minimum(rounded, longest))
