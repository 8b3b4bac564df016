"""The learning rates of a run's steps, on the host or on the device."""

from collections.abc import Callable

import torch
from torch.optim import Optimizer


class LearningRates:
    """The learning rate of every group of an optimizer: its own times a factor that depends on the step.

    As in torch's schedulers, `step` comes after the optimizer's, and each group keeps its own rate as `initial_lr`.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float], steps: int) -> None:
        """`factor` takes the number of steps that are done; `steps` are planned."""
        self.optimizer = optimizer
        self.factor = factor
        self.steps = steps
        self._done = 0
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.seek(0)

    @property
    def done(self) -> int:
        """How many steps are done."""
        return self._done

    def at(self, done: int) -> list[float]:
        """Return the rate of each group after this many steps."""
        factor = self.factor(done)
        return [group["initial_lr"] * factor for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Set the rates of the next step."""
        self.seek(self._done + 1)

    def seek(self, done: int) -> None:
        """Set the rates of the step after this many."""
        self._done = done
        for group, rate in zip(self.optimizer.param_groups, self.at(done), strict=True):
            group["lr"] = rate


class DeviceLearningRates(LearningRates):
    """Learning rates that were computed for the whole run, in double precision, and are indexed on the device.

    `step` does nothing on the host, so that it can be part of a CUDA graph.
    """

    def __init__(self, rates: LearningRates, device: torch.device) -> None:
        """Continue from where `rates` are, for the same optimizer."""
        table = [rates.at(done) for done in range(rates.steps + 1)]
        self._table = torch.tensor(table, dtype=torch.float64).to(device)  # (steps + 1, groups)
        self._index = torch.zeros(1, dtype=torch.int64, device=device)
        # torch's fused kernels read a float on CUDA.
        dtype = torch.float32 if device.type == "cuda" else torch.float64
        self._current = torch.empty(len(table[0]), dtype=dtype, device=device)
        self.optimizer = rates.optimizer
        self.factor = rates.factor
        self.steps = rates.steps
        for group, rate in zip(self.optimizer.param_groups, self._current, strict=True):
            group["lr"] = rate
        self.seek(rates.done)

    @property
    def done(self) -> int:
        """How many steps are done; the host waits for the device."""
        return int(self._index)

    def step(self) -> None:
        """Set the rates of the next step."""
        self._index.add_(1)
        self._load()

    def seek(self, done: int) -> None:
        """Set the rates of the step after this many."""
        self._index.fill_(done)
        self._load()

    def _load(self) -> None:
        self._current.copy_(self._table.index_select(0, self._index)[0])
