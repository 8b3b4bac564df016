"""One training run from start to records: a method on a task with a seed, measured epoch by epoch."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lora_core import device as devices
from lora_core import precision, provenance
from lora_core.data import batches
from lora_core.measuring import idle_baseline
from lora_core.measuring.exclusive import ExclusiveDevice, exclusive_device, expects_gpu
from lora_core.measuring.sampler import Sampler
from lora_core.methods import registry
from lora_core.models import dropout, masks
from lora_core.models import model as models
from lora_core.models.base_model import base_model
from lora_core.provenance import Provenance
from lora_core.records import read_run_record
from lora_core.running_code import RunningCode
from lora_core.seeds import derive
from lora_core.training.checkpoint import Checkpointing, CheckpointSettings, open_checkpoint
from lora_core.training.epoch_order import epoch_order
from lora_core.training.inputs import InputDigests, RunInputs, TrainingData, digest_inputs, read_data
from lora_core.training.loop import TrainingLoop
from lora_core.training.outputs import RunOutputs, describe_measurement, write_outputs, write_weights
from lora_core.training.progress import Progress
from lora_core.training.spec import RunSpec
from lora_core.training.steps import model_inputs


def train(
    spec: RunSpec,
    inputs: RunInputs,
    outputs: RunOutputs,
    threads: int = 1,
    checkpoints: CheckpointSettings | None = None,
    code: RunningCode | None = None,
) -> None:
    """Train, evaluate after every epoch, and write the run's records.

    With `checkpoints`, a long run saves its state after each epoch, and resumes from what an earlier call saved. A run
    that another job makes while this one waits for the device, because two snakemakes run, is not made again. Raise
    ValueError if the device is not available, an input is damaged, a target matches no module, or the loss is not
    finite, or a file of `code`, whose digest the record gets, was edited before it was imported; no record is written
    then.
    """
    is_new = not outputs.record.exists()
    if code is not None:
        code.check()
    on_gpu = expects_gpu(spec.device)
    precision.check_available(spec.precision, on_gpu)
    torch.set_num_threads(threads)
    precision.allow_tf32(spec.precision == "tf32")
    data = read_data(inputs)
    digests = digest_inputs(inputs)
    # The model on shapes alone predicts the memory. Building it also imports what would else count as the model's.
    shapes = registry.build_without_weights(
        inputs.model, data.card.outputs, spec.settings, spec.hyperparameters.gradient_checkpointing
    )
    max_tokens = models.max_input_length(shapes)
    input_tokens = {"longest": max_tokens, **data.count_truncated(max_tokens)}
    max_length = min(data.card.max_length, max_tokens or data.card.max_length)
    run = _describe(spec, inputs, data, digests, shapes)

    @cache
    def build() -> nn.Module:
        model = build_model(spec, inputs.model, data.card.labels, data.train.labels, inputs.start_weights)
        masks.choose_form(model, torch.device("cuda" if on_gpu else "cpu"))
        return model

    if on_gpu:
        build()  # It is ready before the GPU is free. On a CPU its memory is measured, so it comes later.
    with _exclusive_access(spec, outputs) as held:
        device, meter = held.device, held.meter
        if is_new and _is_made(outputs.record, run, code):
            meter.close()
            print("another job has made this run in the meantime", file=sys.stderr, flush=True)
            return
        precision.check_device(spec.precision, device)
        apply_speedups(shapes, spec, device)
        started = provenance.collect(device, threads, spec.precision)
        if code is not None:
            started = replace(started, code=code.digest, code_files=code.files)
        checkpoint = open_checkpoint(checkpoints, _dependencies(spec, digests, started))
        progress = Progress(f"{spec.method} {spec.task} seed {spec.seed}", outputs.progress)
        loop = _train(spec, data.truncate(max_tokens), build, inputs.start_weights is None, held, checkpoint, progress)
        record = {
            "run": run,
            "measurement": describe_measurement(loop, shapes) | {"input_tokens": input_tokens},
            "provenance": asdict(replace(started, driver=meter.details.get("driver"), shared=meter.shared)),
        }
        if code is not None:
            code.check()
        write_weights(outputs.weights, loop.model, spec, inputs.model, max_length)
        write_outputs(outputs, loop, record)
        checkpoint.remove()
        progress.remove()


@contextmanager
def _exclusive_access(spec: RunSpec, outputs: RunOutputs) -> Iterator[ExclusiveDevice]:
    """Hold the device, then the run: an earlier job of it may still be running, on another machine of a cluster."""
    with (
        exclusive_device(spec.device, spec.measure.meter) as held,
        devices.file_lock(outputs.lock, "the files of this run"),
    ):
        yield held


def _describe(
    spec: RunSpec, inputs: RunInputs, data: TrainingData, digests: InputDigests, shapes: nn.Module
) -> dict[str, object]:
    """What run.json says of the run, besides what was measured: its settings and its inputs."""
    return spec.to_params() | {
        "data": data.card.to_json(),
        "model": inputs.model.name,
        "base_revision": base_model(inputs.model).revision,
        "architecture": type(getattr(shapes, "get_base_model", lambda: shapes)()).__name__,
        "model_files": digests.model,
        "start": digests.start,
    }


def _is_made(record: Path, run: Mapping[str, object], code: RunningCode | None) -> bool:
    """Whether the record is of this run, made by the same code: another job was started for it, and has finished."""
    try:
        made = read_run_record(record)
    except (OSError, ValueError):
        return False
    same_code = made["provenance"].get("code") == (code.digest if code else None)
    return made["run"] == json.loads(json.dumps(run)) and same_code


def _train(
    spec: RunSpec,
    data: TrainingData,
    build: Callable[[], nn.Module],
    start_from_data: bool,
    held: ExclusiveDevice,
    checkpoint: Checkpointing,
    progress: Progress,
) -> TrainingLoop:
    """Train the model that `build` returns, while the meter is read."""
    device, meter = held.device, held.meter
    label, interval = devices.label(device), spec.measure.sample_seconds
    with Sampler(meter, label, interval, checkpoint.part, checkpoint.rows, checkpoint.keep_sample) as sampler:
        kept = checkpoint.state.values.get("idle_baseline") if checkpoint.state else None
        sampler.use(idle_baseline.known(meter, spec.measure.idle_seconds, kept))
        sampler.measure_idle(spec.measure.idle_seconds)
        model = build().to(device)
        precision.check_products(spec.precision, device)
        if start_from_data:
            registry.init_from_data(model, spec.settings, lambda: _first_epoch_inputs(spec, data, model))
        apply_speedups(model, spec, device)
        meter.settle()
        if meter.has_context:
            sampler.measure_idle(spec.measure.idle_seconds, "idle_context")
        sampler.use(sampler.baseline or idle_baseline.measured(sampler, checkpoint.part))
        loop = TrainingLoop(spec, data, model, sampler, checkpoint, progress)
        loop.run()
    return loop


def _dependencies(spec: RunSpec, digests: InputDigests, started: Provenance) -> dict[str, object]:
    """Everything that decides a run's weights, and what its times are comparable on."""
    names = ("device_model", "threads", "packages", "cuda", "cudnn", "precision")
    return asdict(digests) | {"run": spec.to_params()} | {name: getattr(started, name) for name in names}


