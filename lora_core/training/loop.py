"""What a run is told, and its epochs: train, measure, evaluate, keep the state."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from lora_core import device
from lora_core.data import batches as data
from lora_core.data.metrics import METRICS
from lora_core.job import Progress
from lora_core.measuring import memory, meters
from lora_core.measuring import power_trace as trace
from lora_core.records import HistoryRow
from lora_core.seeds import derive
from lora_core.training.checkpoint import NoCheckpoint, State
from lora_core.training.steps import evaluate, logits_of, loss_function, optimizer, update

# Losses are read back in groups, so that a GPU need not wait for the host at every step.
LOSS_GROUP = 50


@dataclass(frozen=True)
class Spec:
    """What one run is: recorded whole in run.json, so plain values only."""

    method: str
    task: str
    seed: int
    settings: dict[str, Any]  # the method's: kind, rank, ...
    hyperparameters: dict[str, Any]
    precision: str  # fp32 | bf16 (autocast over float32 weights)
    batching: str  # random | bucketed
    evaluation_batch_size: int
    device: str
    meter: str
    simulated: bool
    sample_seconds: float
    idle_seconds: float
    base_model: str


class Epochs:
    """The state of one run while it trains."""

    def __init__(
        self,
        spec: Spec,
        card: dict[str, Any],
        splits: dict[str, data.Examples],
        model: nn.Module,
        where: torch.device,
        sampler: meters.Sampler,
        kept: NoCheckpoint,
    ) -> None:
        self.spec, self.splits, self.model, self.where, self.sampler = spec, splits, model, where, sampler
        self.kept = kept
        self.metrics: list[str] = card["metrics"]
        self.pad: int = model.config.pad_token_id  # type: ignore[union-attr, assignment]
        self.history: list[HistoryRow] = []
        self.predictions: list[np.ndarray] = []
        self.losses: list[float] = []
        self.largest = (0, 0)  # rows and tokens of the largest batch of all epochs
        self.progress = Progress(f"{spec.method} {spec.task} seed {spec.seed}")

    def run(self) -> None:
        """Train and evaluate every planned epoch."""
        hyper, training = self.spec.hyperparameters, self.splits["train"]
        self.steps_per_epoch = math.ceil(len(training) / hyper["batch_size"])
        self.steps = self.steps_per_epoch * hyper["epochs"]
        self.optimizer, self.schedule = optimizer(self.model, hyper, self.steps)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        if self.kept.state is not None:
            self._resume(self.kept.state)
        self.begun, self.first, self.done = time.monotonic(), len(self.losses), len(self.losses)
        self.tokens, self.training = 0, 0.0  # trained in this part, and the seconds it took
        for epoch in range(len(self.history) + 1, hyper["epochs"] + 1):
            self._epoch(epoch)
            spent = self.history[-1].train_seconds + self.history[-1].eval_seconds
            if self.kept.wanted(hyper["epochs"] * spent):
                self.kept.save(self._state(), len(self.sampler.rows))

    def _epoch(self, epoch: int) -> None:
        training, hyper = self.splits["train"], self.spec.hyperparameters
        seed = derive(self.spec.seed, f"order-{epoch}")
        order = data.order(training.lengths, hyper["batch_size"], self.spec.batching, seed)
        shapes = [(len(rows), int(training.lengths[rows].max())) for rows in order]
        largest = max(range(len(order)), key=lambda i: math.prod(shapes[i]))
        self.largest = max(self.largest, shapes[largest], key=math.prod)
        tokens_real = tokens_computed = 0
        waiting: list[torch.Tensor] = []
        first = len(self.losses)
        self.model.train()
        begun = time.monotonic() - self.training
        device.reset_peak(self.where)
        device.synchronize(self.where)
        with self.sampler.window("train") as trained:
            for i, batch in enumerate(data.batches(training, order, self.pad)):
                if i == largest:
                    with memory.saved_for_backward(self.model) as saved:
                        waiting.append(self._step(batch))
                else:
                    waiting.append(self._step(batch))
                tokens_real += batch.tokens_real
                tokens_computed += batch.tokens_computed
                self.done += 1
                self.tokens += batch.tokens_real
                self.training = time.monotonic() - begun
                if len(waiting) == LOSS_GROUP:
                    self._take_losses(waiting)
                if self.progress.due():
                    self.progress.step(self._line(epoch))
            self._take_losses(waiting)
            device.synchronize(self.where)
        allocated, reserved = device.peak_mb(self.where)
        with self.sampler.window("eval") as evaluated:
            logits = evaluate(
                self.model, self.splits["validation"], self.where, self.spec.precision, self.spec.evaluation_batch_size
            )
        self.predictions.append(logits)
        labels = self.splits["validation"].labels
        scores = {name: METRICS[name](labels, logits) for name in self.metrics}
        self.history.append(
            HistoryRow(
                epoch=epoch,
                part=self.kept.part,
                steps=len(self.losses) - first,
                tokens_real=tokens_real,
                tokens_computed=tokens_computed,
                train_loss=float(np.mean(self.losses[first:])),
                score=scores[self.metrics[0]],
                metrics=scores,
                train_seconds=trace.seconds(trained),
                eval_seconds=trace.seconds(evaluated),
                train_energy_joules=trace.energy_joules([trained], trace.source(trained)),
                eval_energy_joules=trace.energy_joules([evaluated], trace.source(evaluated)),
                saved_for_backward_mb=saved.mb,
                peak_allocated_mb=allocated,
                peak_reserved_mb=reserved,
            )
        )
        self.progress.say(self._line(epoch))

    def _state(self) -> State:
        """All that the epochs to come depend on, and what the records say of those done."""
        adamw = self.optimizer.state_dict()
        tensors = {f"model.{name}": p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        for number, entry in adamw["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in entry.items()}
        tensors |= {
            "random.cpu": torch.get_rng_state(),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "predictions": torch.from_numpy(np.stack(self.predictions)),
        }
        if self.where.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.where)
        values = {
            "history": [vars(row) for row in self.history],
            "largest": self.largest,
            "groups": adamw["param_groups"],
            "schedule": self.schedule.state_dict(),
        }
        return State(values, {name: tensor.cpu() for name, tensor in tensors.items()})

    @torch.no_grad()
    def _resume(self, state: State) -> None:
        """The run as `_state` found it."""
        values, tensors = state.values, state.tensors
        for name, p in self.model.named_parameters():
            if p.requires_grad:
                p.copy_(tensors[f"model.{name}"])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, field = name.split(".")
                moments.setdefault(int(number), {})[field] = tensor
        self.optimizer.load_state_dict({"state": moments, "param_groups": values["groups"]})
        self.schedule.load_state_dict(values["schedule"])
        self.history = [HistoryRow(**row) for row in values["history"]]
        self.predictions = list(tensors["predictions"].numpy())
        self.losses = tensors["losses"].tolist()
        self.largest = tuple(values["largest"])
        torch.set_rng_state(tensors["random.cpu"])
        if self.where.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.where)
        self.progress.say(f"goes on after epoch {len(self.history)} (part {self.kept.part + 1})")

    def _step(self, batch: data.Batch) -> torch.Tensor:
        """One step; the loss, still on the device."""
        logits = logits_of(self.model, batch, self.where, self.spec.precision)
        loss = loss_function(logits, device.put(batch.labels, self.where))
        loss.backward()
        update(self.trained, self.optimizer, self.schedule, self.spec.hyperparameters["max_grad_norm"])
        return loss.detach()

    def _take_losses(self, waiting: list[torch.Tensor]) -> None:
        """Move losses to the host. Raises ValueError naming the first step whose loss is not finite."""
        if not waiting:
            return
        values = torch.stack(waiting).tolist()
        waiting.clear()
        for step, value in enumerate(values, len(self.losses) + 1):
            if not math.isfinite(value):
                spec, epoch = self.spec, (step - 1) // self.steps_per_epoch + 1
                raise ValueError(
                    f"the loss is {value} at step {step} of {self.steps} (epoch {epoch}, learning rate "
                    f"{spec.hyperparameters['learning_rate']}); lower the learning rate of {spec.method!r} for "
                    f"{spec.task!r}"
                )
        self.losses += values

    def _line(self, epoch: int) -> str:
        """Where the run stands; the time left is that of training and evaluation."""
        spent = time.monotonic() - self.begun
        left = (self.steps - self.done) * spent / (self.done - self.first)
        score = f", {self.metrics[0]} {self.history[-1].score:.3f}" if self.history else ""
        return (
            f"epoch {epoch}/{self.spec.hyperparameters['epochs']}, step {self.done}/{self.steps}{score}, "
            f"{self.tokens / self.training:,.0f} tokens/s, {int(left) // 60}:{int(left) % 60:02d} left"
        )
