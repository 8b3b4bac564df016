"""What a training step of each method costs on this machine, from a short trial.

The trial takes training steps on random tokens in the shapes of the study's model, in two lengths. The time of a step
is a line through the two: a constant part, and a part for each token.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from lora_core import device as devices
from lora_core.config import params
from lora_core.config.study import ConfigError, Study
from lora_core.data.batches import Examples
from lora_core.evaluation import memory_scaling
from lora_core.layout import Layout
from lora_core.measuring.exclusive import exclusive_device
from lora_core.measuring.gpus import gpu_count
from lora_core.measuring.meters import Meter
from lora_core.methods import registry
from lora_core.models import masks
from lora_core.models import model as models
from lora_core.models.pretrained import wheel_folder
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.spec import Hyperparameters, RunSpec
from lora_core.training.training_step import create_step

if TYPE_CHECKING:
    from torch import nn

BATCH_SIZE = 16
LENGTHS = (32, 128)  # tokens per example in the trial
TRIAL_SECONDS = 8.0  # for each method and length
MAX_TRIAL_STEPS = 10_000
TRIAL = (
    "Estimated from a short trial with random tokens; it may be wrong by a factor of two. `make regimes` measures this "
    "device in three minutes, and the next estimate is made from that."
)

T = TypeVar("T")


@dataclass(frozen=True)
class StepTime:
    """The seconds of a training step: a constant part, and a part for each computed token.

    With micro-batches the constant part is that of all of them and one update.
    """

    constant: float
    per_token: float
    rows: int = BATCH_SIZE

    @classmethod
    def through(cls, short: float, long: float, rows: int = BATCH_SIZE) -> StepTime:
        """Return the line through the seconds of steps of so many rows of both `LENGTHS`."""
        per_token = max(0.0, (long - short) / (rows * (LENGTHS[1] - LENGTHS[0])))
        return cls(max(0.0, short - per_token * rows * LENGTHS[0]), per_token, rows)

    def of(self, tokens: float, steps: int = 1) -> float:
        """Return the seconds of some steps that compute these tokens together."""
        return steps * self.constant + tokens * self.per_token


@dataclass(frozen=True)
class StepCosts:
    """What training steps of a study cost on this machine.

    Attributes:
        step_times: For each method and task.
        parameters: Parameters of the model, with its head.
        power_watts: The mean power of the device; None without a meter.
        no_power_reason: Why there is no power; None if there is.
        gpus: On how many GPUs runs are made at the same time; 0 on a CPU.
        source: A sentence that says how this is known.
    """

    step_times: dict[tuple[str, str], StepTime]
    parameters: int
    power_watts: float | None
    no_power_reason: str | None
    gpus: int = 0
    source: str = TRIAL


def rows_of_step(hyperparameters: Hyperparameters) -> int:
    """Return the rows of a step that stands for all: a whole batch where it is divided into micro-batches."""
    return hyperparameters.batch_size if hyperparameters.micro_batch_size else BATCH_SIZE


def of_runs(study: Study, step_time: Callable[[RunSpec], T]) -> dict[tuple[str, str], T]:
    """Return the step times by method and task, each found once for tasks whose steps are the same."""
    known: dict[tuple[object, ...], T] = {}
    times = {}
    for method in study.methods:
        for task in study.tasks_of(method):
            spec = RunSpec.from_params(params.run_params(study, method, task, study.seeds[0]))
            key = (method, *_what_decides_the_time(spec.hyperparameters))
            if key not in known:
                known[key] = step_time(spec)
            times[method, task] = known[key]
    return times


def _what_decides_the_time(h: Hyperparameters) -> tuple[object, ...]:
    """The hyperparameters that decide what the steps of a task take."""
    of_model = h.dropout, h.gradient_checkpointing
    of_update = h.optimizer, h.max_grad_norm is None, h.loraplus_lr_ratio == 1
    return *of_model, *of_update, h.micro_batch_size, rows_of_step(h)


def build_model(study: Study) -> Any:
    """Return the study's model with a head of two labels: prepared, from its folder, or random in its shape.

    Raise ConfigError if nothing on this machine says what shape it has.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    source = study.model
    prepared = Path(Layout(study.results_dir).model.format(model=source.name))
    if prepared.exists():
        return models.load(prepared, ["0", "1"])
    match source.source:
        case "wheel":
            config = AutoConfig.from_pretrained(wheel_folder(source.package, source.path), trust_remote_code=False)
        case "local":
            config = AutoConfig.from_pretrained(source.path, trust_remote_code=False)
        case "random":
            config = AutoConfig.for_model(**source.config)
        case _ if source.id.rpartition("/")[2] == "roberta-base":
            return memory_scaling.build(memory_scaling.COUNTED[1], memory_scaling.METHODS["full"])
        case _:
            raise ConfigError(f"model.id: {source.id!r} is not on this machine yet; first run: snakemake {prepared}")
    config.num_labels = 2
    return AutoModelForSequenceClassification.from_config(config)


