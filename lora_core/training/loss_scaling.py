"""The scaling of the loss in fp16, without which small gradients would be rounded to zero.

The loss is multiplied by a scale before the backward pass, the gradients are divided by it before they are clipped. If
one is not finite, the step is skipped and the scale halved; after 2,000 steps in a row without that it is doubled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.amp.grad_scaler import GradScaler

from lora_core.precision import is_scaled

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from lora_core.precision import Precision
    from lora_core.records import JsonObject


INITIAL_SCALE = 2.0**16  # torch's own, which HF Trainer uses


class LossScaling:
    """Scales the losses of a run in fp16; in any other precision it changes nothing.

    `skipped` counts the steps that were skipped.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.is_on = is_scaled(precision)
        self.skipped = 0
        self._scaler = GradScaler(device.type, init_scale=INITIAL_SCALE, enabled=self.is_on)
        self._scale = self._scaler.get_scale()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the scaled loss."""
        self._scaler.scale(loss).backward()

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> bool:
        """Update the parameters unless a gradient is not finite; return whether they were. The host waits for that."""
        self._scaler.step(optimizer)
        self._scaler.update()
        before, self._scale = self._scale, self._scaler.get_scale()
        was_skipped = self._scale < before
        self.skipped += was_skipped
        return not was_skipped

    @property
    def advice(self) -> str:
        """What may help, besides another learning rate, if a loss is not finite; as the end of a sentence."""
        return ", or set train.precision to 'fp32'" if self.is_on else ""

    def record(self) -> int | None:
        """Return how many steps were skipped, for run.json; None in a precision without scaling."""
        return self.skipped if self.is_on else None

    def check(self, steps: int) -> None:
        """Raise ValueError if all of a run's steps were skipped, so that nothing was trained."""
        if self.is_on and self.skipped == steps:
            raise ValueError(
                f"every one of the {steps} steps was skipped, because gradients were not finite in fp16, even with the "
                f"loss multiplied by {self._scale:g}; set train.precision to 'fp32'"
            )

    def state(self) -> JsonObject | None:
        """Return what later steps depend on; None in a precision without scaling."""
        return {"scaler": self._scaler.state_dict(), "skipped": self.skipped} if self.is_on else None

    def load(self, state: JsonObject | None) -> None:
        """Continue from what `state` returned."""
        if state is not None:
            self._scaler.load_state_dict(state["scaler"])
            self._scale, self.skipped = self._scaler.get_scale(), state["skipped"]
