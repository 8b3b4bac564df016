"""`lora-core estimate` (`make paper`): the time, disk space and energy of a study, before it starts.

The time of a run follows from its examples, tokens and epochs, and from what a training step takes on this machine:
predicted from what `make regimes` measured, or measured by a short trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.commands.durations import format_duration
from lora_core.commands.status import RunStatus, State
from lora_core.commands.step_costs import LENGTHS, StepCosts, StepTime
from lora_core.config.study import ConfigError, Study
from lora_core.data.batches import load, order
from lora_core.data.card import read_data_card
from lora_core.layout import Layout
from lora_core.models.model import EQUAL_LENGTH
from lora_core.records import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    size, epochs = data_size(study, run.task), study.hyperparameters(run.method, run.task).epochs
    batches, trained = _batches_and_tokens(study, run, size)
    evaluated = size.validation_examples * size.tokens_per_example * PADDING["length_grouped"]
    return epochs * (step_time.of(trained, batches) + step_time.of(FORWARD_SHARE * evaluated, 0))


def _batches_and_tokens(study: Study, run: RunStatus, size: DataSize) -> tuple[int, float]:
    """The batches of an epoch, and the tokens that they compute, padding included."""
    layout, batch_size = Layout(study.results_dir), study.hyperparameters(run.method, run.task).batch_size
    tokens = size.train_examples * size.tokens_per_example
    data, config = (
        Path(layout.train_data.format(task=run.task)),
        Path(layout.model_config.format(model=study.model.name)),
    )
    if data.exists() and _needs_equal_length(config):  # its batches follow from the lengths, without padding
        return len(order(load(data).lengths, batch_size, "equal_length", seed=0)), tokens
    return -(-size.train_examples // batch_size), tokens * PADDING[study.train.batching]


def _needs_equal_length(config: Path) -> bool:
    return config.exists() and bool(read_json(config).get(EQUAL_LENGTH))


def weights_gigabytes(study: Study, runs: Sequence[RunStatus], parameters: int) -> float:
    """Return the disk space of full and merged models in float32; adapters are small in comparison."""
    full = sum(study.settings(run.method).saves_full_weights for run in runs)
    merged = sum(study.can_merge(run.method) for run in runs if run.task in study.tasks)
    return 4e-9 * parameters * (full + merged)


def format_estimate(study: Study, costs: StepCosts, runs: Sequence[RunStatus]) -> str:
    """Return the estimate for the runs that are left, as text."""
    left = [run for run in runs if run.state != State.DONE]
    seconds = {run: run_seconds(study, run, costs.step_times[run.method, run.task]) for run in left}
    total = sum(seconds.values())
    lines = [f"{study.results_dir}: {len(left)} of {len(runs)} runs are left.", ""]
    for method in study.methods:
        of_method = [value for run, value in seconds.items() if run.method == method]
        step_time = costs.step_times[method, study.tasks[0]]
        step = step_time.of(step_time.rows * LENGTHS[1])
        lines.append(
            f"  {study.labels[method]}: {len(of_method)} runs, {format_duration(sum(of_method))}; a step of "
            f"{step_time.rows} × {LENGTHS[1]} tokens takes {step:.3f} s on this machine"
        )
    if costs.power_watts is None:
        energy = f"n/a ({costs.no_power_reason})"
    else:
        energy = f"{costs.power_watts * total / 3.6e6:,.2f} kWh at {costs.power_watts:.0f} W"
    time_needed = f"{format_duration(total / max(1, costs.gpus))} of training and evaluation"
    if costs.gpus > 1:
        time_needed += f" on {costs.gpus} GPUs at once"
    lines += [
        "",
        f"time:   about {time_needed}; timing inference and drawing come on top",
        f"disk:   about {weights_gigabytes(study, left, costs.parameters):,.1f} GB of weights",
        f"energy: {energy}",
        "",
        costs.source,
    ]
    return "\n".join(lines)
