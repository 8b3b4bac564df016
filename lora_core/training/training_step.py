"""A training step: on the tensors of each batch, or on static buffers, which a CUDA graph can be captured from."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lora_core import device as devices
from lora_core.measuring import memory
from lora_core.measuring.memory import SavedForBackward
from lora_core.precision import is_scaled
from lora_core.training.cuda_graphs import CudaGraphs, capturable
from lora_core.training.device_batches import DeviceBatch, DeviceExamples, Parts
from lora_core.training.learning_rates import DeviceLearningRates
from lora_core.training.loss_scaling import LossScaling
from lora_core.training.spec import RunSpec
from lora_core.training.steps import compute_loss, create_optimizer, forward, optimizer_step


class Graphs(Protocol):
    """What captures steps (`CudaGraphs`; a stand-in without a GPU)."""

    def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record a step without doing it, and return what does it. Raise RuntimeError if it cannot be captured."""
        ...

    def host_random_state(self) -> object:
        """Return the state of the generators on the host, whose draws a graph would repeat forever."""
        ...


class TrainingStep:
    """Trains a model on one batch: forward and backward pass, clipping, update.

    Attributes:
        trained: The parameters that are trained.
        optimizer: What updates them.
        rates: The learning rates of the optimizer.
        scaling: The scaling of the loss, in fp16.
        can_capture: Whether `prepare` captures the step on a shape.
    """

    can_capture = False
    _one_length = False  # whether the micro-batches of a batch are padded to one length

    def __init__(self, spec: RunSpec, model: nn.Module, examples: DeviceExamples, steps: int) -> None:
        """Prepare to train on `examples`; `steps` are planned."""
        self.model = model
        self.examples = examples
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer, self.rates = create_optimizer(model, spec.hyperparameters, steps)
        self.scaling = LossScaling(spec.precision, examples.device)
        self._precision = spec.precision
        self._max_norm = spec.hyperparameters.max_grad_norm
        self._micro = spec.hyperparameters.micro_batch_size

    def batches(self, order: Sequence[np.ndarray]) -> Iterator[DeviceBatch]:
        """Yield the batches of an order, divided into the run's micro-batches."""
        return self.examples.batches(order, self._micro, self._one_length)

    def __call__(self, batch: DeviceBatch) -> Tensor:
        """Train on a batch; return the loss, still on the device."""
        return self._train(batch.rows, batch.parts)

    def counted(self, batch: DeviceBatch) -> tuple[Tensor, SavedForBackward]:
        """Train on a batch; return also what autograd saved for the backward pass, of its largest micro-batch."""
        with memory.saved_for_backward(self.model) as saved:
            loss = self(batch)
        return loss, saved

    def peak_allocated_mb(self, measured: float | None, shapes: Iterable[tuple[int, int]]) -> float | None:
        """Return the allocator's peak in an epoch with batches of these shapes; `measured` is what it reports."""
        return measured

    def prepare(self, batch: DeviceBatch) -> None:
        """Do once what later steps on this shape need; the caller undoes the step's changes."""
        self(batch)

    def record(self) -> dict[str, object]:
        """Return how the steps were executed, for run.json."""
        return {
            "execution": "eager", "graphs": None, "capture_seconds": None, "skipped_steps": self.scaling.record(),
        }  # fmt: skip

    def _train(self, rows: Tensor, parts: Parts) -> Tensor:
        """Add up the gradients of all parts, each by its share of the rows, and update the parameters once."""
        losses = []
        for part, (size, tokens) in zip(rows.split([size for size, _ in parts]), parts, strict=True):
            logits = forward(self.model, self.examples.inputs(part, tokens), self._precision)
            loss = compute_loss(logits, self.examples.labels[part]) * (size / len(rows))
            self.scaling.backward(loss)
            losses.append(loss.detach())
        optimizer_step(self.trained, self.optimizer, self.rates, self._max_norm, self.scaling)
        return torch.stack(losses).sum()


