"""`lora-core estimate` (`make paper`): the time, disk space and energy of a study, before it starts.

A short trial on this machine takes training steps on random tokens in the shapes of the study's model, in two lengths,
with each method. The time of a step is a line through the two: a constant part, and a part for each token. The time of
a run follows from its examples, tokens and epochs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lora_core import device as devices
from lora_core.commands.status import RunStatus, State, format_duration
from lora_core.config import params
from lora_core.config.study import ConfigError, Study
from lora_core.data.batches import Examples
from lora_core.data.card import read_data_card
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
from lora_core.training.spec import RunSpec
from lora_core.training.training_step import create_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

BATCH_SIZE = 16
LENGTHS = (32, 128)  # tokens per example in the trial
TRIAL_SECONDS = 8.0  # for each method and length
MAX_TRIAL_STEPS = 10_000
# Tokens computed per real token (docs/speed.md).
PADDING = {"random": 2.1, "length_grouped": 1.02}
# The cost of an evaluated token, as a fraction of a trained one.
FORWARD_SHARE = 1 / 3


@dataclass(frozen=True)
class DataSize:
    """How large a task is; `tokens_per_example` is the mean without padding."""

    train_examples: int
    validation_examples: int
    tokens_per_example: float


# GLUE, for tasks that are not tokenized yet.
GLUE = {
    "mnli": DataSize(392_702, 9_815, 39),
    "sst2": DataSize(67_349, 872, 13),
    "mrpc": DataSize(3_668, 408, 53),
    "cola": DataSize(8_551, 1_043, 11),
    "rte": DataSize(2_490, 277, 70),
    "stsb": DataSize(5_749, 1_500, 31),
}


@dataclass(frozen=True)
class StepTime:
    """The seconds of a training step: a constant part, and a part for each computed token."""

    constant: float
    per_token: float

    def of(self, tokens: float, steps: int = 1) -> float:
        """Return the seconds of some steps that compute these tokens together."""
        return steps * self.constant + tokens * self.per_token


@dataclass(frozen=True)
class Trial:
    """What the trial measured.

    Attributes:
        step_times: For each method.
        parameters: Parameters of the model, with its head.
        power_watts: The mean power of the device; None without a meter.
        no_power_reason: Why there is no power; None if there is.
        gpus: On how many GPUs runs are made at the same time; 0 on a CPU.
    """

    step_times: dict[str, StepTime]
    parameters: int
    power_watts: float | None
    no_power_reason: str | None
    gpus: int = 0


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


def run_trial(study: Study) -> Trial:
    """Time training steps of every method of the study, and read the meter in the meantime."""
    gpus = gpu_count(study.train.device)  # before this process takes one of them
    power: list[float] = []
    step_times: dict[str, StepTime] = {}
    parameters = 0
    with exclusive_device(study.train.device, study.measure.meter_name) as held:
        device, meter = held.device, held.meter
        for method in study.methods:
            spec = RunSpec.from_params(params.run_params(study, method, study.tasks[0], study.seeds[0]))
            model = build_model(study)
            parameters = sum(p.numel() for p in model.parameters())
            if spec.hyperparameters.gradient_checkpointing:
                model.activation_checkpointing_enable()
            model = registry.adapt(model, spec.settings, torch.Generator().manual_seed(0))
            masks.choose_form(model, device)
            trainer = _TrialTrainer(model.to(device).train(), spec, meter)
            short, long = (trainer.step_seconds(length) for length in LENGTHS)
            power += trainer.power_watts
            per_token = max(0.0, (long - short) / (BATCH_SIZE * (LENGTHS[1] - LENGTHS[0])))
            step_times[method] = StepTime(max(0.0, short - per_token * BATCH_SIZE * LENGTHS[0]), per_token)
    meter.close()
    reason = meter.reason or "the device reported 0 W"
    return Trial(step_times, parameters, fmean(power) if power else None, reason, gpus)


class _TrialTrainer:
    """Training steps of one method on random tokens."""

    def __init__(self, model: nn.Module, spec: RunSpec, meter: Meter) -> None:
        self.model = model
        self.spec = spec
        self.meter = meter
        self.power_watts: list[float] = []

    def step_seconds(self, length: int) -> float:
        """Return the median time of a step with a batch of this length, prepared as in a run."""
        config: Any = self.model.config
        ids = np.random.default_rng(0).integers(5, int(config.vocab_size), BATCH_SIZE * length).astype(np.int32)
        offsets = np.arange(0, len(ids) + 1, length)
        split = DeviceExamples(Examples(ids, None, offsets, np.zeros(BATCH_SIZE, np.int64)), self.model)
        step = create_step(self.spec, self.model, split, MAX_TRIAL_STEPS + 1)
        (batch,) = split.batches([np.arange(BATCH_SIZE)])
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


def data_size(study: Study, task: str) -> DataSize:
    """Return the size of the tokenized data of a task, or that of GLUE.

    Raise ConfigError if neither is known.
    """
    file = Path(Layout(study.results_dir).data_card.format(task=task))
    if file.exists():
        card = read_data_card(file)
        return DataSize(card.train.examples, card.validation.examples, card.train.tokens / card.train.examples)
    if study.data.source == "mini" or task not in GLUE:
        raise ConfigError(f"{task} is not tokenized yet and its size is unknown; first run: snakemake {file}")
    full = GLUE[task]
    return DataSize(
        min(full.train_examples, study.data.max_train_examples or full.train_examples),
        min(full.validation_examples, study.data.max_validation_examples or full.validation_examples),
        full.tokens_per_example,
    )


def run_seconds(study: Study, run: RunStatus, step_time: StepTime) -> float:
    """Return the seconds of training and evaluation of one run."""
    hyperparameters, size = study.hyperparameters(run.method, run.task), data_size(study, run.task)
    rows = hyperparameters.micro_batch_size or hyperparameters.batch_size
    batches = -(-size.train_examples // rows)
    trained = size.train_examples * size.tokens_per_example * PADDING[study.train.batching]
    evaluated = size.validation_examples * size.tokens_per_example * PADDING["length_grouped"]
    return hyperparameters.epochs * (step_time.of(trained, batches) + step_time.of(FORWARD_SHARE * evaluated, 0))


def weights_gigabytes(study: Study, runs: Sequence[RunStatus], parameters: int) -> float:
    """Return the disk space of full and merged models in float32; adapters are small in comparison."""
    full = sum(study.settings(run.method).saves_full_weights for run in runs)
    merged = sum(study.can_merge(run.method) for run in runs if run.task in study.tasks)
    return 4e-9 * parameters * (full + merged)


def format_estimate(study: Study, trial: Trial, runs: Sequence[RunStatus]) -> str:
    """Return the estimate for the runs that are left, as text."""
    left = [run for run in runs if run.state != State.DONE]
    seconds = {run: run_seconds(study, run, trial.step_times[run.method]) for run in left}
    total = sum(seconds.values())
    lines = [f"{study.results_dir}: {len(left)} of {len(runs)} runs are left.", ""]
    for method in study.methods:
        of_method = [value for run, value in seconds.items() if run.method == method]
        step = trial.step_times[method].of(BATCH_SIZE * LENGTHS[1])
        lines.append(
            f"  {study.labels[method]}: {len(of_method)} runs, {format_duration(sum(of_method))}; a step of "
            f"{BATCH_SIZE} × {LENGTHS[1]} tokens takes {step:.3f} s on this machine"
        )
    if trial.power_watts is None:
        energy = f"n/a ({trial.no_power_reason})"
    else:
        energy = f"{trial.power_watts * total / 3.6e6:,.2f} kWh at {trial.power_watts:.0f} W"
    time_needed = f"{format_duration(total / max(1, trial.gpus))} of training and evaluation"
    if trial.gpus > 1:
        time_needed += f" on {trial.gpus} GPUs at once"
    lines += [
        "",
        f"time:   about {time_needed}; timing inference and drawing come on top",
        f"disk:   about {weights_gigabytes(study, left, trial.parameters):,.1f} GB of weights",
        f"energy: {energy}",
        "",
        "Estimated from a short trial with random tokens; it may be wrong by a factor of two.",
    ]
    return "\n".join(lines)
