"""One training run: a method on a task with a seed, measured epoch by epoch."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lora_core import device, provenance
from lora_core.data import batches as data
from lora_core.measuring import memory, meters
from lora_core.measuring import power_trace as trace
from lora_core.methods import registry as methods
from lora_core.models import dropout
from lora_core.models import model as models
from lora_core.models import model_card as cards
from lora_core.records import (
    HistoryRow,
    PowerRow,
    atomic_file,
    atomic_folder,
    file_digests,
    read_checked,
    write_json,
    write_rows,
)
from lora_core.seeds import derive
from lora_core.training import checkpoint
from lora_core.training.checkpoint import Checkpoint, NoCheckpoint
from lora_core.training.loop import Epochs, Spec
from lora_core.training.steps import inputs_of

RECORDS = ("history.csv", "power.csv", "predictions.safetensors")


def train(
    spec: Spec,
    model_dir: Path,
    data_dir: Path,
    out: Path,
    threads: int,
    checkpoints: Path | None = None,
    checkpoint_seconds: float | None = None,
    start: Path | None = None,
) -> None:
    """Train, evaluate after every epoch, and write the run's records into `out`.

    A run planned to take longer than `checkpoint_seconds` keeps its state after each epoch in `checkpoints`, and goes
    on from what an earlier call left there (`lora_core.training.checkpoint`). `start` is the weights folder of another task's
    run to start from. Raises ValueError where the device is missing, a
    target matches no module, or the loss is not finite; then no record is written.
    """
    torch.set_num_threads(threads)
    where = device.resolve(spec.device)
    card = read_checked(data_dir / "card.json", *(f"{split}.safetensors" for split in data.SPLITS))
    splits = {split: data.load(data_dir / f"{split}.safetensors") for split in data.SPLITS}
    meter = meters.open_meter(spec.meter, where.type, lambda: device.uuid(where), spec.simulated)
    told = {
        "data": file_digests(data_dir, "card.json"),  # which has the digests of the rest
        "model": file_digests(model_dir, *_files(model_dir)),
        "start": file_digests(start, *_files(start)) if start else None,
    }
    if start:
        read_checked(start.parent / "run.json", *(f"{start.name}/{name}" for name in _files(start)))
    # On shapes alone, for the prediction; it also imports what the baseline of memory must not bill to the model.
    checkpointing = spec.hyperparameters["gradient_checkpointing"]
    shapes = methods.shapes(model_dir, len(card["labels"]) or 1, spec.settings, checkpointing)
    quicken(shapes, spec, where)
    longest = models.longest_input(shapes)
    inputs = {
        "longest": longest,
        **{f"truncated_{split}": data.truncated(e, longest, card[split]["truncated"]) for split, e in splits.items()},
    }
    splits = {split: data.cut(examples, longest) for split, examples in splits.items()}
    with device.alone(where):
        meter.begin()
        started = provenance.collect(where, threads)
        # Another job of this run may live on, on another machine of a cluster.
        with device.hold(out / ".lock", "this run"):
            kept = _checkpoint(spec, told, checkpoints, checkpoint_seconds, started)
            label = device.label(where)
            with meters.Sampler(meter, label, spec.sample_seconds, kept.part, kept.rows, kept.sample) as sampler:
                sampler.idle(spec.idle_seconds)
                model = build(spec, model_dir, card["labels"], splits["train"].labels, start).to(where)
                if not start:
                    methods.look(model, spec.settings, lambda: _inputs(spec, splits["train"], model, where))
                quicken(model, spec, where)
                meter.settle()
                run = Epochs(spec, card, splits, model, where, sampler, kept)
                run.run()
            record = {
                "run": vars(spec) | {"data": card, "model": model_dir.name, "start": told["start"]},
                "measurement": _measurement(run, sampler, memory.predict(shapes, *run.largest, spec.precision))
                | {"input_tokens": inputs},
                "provenance": started | {"driver": meter.details.get("driver"), "shared": meter.shared},
            }
            with atomic_folder(out / "weights") as folder:
                model.to("cpu")
                methods.save(model, spec.settings, folder, spec.base_model)
                model.config.save_pretrained(folder)  # type: ignore[operator, union-attr]
                models.copy_tokenizer(model_dir, folder)
                (folder / cards.NAME).write_text(cards.card(record, methods.library(spec.settings)), encoding="utf-8")
            write_rows(out / "history.csv", run.history, HistoryRow)
            write_rows(out / "power.csv", sampler.rows, PowerRow)
            _write_predictions(out / "predictions.safetensors", run, splits["validation"].labels)
            files = [*RECORDS, *(f"weights/{file.name}" for file in (out / "weights").iterdir())]
            write_json(out / "run.json", record | {"files": file_digests(out, *files)})
            kept.remove()


def _checkpoint(
    spec: Spec,
    told: dict[str, Any],
    folder: Path | None,
    seconds: float | None,
    started: dict[str, Any],
) -> NoCheckpoint:
    """The run's checkpoint, under a key of all that decides its weights and of what its times are comparable on.

    `told` has the digests of what the run reads.
    """
    if folder is None:
        return NoCheckpoint()
    if seconds is None:
        shutil.rmtree(folder, ignore_errors=True)
        return NoCheckpoint()
    told = told | {
        "run": vars(spec),
        "code": provenance.code_digest(Path(__file__), f"lora_core.methods.{spec.settings['kind']}"),
        **{name: started[name] for name in ("device_model", "threads", "packages")},
    }
    return Checkpoint(folder, checkpoint.key(told), seconds)


def _inputs(spec: Spec, examples: data.Examples, model: Any, where: torch.device) -> list[dict[str, Any]]:
    """The training data as the model is given it, in the first epoch's order."""
    seed = derive(spec.seed, "order-1")
    order = data.order(examples.lengths, spec.hyperparameters["batch_size"], spec.batching, seed)
    return [inputs_of(batch, where) for batch in data.batches(examples, order, model.config.pad_token_id)]


