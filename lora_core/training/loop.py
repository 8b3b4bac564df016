"""The epochs of one run: train, measure, evaluate, save the state."""

import math
import time
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from lora_core import device as devices
from lora_core.data.metrics import METRICS
from lora_core.measuring import memory
from lora_core.measuring import power_trace as trace
from lora_core.measuring.sampler import Sampler
from lora_core.records import HistoryRow, PowerRow
from lora_core.training.checkpoint import Checkpointing
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.epoch_order import EpochOrder, epoch_order, repeated_shapes
from lora_core.training.inputs import TrainingData
from lora_core.training.predicted_test import PredictedTest
from lora_core.training.preparation import batches_to_prepare, undone, warm_up
from lora_core.training.progress import Progress, RunProgress
from lora_core.training.spec import RunSpec
from lora_core.training.state import capture, restore
from lora_core.training.state_file import State
from lora_core.training.steps import forward, predict_logits
from lora_core.training.training_step import create_step

# Losses are copied to the host in groups, so that a GPU need not wait for the host at every step.
LOSS_GROUP = 50


@dataclass
class Speed:
    """The work of this part of a run, for an estimate of the time that is left.

    Attributes:
        started: When the part started.
        first_step: Steps that earlier parts did.
        steps: Steps that are done, those of earlier parts included.
        tokens: Tokens trained in this part, without padding.
        train_seconds: Time that this part spent training.
    """

    started: float
    first_step: int
    steps: int
    tokens: int = 0
    train_seconds: float = 0.0


