"""What a training step of each method costs on this machine, predicted from what `make regimes` measured of it."""

from __future__ import annotations

from pathlib import Path

import torch

from lora_core import device as devices
from lora_core.commands.step_costs import LENGTHS, StepCosts, StepTime, of_runs, rows_of_step
from lora_core.config import params
from lora_core.config.study import Study
from lora_core.evaluation.measured_device import MeasuredDevice, read_measured_device
from lora_core.evaluation.regime_record import total_seconds
from lora_core.evaluation.step_model import count_divided_step
from lora_core.evaluation.timed_models import OUTPUTS, without_weights
from lora_core.layout import Layout
from lora_core.measuring.exclusive import expects_gpu
from lora_core.measuring.gpus import gpu_count, usable_cores
from lora_core.models import model as models
from lora_core.training.spec import RunSpec


def predict(study: Study) -> StepCosts | None:
    """Return the costs; None if this device was not measured as the study trains on it, or a step has no counts.

    What must be the same are the model, the precision, and on a CPU the number of threads. A record of an older version
    predicts nothing. Raise ValueError if the record is damaged.
    """
    layout = Layout(study.results_dir)
    file, model = Path(layout.regimes), Path(layout.model.format(model=study.model.name))
    if not (file.exists() and model.exists()):
        return None
    gpus = gpu_count(study.train.device)
    device = _device(study)
    measured = read_measured_device(file)
    if measured is None or not _trains_as_measured(study, device, measured):
        return None
    step_times = of_runs(study, lambda spec: _step_time(spec, model, device, measured))
    known = {run: step_time for run, step_time in step_times.items() if step_time is not None}
    if len(known) < len(step_times):
        return None
    parameters = sum(p.numel() for p in models.model_shapes(model, OUTPUTS, "meta").parameters())
    source = (
        f"Predicted from {file}: constants of this device, which make regimes measured at {measured.started}, and the "
        f"operations of a step of each method; steps measured there took {measured.slowness:.2f} of their predicted "
        "time, which is included."
    )
    return StepCosts(known, parameters, measured.watts, "no energy was measured", gpus, source)


def _trains_as_measured(study: Study, device: torch.device, measured: MeasuredDevice) -> bool:
    spec = RunSpec.from_params(params.run_params(study, study.methods[0], study.tasks[0], study.seeds[0]))
    here = devices.model_name(device), study.train.precision, spec.base_model
    if here != (measured.device_model, measured.precision, measured.model):
        return False
    return device.type != "cpu" or (study.train.threads or usable_cores()) == measured.threads


def _device(study: Study) -> torch.device:
    if not expects_gpu(study.train.device) or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda" if study.train.device == "auto" else study.train.device)


def _step_time(spec: RunSpec, model: Path, device: torch.device, measured: MeasuredDevice) -> StepTime | None:
    """What a step of a method takes; None if the model does not run on shapes alone."""
    shapes, seconds = without_weights(spec, model, device), []
    hyperparameters, rows = spec.hyperparameters, rows_of_step(spec.hyperparameters)
    for length in LENGTHS:
        count = count_divided_step(
            shapes, (rows, length), hyperparameters.micro_batch_size or rows, device.type, spec.precision,
            hyperparameters.optimizer, hyperparameters.max_grad_norm is not None,
        )  # fmt: skip
        if count is None:
            return None
        predicted = count.predict(measured.launches, measured.constants)
        seconds.append(measured.slowness * total_seconds(predicted))
    short, long = seconds
    return StepTime.through(short, long, rows)