def _files(folder: Path) -> list[str]:
    """What a run may depend on in a folder; a card tells times, which differ from run to run."""
    names = (file.name for file in folder.iterdir() if file.is_file())
    return sorted(name for name in names if not name.startswith(".") and name != cards.NAME)


def build(spec: Spec, model_dir: Path, labels: list[str], targets: np.ndarray, start: Path | None = None) -> nn.Module:
    """The model ready to train: head and adapter drawn from their own generators, dropout from the global one.

    `labels` names the classes (none: regression); `targets` are the training labels.
    """

    def generator(purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(spec.seed, purpose))

    model = models.load(model_dir, labels, generator("head"), spec.hyperparameters["dropout"])
    if spec.hyperparameters["gradient_checkpointing"]:
        model.activation_checkpointing_enable()
    model = methods.adapt(model, spec.settings, generator("adapter"), start)
    if not labels and spec.hyperparameters["head_bias"] == "label_mean":
        *_, (_, bias) = models.head_parameters(model)
        nn.init.constant_(bias, float(targets.mean()))
    torch.manual_seed(derive(spec.seed, "dropout"))
    return model


def quicken(model: nn.Module, spec: Spec, where: torch.device) -> None:
    """What makes training quicker on this device and computes the same."""
    if where.type == "cpu":
        dropout.install(model)
    if spec.precision == "bf16":
        models.cast_frozen(model, torch.bfloat16)


def _measurement(run: Epochs, sampler: meters.Sampler, predicted: dict[str, float] | None) -> dict[str, Any]:
    """The run's figures; what was not measured is None."""
    head = {id(p) for _, p in models.head_parameters(run.model)}
    meter, rows = sampler.meter, sampler.rows
    energy = trace.energy(rows, run.spec.sample_seconds)
    best = max(run.history, key=lambda row: row.score)
    return {
        "parameters": {
            "trained_with_head": sum(p.numel() for p in run.trained),
            "head": sum(p.numel() for p in run.trained if id(p) in head),
            "total": sum(p.numel() for p in run.model.parameters()),
        },
        "score": {
            "metric": run.metrics[0],
            "best": best.score,
            "best_epoch": best.epoch,
            "last": run.history[-1].score,
            "best_metrics": best.metrics,
            "examples": len(run.splits["validation"].labels),
        },
        "steps": run.steps,
        "parts": run.kept.part + 1,
        "lost": checkpoint.lost(rows),
        "train_seconds": sum(row.train_seconds for row in run.history),
        "eval_seconds": sum(row.eval_seconds for row in run.history),
        "memory": {
            "kind": meter.memory_kind,
            **trace.memory(rows),
            "peak_allocated_mb": _highest(row.peak_allocated_mb for row in run.history),
            "peak_reserved_mb": _highest(row.peak_reserved_mb for row in run.history),
            **memory.fixed_mb(run.model),
            "saved_for_backward_mb": max(row.saved_for_backward_mb for row in run.history),
            "largest_batch": list(run.largest),
            "predicted": predicted,
        },
        "energy": {
            "meter": meter.name,
            "boundary": meter.boundary,
            **meter.details,
            **energy,
            "reason": meter.reason or energy["reason"],
        },
        "conditions": trace.conditions(rows),
    }


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _write_predictions(path: Path, run: Epochs, labels: np.ndarray) -> None:
    """logits (epochs, examples, outputs), labels (examples,) and the loss of every step (steps,)."""
    from safetensors.numpy import save_file

    with atomic_file(path) as temp_path:
        save_file(
            {
                "logits": np.stack(run.predictions),
                "labels": labels,
                "step_losses": np.array(run.losses, np.float32),
            },
            temp_path,
        )