class TrainingLoop:
    """One run while it trains, from the first epoch or from a checkpoint's state.

    After `run`, `history` has a row for each epoch, `predictions` its validation logits (examples, outputs), `losses`
    the loss of every step, `test` the predictions on a test split (None without one), `largest_batch` the rows and
    tokens of the largest batch or micro-batch, and `step.record()` how the steps were executed.
    """

    def __init__(
        self,
        spec: RunSpec,
        data: TrainingData,
        model: nn.Module,
        sampler: Sampler,
        checkpoint: Checkpointing,
        progress: Progress,
    ) -> None:
        self.spec = spec
        self.data = data
        self.model = model
        self.sampler = sampler
        self.checkpoint = checkpoint
        self.history: list[HistoryRow] = []
        self.predictions: list[np.ndarray] = []
        self.losses: list[float] = []
        self.largest_batch = (0, 0)
        self._progress = progress
        self._device = next(model.parameters()).device
        self._train_split, self._validation_split = (
            DeviceExamples(split, model) for split in (data.train, data.validation)
        )
        self.test = None if data.test is None else PredictedTest(spec, data.test, model)
        self.steps_per_epoch = len(self._order(1).rows)
        self.steps = self.steps_per_epoch * spec.hyperparameters.epochs
        self.step = create_step(spec, model, self._train_split, self.steps)
        if checkpoint.state is not None:
            self._restore(checkpoint.state)
        self._speed = Speed(time.monotonic(), first_step=len(self.losses), steps=len(self.losses))

    def run(self) -> None:
        """Train and evaluate every epoch that is not done yet.

        Raise ValueError if a loss is not finite, or if every step was skipped in fp16.
        """
        epochs = self.spec.hyperparameters.epochs
        if len(self.history) < epochs:
            self._prepare(len(self.history) + 1)
        for epoch in range(len(self.history) + 1, epochs + 1):
            self._run_epoch(epoch)
            seconds = self.history[-1].train_seconds + self.history[-1].eval_seconds
            if self.checkpoint.applies_to(epochs * seconds):
                self.checkpoint.save(self._state(), len(self.sampler.rows))
        self.step.scaling.check(self.steps)

    def _prepare(self, epoch: int) -> None:
        """Do what happens only once, before the first epoch of this part, in a window of its own."""
        spec, step = self.spec, self.step
        rows = self._order(epoch).spread(batches_to_prepare(self._device))
        if step.can_capture:
            rows = repeated_shapes(map(self._order, range(epoch, spec.hyperparameters.epochs + 1))) or rows
        first = self._validation_split.evaluation_order(spec.evaluation_batch_size)[:1]
        devices.synchronize(self._device)
        with self.sampler.window("preparation"), undone(self.model, step.optimizer, step.rates, step.scaling):
            (inputs,) = self._validation_split.inputs_in(first)
            warm_up(
                self.model,
                (partial(step.prepare, batch) for batch in step.batches(rows)),
                partial(forward, self.model, inputs, spec.precision),
            )
            devices.synchronize(self._device)
        self._speed.started = time.monotonic()

    def _order(self, epoch: int) -> EpochOrder:
        split = self._train_split
        return epoch_order(self.spec, self.data.train.lengths, epoch, split.padded_lengths, split.equal_length)

    def _run_epoch(self, epoch: int) -> None:
        order = self._order(epoch)
        self.largest_batch = max(self.largest_batch, order.first_part(order.largest), key=math.prod)
        first = len(self.losses)
        self.model.train()
        started = time.monotonic() - self._speed.train_seconds
        devices.reset_peak_memory(self._device)
        devices.synchronize(self._device)
        with self.sampler.window("train") as train_window:
            before = self._clocks()
            saved, tokens_real, tokens_computed = self._train_epoch(epoch, order, started)
            devices.synchronize(self._device)
            processor, thread, suspended = (now - then for now, then in zip(self._clocks(), before, strict=True))
        allocated, reserved = devices.peak_memory_mb(self._device)
        with self.sampler.window("eval") as eval_window:
            eval_suspended = -self.sampler.pulse.suspended_seconds()
            scores = self._evaluate()
            eval_suspended += self.sampler.pulse.suspended_seconds()
        self.history.append(
            HistoryRow(
                epoch=epoch,
                part=self.checkpoint.part,
                steps=len(self.losses) - first,
                tokens_real=tokens_real,
                tokens_computed=tokens_computed,
                train_loss=float(np.mean(self.losses[first:])),
                score=scores[self.data.card.metrics[0]],
                metrics=scores,
                train_seconds=trace.seconds(train_window),
                train_processor_seconds=processor,
                train_thread_seconds=thread,
                eval_seconds=trace.seconds(eval_window),
                train_energy_joules=self._energy_joules(train_window),
                eval_energy_joules=self._energy_joules(eval_window),
                saved_for_backward_mb=saved.mb,
                peak_allocated_mb=self.step.peak_allocated_mb(allocated, order.shapes),
                peak_reserved_mb=reserved,
                train_suspended_seconds=suspended,
                eval_suspended_seconds=eval_suspended,
            )
        )
        if self.test is not None:
            self.test.after_epoch(self.model, self.history)  # in no window: it is no part of training or validation
        self._progress.report(self._status(epoch))

    def _clocks(self) -> tuple[float, float, float]:
        """Seconds that processors worked for the process and for this thread, and in which the process did not run."""
        return time.process_time(), time.thread_time(), self.sampler.pulse.suspended_seconds()

    def _energy_joules(self, window: list[PowerRow]) -> float | None:
        source, sampler = trace.energy_source(window), self.sampler
        return trace.energy_joules([window], source, sampler.meter.limits, sampler.counter_tick_seconds)

    def _train_epoch(self, epoch: int, order: EpochOrder, started: float) -> tuple[memory.SavedForBackward, int, int]:
        """Train on all batches; return what the largest saved for backward, and the tokens without and with padding."""
        saved = memory.SavedForBackward()
        tokens_real, tokens_computed, largest = 0, 0, order.largest
        pending_losses: list[torch.Tensor] = []  # losses that are still on the device
        for i, batch in enumerate(self.step.batches(order.rows)):
            if i == largest:
                loss, saved = self.step.counted(batch)
            else:
                loss = self.step(batch)
            pending_losses.append(loss)
            tokens_real += batch.tokens_real
            tokens_computed += batch.tokens_computed
            self._speed.steps += 1
            self._speed.tokens += batch.tokens_real
            self._speed.train_seconds = time.monotonic() - started
            if len(pending_losses) == LOSS_GROUP:
                self._read_losses(pending_losses)
            if self._progress.due():
                self._progress.update(self._status(epoch))
        self._read_losses(pending_losses)
        return saved, tokens_real, tokens_computed

    def _read_losses(self, pending_losses: list[torch.Tensor]) -> None:
        """Copy losses to the host. Raise ValueError that names the first step whose loss is not finite."""
        if not pending_losses:
            return
        values = torch.stack(pending_losses).tolist()
        pending_losses.clear()
        for step, value in enumerate(values, len(self.losses) + 1):
            if not math.isfinite(value):
                spec, epoch = self.spec, (step - 1) // self.steps_per_epoch + 1
                raise ValueError(
                    f"the loss is {value} at step {step} of {self.steps} (epoch {epoch}, learning rate "
                    f"{spec.hyperparameters.learning_rate}); lower the learning rate of {spec.method!r} for "
                    f"{spec.task!r}{self.step.scaling.advice}"
                )
        self.losses += values

    def _evaluate(self) -> dict[str, float]:
        """Keep the validation logits and return their scores by metric."""
        spec, labels = self.spec, self.data.validation.labels
        logits = predict_logits(self.model, self._validation_split, spec.precision, spec.evaluation_batch_size)
        self.predictions.append(logits)
        return {name: METRICS[name].function(labels, logits) for name in self.data.card.metrics}

    def _status(self, epoch: int) -> RunProgress:
        spec, speed = self.spec, self._speed
        seconds_per_step = (time.monotonic() - speed.started) / (speed.steps - speed.first_step)
        return RunProgress(
            method=spec.method,
            task=spec.task,
            seed=spec.seed,
            epoch=epoch,
            epochs=spec.hyperparameters.epochs,
            step=speed.steps,
            steps=self.steps,
            metric=self.data.card.metrics[0],
            score=self.history[-1].score if self.history else None,
            tokens_per_second=speed.tokens / speed.train_seconds,
            seconds_left=(self.steps - speed.steps) * seconds_per_step,
        )

    def _state(self) -> State:
        """Everything that later epochs depend on, and the records of finished epochs."""
        state = capture(self.model, self.step.optimizer, self.step.rates, self.step.scaling)
        baseline = self.sampler.baseline
        kept = {"idle_baseline": asdict(baseline) if baseline else None, "largest_batch": self.largest_batch}
        records = kept | {"history": [vars(row) for row in self.history]}
        tensors = {
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "predictions": torch.from_numpy(np.stack(self.predictions)),
        }
        test = {} if self.test is None else self.test.state()
        return State(state.values | records, state.tensors | tensors | test)

    def _restore(self, state: State) -> None:
        """Continue from what `_state` returned."""
        restore(state, self.model, self.step.optimizer, self.step.rates, self.step.scaling)
        self.history = [HistoryRow(**row) for row in state.values["history"]]
        self.predictions = list(state.tensors["predictions"].numpy())
        self.losses = state.tensors["losses"].tolist()
        if self.test is not None:
            self.test.restore(state.tensors)
        self.largest_batch = tuple(state.values["largest_batch"])
        self._progress.report(f"resuming after epoch {len(self.history)} (part {self.checkpoint.part + 1})")
