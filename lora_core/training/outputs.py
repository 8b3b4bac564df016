"""What a run writes: its weights, its records, and run.json with everything that was measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from lora_core.atomic_files import atomic_file, atomic_folder
from lora_core.measuring import conditions, memory
from lora_core.measuring import power_trace as trace
from lora_core.measuring.predicted_memory import predicted_memory_mb
from lora_core.measuring.sampler import Sampler
from lora_core.measuring.traced_energy import TracedEnergy
from lora_core.methods import registry
from lora_core.models.base_model import base_model
from lora_core.models.model import head_parameters, needs_equal_length
from lora_core.models.tokenizer import copy_tokenizer
from lora_core.records import FORMAT, HistoryRow, PowerRow, sha256, write_json, write_rows
from lora_core.sealed import seal
from lora_core.training.loop import TrainingLoop
from lora_core.training.predicted_test import chosen_epoch
from lora_core.training.spec import RunSpec
from lora_core.training.steps import forward


@dataclass(frozen=True)
class RunOutputs:
    """The files that a run writes.

    Attributes:
        record: run.json, with settings, measurement, provenance and the digests of the other files.
        history: One row per epoch.
        power: The meter's samples.
        predictions: The validation logits of every epoch, the loss of every step, and the logits on a test split.
        weights: A folder: an adapter in PEFT's layout or a transformers folder.
        progress: How far the run is; deleted when it is finished.
        lock: Held by the job that writes these files.
    """

    record: Path
    history: Path
    power: Path
    predictions: Path
    weights: Path
    progress: Path
    lock: Path


def write_outputs(outputs: RunOutputs, loop: TrainingLoop, record: Mapping[str, object]) -> None:
    """Write everything but the weights; run.json comes last, with the digests of all other files."""
    write_rows(outputs.history, loop.history, HistoryRow)
    write_rows(outputs.power, loop.sampler.rows, PowerRow)
    _write_predictions(outputs.predictions, loop)
    files = {path.name: path for path in (outputs.history, outputs.power, outputs.predictions)}
    files |= {f"weights/{path.name}": path for path in sorted(outputs.weights.iterdir())}
    digests = {name: sha256(path) for name, path in files.items()}
    write_json(outputs.record, seal({"format": FORMAT, **record, "files": digests}))


def write_weights(folder: Path, model: nn.Module, spec: RunSpec, base: Path, max_length: int) -> None:
    """Write what the run trained, and the tokenizer of the prepared model `base` for at most `max_length` tokens."""
    with atomic_folder(folder) as temp_path:
        model.to("cpu")
        registry.save(model, spec.settings, temp_path, base_model(base))
        copy_tokenizer(base, temp_path, max_length)


def _write_predictions(path: Path, loop: TrainingLoop) -> None:
    """Write logits (epochs, examples, outputs), labels (examples,) and step_losses (steps,).

    With a test split also test_logits (2, examples, outputs), of the chosen epoch and of the last, and test_labels.
    """
    from safetensors.numpy import save_file

    arrays = {
        "logits": np.stack(loop.predictions),
        "labels": loop.data.validation.labels,
        "step_losses": np.array(loop.losses, np.float32),
    }
    if loop.test is not None:
        arrays |= {"test_logits": loop.test.logits(), "test_labels": loop.test.labels}
    with atomic_file(path) as temp_path:
        save_file(arrays, temp_path)


def describe_measurement(loop: TrainingLoop, shapes: nn.Module) -> dict[str, object]:
    """Return a finished run's figures; what was not measured is None. `shapes` is the model on the meta device."""
    sampler, rows = loop.sampler, loop.sampler.rows
    head = {id(p) for _, p in head_parameters(loop.model)}
    best = loop.history[chosen_epoch(loop.history) - 1]
    test = {} if loop.test is None else {"test": loop.test.describe(loop.data.card.metrics, loop.history)}
    return {
        "parameters": {
            "trained_with_head": sum(p.numel() for p in loop.step.trained),
            "head": sum(p.numel() for p in loop.step.trained if id(p) in head),
            "total": sum(p.numel() for p in loop.model.parameters()),
        },
        "score": {
            "metric": loop.data.card.metrics[0],
            "best": best.score,
            "best_epoch": best.epoch,
            "last": loop.history[-1].score,
            "best_metrics": best.metrics,
            "examples": len(loop.data.validation),
        },
        **test,
        "steps": loop.steps,
        "equal_length_batches": needs_equal_length(loop.model),
        "parts": loop.checkpoint.part + 1,
        "lost": _cost("lost", sampler),
        "preparation": _cost("preparation", sampler),
        **loop.step.record(),
        "train_seconds": sum(row.train_seconds for row in loop.history),
        "eval_seconds": sum(row.eval_seconds for row in loop.history),
        "eval_suspended_seconds": sum(row.eval_suspended_seconds or 0.0 for row in loop.history),
        "memory": _memory(loop, shapes),
        "energy": _energy(sampler, loop.spec.measure.sample_seconds, loop.history),
        "conditions": conditions.conditions(rows),
    }


