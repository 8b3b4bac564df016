"""`make paper`: what a study will take, before it starts: a short trial on this machine, and the runs that are left.

The trial takes training steps on random tokens in the shapes of the study's model, in two lengths, with each kind of
method. The seconds of a step are a part of its own and a part for each token: a line through the two. What a run takes
follows from its examples, tokens and epochs.
"""

import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn

from lora_core import device
from lora_core.commands import status
from lora_core.config.study import ConfigError, Study, read_files
from lora_core.data import batches as data
from lora_core.evaluation import memory_scaling as scaling
from lora_core.measuring import meters
from lora_core.methods import registry as methods
from lora_core.models import model as models
from lora_core.models.pretrained import wheel_folder
from lora_core.records import read_json
from lora_core.training import steps

# Training and validation examples of GLUE, and tokens of an example (mean, rounded): for what is not tokenised yet.
GLUE = {
    "mnli": (392_702, 9_815, 39),
    "sst2": (67_349, 872, 13),
    "mrpc": (3_668, 408, 53),
    "cola": (8_551, 1_043, 11),
    "rte": (2_490, 277, 70),
    "stsb": (5_749, 1_500, 31),
}
PADDING = {"random": 2.1, "bucketed": 1.02}  # computed for each real token (docs/speed.md)
LENGTHS = (32, 128)
BATCH = 16
SECONDS = 8.0  # of steps for each method and length
FORWARD = 1 / 3  # of a full step: what an evaluated token costs


@dataclass(frozen=True)
class Speed:
    """Seconds of a step: `own`, and `token` for each token computed."""

    own: float
    token: float


@dataclass(frozen=True)
class Trial:
    """What a trial found: the speed by method, the mean power, and why there is none."""

    speeds: dict[str, Speed]
    parameters: int
    watts: float | None
    reason: str | None


def base_model(study: Study) -> Any:
    """The study's model with a head of two labels: prepared, from its folder, or random in RoBERTa-base's shape."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    prepared, source = Path(study.results_dir, "models", study.model.name), study.model
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
            return scaling.build(scaling.COUNTED[1], {"kind": "full"})
        case _:
            raise ConfigError(f"model.id: {source.id!r} is not here yet: make its folder first, {prepared}")
    config.num_labels = 2
    return AutoModelForSequenceClassification.from_config(config)


def trial(study: Study) -> Trial:
    """Time steps of each method, and read the meter meanwhile."""
    where = device.resolve(study.train.device)
    measured = study.measure
    meter = meters.open_meter(measured.meter, where.type, lambda: device.uuid(where), measured.simulated)
    watts: list[float] = []
    speeds: dict[str, Speed] = {}
    parameters = 0
    with device.alone(where):
        for method in study.methods:
            hyper = study.hyperparameters(method, study.tasks[0])
            model = base_model(study)
            if hyper["gradient_checkpointing"]:
                model.activation_checkpointing_enable()
            parameters = parameters or sum(p.numel() for p in model.parameters())
            model = methods.adapt(model, study.settings(method), torch.Generator().manual_seed(0)).to(where).train()
            seconds = [
                _step_seconds(model, hyper, length, study.train.precision, where, meter, watts) for length in LENGTHS
            ]
            token = max(0.0, (seconds[1] - seconds[0]) / (BATCH * (LENGTHS[1] - LENGTHS[0])))
            speeds[method] = Speed(max(0.0, seconds[0] - token * BATCH * LENGTHS[0]), token)
    meter.close()
    return Trial(speeds, parameters, fmean(watts) if watts else None, meter.reason)


def _step_seconds(
    model: nn.Module,
    hyper: dict[str, Any],
    length: int,
    precision: str,
    where: torch.device,
    meter: Any,
    watts: list[float],
) -> float:
    """The median step of a batch of this length, after one that warms up."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, int(model.config.vocab_size), (BATCH, length))  # type: ignore[union-attr, arg-type]
    batch = data.Batch(ids, np.ones_like(ids), None, np.zeros(BATCH, np.int64), np.arange(BATCH), BATCH * length)
    optimizer, schedule = steps.optimizer(model, hyper, 10**6)
    trained = [p for p in model.parameters() if p.requires_grad]
    seconds: list[float] = []
    begun = time.monotonic()
    for number in count():
        before = time.monotonic()
        loss = steps.loss_function(steps.logits_of(model, batch, where, precision), device.put(batch.labels, where))
        loss.backward()
        steps.update(trained, optimizer, schedule, hyper["max_grad_norm"])
        device.synchronize(where)
        if number:
            seconds.append(time.monotonic() - before)
        power = meter.read().power_watts
        if power is not None:
            watts.append(power)
        if number >= 2 and time.monotonic() - begun > SECONDS:
            return float(np.median(seconds))
    raise AssertionError