def run_trial(study: Study) -> StepCosts:
    """Time training steps of every method of the study, and read the meter in the meantime."""
    gpus = gpu_count(study.train.device)  # before this process takes one of them
    power: list[float] = []
    parameters: list[int] = []
    with exclusive_device(study.train.device, study.measure.meter_name) as held:
        device, meter = held.device, held.meter

        def step_time(spec: RunSpec) -> StepTime:
            model = build_model(study)
            parameters.append(sum(p.numel() for p in model.parameters()))
            if spec.hyperparameters.gradient_checkpointing:
                model.activation_checkpointing_enable()
            model = registry.adapt(model, spec.settings, torch.Generator().manual_seed(0))
            masks.choose_form(model, device)
            trainer = _TrialTrainer(model.to(device).train(), spec, meter)
            short, long = map(trainer.step_seconds, LENGTHS)
            power.extend(trainer.power_watts)
            return StepTime.through(short, long, trainer.rows)

        step_times = of_runs(study, step_time)
    meter.close()
    reason = meter.reason or "the device reported 0 W"
    return StepCosts(step_times, parameters[-1], fmean(power) if power else None, reason, gpus)


class _TrialTrainer:
    """Training steps of one method on random tokens."""

    def __init__(self, model: nn.Module, spec: RunSpec, meter: Meter) -> None:
        self.model = model
        self.spec = spec
        self.rows = rows_of_step(spec.hyperparameters)
        self.meter = meter
        self.power_watts: list[float] = []

    def step_seconds(self, length: int) -> float:
        """Return the median time of a step with a batch of this length, prepared and divided as in a run."""
        config: Any = self.model.config
        ids = np.random.default_rng(0).integers(5, int(config.vocab_size), self.rows * length).astype(np.int32)
        offsets = np.arange(0, len(ids) + 1, length)
        split = DeviceExamples(Examples(ids, None, offsets, np.zeros(self.rows, np.int64)), self.model)
        step = create_step(self.spec, self.model, split, MAX_TRIAL_STEPS + 1)
        (batch,) = step.batches([np.arange(self.rows)])
        step.prepare(batch)
        seconds: list[float] = []
        first = self.meter.read()
        start = time.monotonic()
        while len(seconds) < MAX_TRIAL_STEPS:
            before = time.monotonic()
            step(batch)
            devices.synchronize(split.device)
            seconds.append(time.monotonic() - before)
            last = self.meter.read()
            if not self.meter.power_is_mean:
                self._note(last.power_watts)
            if len(seconds) >= 2 and time.monotonic() - start > TRIAL_SECONDS:
                break
        if self.meter.power_is_mean:  # over all steps, because one may be shorter than a tick of the counter
            self._note(last.watts_since(first, time.monotonic() - start))
        return median(seconds)

    def _note(self, watts: float | None) -> None:
        if watts is not None and watts > 0:  # 0 W during work is no measurement
            self.power_watts.append(watts)