def _first_epoch_inputs(spec: RunSpec, data: TrainingData, model: nn.Module) -> list[Mapping[str, torch.Tensor]]:
    """The training data as the model sees it in the first epoch."""
    order = epoch_order(spec, data.train.lengths, 1, equal_length=models.needs_equal_length(model)).rows
    pad: int = model.config.pad_token_id  # type: ignore[union-attr, assignment]
    device, side = next(model.parameters()).device, models.padding_side(model)
    return [model_inputs(batch, device) for batch in batches.batches(data.train, order, pad, side)]


def build_model(
    spec: RunSpec,
    folder: Path,
    labels: Sequence[str],
    train_labels: np.ndarray,
    start_weights: Path | None = None,
) -> nn.Module:
    """Return the model ready to train; head and adapter are drawn from separate generators, dropout globally.

    `folder` is a prepared model, `labels` are the names of the classes (none: regression), `train_labels` (examples,)
    the values to predict, `start_weights` another run's weights to start from.
    """

    def generator(purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(spec.seed, purpose))

    hyperparameters = spec.hyperparameters
    model = models.load(folder, list(labels), generator("head"), hyperparameters.dropout)
    if hyperparameters.gradient_checkpointing:
        models.enable_checkpointing(model)
    model = registry.adapt(model, spec.settings, generator("adapter"), start_weights)
    if not labels and hyperparameters.head_bias == "label_mean":
        *_, (_, bias) = models.head_parameters(model)
        nn.init.constant_(bias, float(train_labels.mean()))
    torch.manual_seed(derive(spec.seed, "dropout"))
    return model


def apply_speedups(model: nn.Module, spec: RunSpec, device: torch.device) -> None:
    """Replace parts of the model by ones that compute the same faster on this device."""
    if device.type == "cpu":
        dropout.install(model)
    if reduced := precision.autocast_type(spec.precision):
        models.cast_frozen(model, reduced)