def examples(study: Study, task: str) -> tuple[int, int, float]:
    """Training and validation examples, and tokens of an example: of the tokenised data, else GLUE's."""
    card = Path(study.results_dir, "data", task, "card.json")
    if card.exists():
        found = read_json(card)
        train, validation = found["train"], found["validation"]
        return train["examples"], validation["examples"], train["tokens"] / train["examples"]
    if study.data.source == "mini" or task not in GLUE:
        raise ConfigError(
            f"{task} is not tokenised yet, and how large it is is not known here: run the target {card} first"
        )
    train, validation, tokens = GLUE[task]
    limits = study.data.max_train_examples, study.data.max_validation_examples
    train, validation = (min(n, limit or n) for n, limit in zip((train, validation), limits, strict=True))
    return train, validation, tokens


def seconds_of(study: Study, run: status.Run, speed: Speed) -> float:
    """Training and evaluation of one run."""
    hyper, (train, validation, tokens) = study.hyperparameters(run.method, run.task), examples(study, run.task)
    epoch = -(-train // hyper["batch_size"]) * speed.own + train * tokens * PADDING[study.train.batching] * speed.token
    return hyper["epochs"] * (epoch + validation * tokens * PADDING["bucketed"] * FORWARD * speed.token)


def text(study: Study, found: Trial, runs: list[status.Run]) -> str:
    """The estimate in words."""
    left = [run for run in runs if run.state != status.DONE]
    seconds = {run: seconds_of(study, run, found.speeds[run.method]) for run in left}
    total = sum(seconds.values())
    whole = [run for run in left if run.task in study.tasks]
    kept = sum(not study.merges(run.method) and study.kind(run.method).protocol_column == "full" for run in left)
    merged = sum(study.merges(run.method) for run in whole)
    gigabytes = 4e-9 * found.parameters * (kept + merged)
    lines = [f"{study.results_dir}: {len(left)} of {len(runs)} runs are left.", ""]
    for method in study.methods:
        own = [value for run, value in seconds.items() if run.method == method]
        speed = found.speeds[method]
        lines.append(
            f"  {method}: {len(own)} runs, {status.duration(sum(own))}; a step of {BATCH} × {LENGTHS[1]} tokens takes "
            f"{speed.own + BATCH * LENGTHS[1] * speed.token:.3f} s here"
        )
    energy = (
        f"{found.watts * total / 3.6e6:,.2f} kWh at {found.watts:.0f} W" if found.watts else f"n/a ({found.reason})"
    )
    lines += [
        "",
        f"time:   about {status.duration(total)} of training and evaluation; timing inference and drawing come on top",
        f"disk:   about {gigabytes:,.1f} GB of weights",
        f"energy: {energy}",
        "",
        "From a short trial with random tokens: it may be wrong by a factor of two.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        chosen = read_files(*sys.argv[1:])
        print("A short trial on this machine ...", flush=True)
        print(text(chosen, trial(chosen), status.look(chosen)))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