class StaticStep(TrainingStep):
    """A step that reads its row numbers from one buffer for each shape of a batch, and can be captured from there.

    Without `graphs`, and for shapes that are not prepared, it computes the same operation by operation. Micro-batches
    have the length of their batch, so that graphs are as few as without them.
    """

    _one_length = True

    def __init__(
        self, spec: RunSpec, model: nn.Module, examples: DeviceExamples, steps: int, graphs: Graphs | None = None
    ) -> None:
        super().__init__(spec, model, examples, steps)
        self.rates = DeviceLearningRates(self.rates, examples.device)
        self.can_capture = graphs is not None
        self._graphs = graphs
        self._rows: dict[tuple[int, int], Tensor] = {}
        self._replays: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self._saved: dict[tuple[int, int], SavedForBackward] = {}
        self._peaks: dict[tuple[int, int], float | None] = {}
        self._capture_seconds = 0.0

    def __call__(self, batch: DeviceBatch) -> Tensor:
        """Train on a batch; return the loss, still on the device."""
        if batch.shape not in self._rows:
            self._rows[batch.shape] = torch.empty_like(batch.rows)
        rows = self._rows[batch.shape].copy_(batch.rows)
        replay = self._replays.get(batch.shape)
        return self._train(rows, batch.parts) if replay is None else replay()

    def counted(self, batch: DeviceBatch) -> tuple[Tensor, SavedForBackward]:
        """Train on a batch; return also what autograd saved: for a graph, what it saved before the capture."""
        if batch.shape in self._replays:
            return self(batch), self._saved[batch.shape]
        return super().counted(batch)

    def peak_allocated_mb(self, measured: float | None, shapes: Iterable[tuple[int, int]]) -> float | None:
        """Return the allocator's peak in an epoch with batches of these shapes; `measured` is what it reports.

        It does not see what a graph uses when it is launched. The ordinary step before the capture used as much.
        """
        peaks = [measured, *(self._peaks[shape] for shape in set(shapes) & self._replays.keys())]
        return max((peak for peak in peaks if peak is not None), default=None)

    def prepare(self, batch: DeviceBatch) -> None:
        """Do an ordinary step on a shape, then capture it; the caller undoes the step's changes."""
        if self._graphs is None or batch.shape in self._replays:
            self(batch)
            return
        before = self._graphs.host_random_state()
        devices.reset_peak_memory(self.examples.device)
        _, self._saved[batch.shape] = super().counted(batch)
        self._peaks[batch.shape], _ = devices.peak_memory_mb(self.examples.device)
        if self._graphs.host_random_state() != before:
            self._give_up("it draws random numbers on the host, which a graph would repeat at every step")
        else:
            self._capture(self._graphs, batch)

    def record(self) -> dict[str, object]:
        """Return how the steps were executed, for run.json."""
        if not self._replays:
            return super().record()
        graphs = {"execution": "graphs", "graphs": len(self._replays), "capture_seconds": self._capture_seconds}
        return super().record() | graphs

    def _capture(self, graphs: Graphs, batch: DeviceBatch) -> None:
        started = time.perf_counter()
        rows = self._rows[batch.shape]
        try:
            with capturable(self.optimizer):
                self._replays[batch.shape] = graphs.capture(lambda: self._train(rows, batch.parts))
        except RuntimeError as error:
            self._give_up(str(error).partition("\n")[0])
        self._capture_seconds += time.perf_counter() - started

    def _give_up(self, reason: str) -> None:
        """Train eagerly from now on."""
        self._graphs, self.can_capture = None, False
        self._replays.clear()
        self.optimizer.zero_grad(set_to_none=True)
        print(f"no CUDA graphs: a step of this model cannot be captured ({reason}); every step runs eagerly",
              file=sys.stderr, flush=True)  # fmt: skip


def create_step(spec: RunSpec, model: nn.Module, examples: DeviceExamples, steps: int) -> TrainingStep:
    """Return the step for the model's device: on CUDA on static buffers, with graphs unless off or in fp16."""
    if examples.device.type != "cuda":
        return TrainingStep(spec, model, examples, steps)
    graphs = None
    if spec.cuda_graphs == "auto" and is_scaled(spec.precision):
        print("no CUDA graphs: in fp16 the host decides which steps are skipped; every step runs eagerly",
              file=sys.stderr, flush=True)  # fmt: skip
    elif spec.cuda_graphs == "auto":
        graphs = CudaGraphs(examples.device)
    return StaticStep(spec, model, examples, steps, graphs)