def _memory(loop: TrainingLoop, shapes: nn.Module) -> dict[str, object]:
    spec, device = loop.spec, next(loop.model.parameters()).device
    optimizer = spec.hyperparameters.optimizer
    return {
        "kind": loop.sampler.meter.memory_kind,
        **conditions.memory(loop.sampler.rows),
        "peak_allocated_mb": _highest(row.peak_allocated_mb for row in loop.history),
        "peak_reserved_mb": _highest(row.peak_reserved_mb for row in loop.history),
        **memory.parameter_memory_mb(loop.model, optimizer),
        "saved_for_backward_mb": max(row.saved_for_backward_mb for row in loop.history),
        "largest_batch": list(loop.largest_batch),
        "predicted": predicted_memory_mb(
            shapes, loop.largest_batch, device.type, partial(forward, precision=spec.precision), optimizer
        ),
    }


def _energy(sampler: Sampler, interval: float, history: Sequence[HistoryRow] = ()) -> dict[str, object]:
    meter, baseline = sampler.meter, sampler.baseline
    idle = baseline.power if baseline else None
    energy = trace.energy(sampler.rows, interval, meter.limits, sampler.counter_tick_seconds, idle)
    suspended = sum(row.train_suspended_seconds or 0.0 for row in history)
    suspended = max(suspended, energy.sampling.suspended_seconds)
    energy = replace(energy, sampling=replace(energy.sampling, suspended_seconds=suspended))
    return {
        "meter": meter.name,
        "simulated": meter.simulated,
        "boundary": meter.boundary,
        "energy_counter": meter.energy_counter if energy.source == "counter" else None,
        **meter.details,
        **asdict(energy),
        "idle_measured": baseline.measured if baseline else None,
        "idle_shared": baseline.shared if baseline else None,
        "rejected": sampler.rejected,
        "reason": _reason(sampler, energy),
    }


def _reason(sampler: Sampler, energy: TracedEnergy) -> str | None:
    """Why a run has no energy; None if it has. A reading that failed once may have cost nothing."""
    if energy.train_joules is not None:
        return None
    meter, watts = sampler.meter, sampler.rejected.get("power_watts")
    if meter.reason is None and watts is not None and energy.source != "counter":
        return f"the device reported {watts:,.0f} W, but cannot draw more than {meter.limits.power_watts:,.0f} W"
    return meter.reason or energy.reason


def _cost(phase: str, sampler: Sampler) -> dict[str, float | None]:
    """Seconds and joules of a phase: of what was lost when parts were killed, or of the preparation before an epoch.

    The energy is None if it was not measured.
    """
    windows, limits, tick = trace.windows(sampler.rows, phase), sampler.meter.limits, sampler.counter_tick_seconds
    source = trace.energy_source(sampler.rows, limits, tick)
    return {
        "seconds": sum(map(trace.seconds, windows)),
        "energy_joules": trace.energy_joules(windows, source, limits, tick),
    }


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
