"""One training run: a method on a task with a seed, measured epoch by epoch."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lora_core import data, device, dropout, memory, meters, methods, models, provenance, trace
from lora_core.joblog import Progress
from lora_core.metrics import METRICS
from lora_core.records import HistoryRow, PowerRow, read_json, whole_file, whole_folder, write_json, write_rows
from lora_core.seeds import derive

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


def train(spec: Spec, model_dir: Path, data_dir: Path, out: Path, threads: int) -> None:
    """Train, evaluate after every epoch, and write the run's records into `out`.

    Raises ValueError where the device is missing, a target matches no module, or the loss is not finite; then no
    record is written.
    """
    torch.set_num_threads(threads)
    where = device.resolve(spec.device)
    card = read_json(data_dir / "card.json")
    splits = {split: data.load(data_dir / f"{split}.safetensors") for split in data.SPLITS}
    meter = meters.open_meter(spec.meter, where.type, lambda: device.uuid(where), spec.simulated)
    # On shapes alone, for the prediction; it also imports what the baseline of memory must not bill to the model.
    shapes = shapes_of(spec, model_dir, len(card["labels"]) or 1)
    quicken(shapes, spec, where)
    with device.alone(where):
        meter.begin()
        started = provenance.collect(where, threads)
        with meters.Sampler(meter, device.label(where), spec.sample_seconds) as sampler:
            sampler.idle(spec.idle_seconds)
            model = build(spec, model_dir, card["labels"], splits["train"].labels).to(where)
            quicken(model, spec, where)
            meter.settle()
            run = _Run(spec, card, splits, model, where, sampler)
            run.epochs()
    with whole_folder(out / "weights") as folder:
        model.to("cpu")
        methods.module(spec.settings["kind"]).save(model, spec.settings, folder, spec.base_model)
        model.config.save_pretrained(folder)  # type: ignore[operator, union-attr]
        models.copy_tokenizer(model_dir, folder)
    write_rows(out / "history.csv", run.history, HistoryRow)
    write_rows(out / "power.csv", sampler.rows, PowerRow)
    _write_predictions(out / "predictions.safetensors", run, splits["validation"].labels)
    write_json(
        out / "run.json",
        {
            "run": vars(spec) | {"data": card, "model": model_dir.name},
            "measurement": _measurement(run, sampler, memory.predict(shapes, *run.largest, spec.precision)),
            "provenance": started | {"driver": meter.details.get("driver"), "shared": meter.shared},
        },
    )


def build(spec: Spec, model_dir: Path, labels: list[str], targets: np.ndarray) -> nn.Module:
    """The model ready to train: head and adapter drawn from their own generators, dropout from the global one.

    `labels` names the classes (none: regression); `targets` are the training labels.
    """

    def generator(purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(spec.seed, purpose))

    model = models.load(model_dir, labels, generator("head"), spec.hyperparameters["dropout"])
    methods.adapt(model, spec.settings, generator("adapter"))
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


def optimizer(model: nn.Module, hyper: dict[str, Any], steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW and a linear schedule with warm-up, stepped once a batch; biases and norms are not decayed."""
    plain = {
        id(p)
        for module in model.modules()
        for name, p in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, nn.LayerNorm)
    }
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in plain], "weight_decay": hyper["weight_decay"]},
        {"params": [p for p in trained if id(p) in plain], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=hyper["learning_rate"],
        betas=(hyper["adam_beta1"], hyper["adam_beta2"]),
        eps=hyper["adam_epsilon"],
        fused=True,
    )
    warmup = math.ceil(hyper["warmup_ratio"] * steps)

    def factor(step: int) -> float:
        return step / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))

    return adamw, torch.optim.lr_scheduler.LambdaLR(adamw, factor)


def loss_function(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy for classes, mean squared error for a regression head; logits (rows, outputs)."""
    if labels.is_floating_point():
        return F.mse_loss(logits[:, 0].float(), labels)
    return F.cross_entropy(logits.float(), labels)


def update(trained: list[nn.Parameter], optimizer: torch.optim.Optimizer, schedule: Any, max_norm: float) -> None:
    """What follows a backward pass: clip the gradients, step, and let them go."""
    nn.utils.clip_grad_norm_(trained, max_norm)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad(set_to_none=True)


class _Run:
    """The state of one run while it trains."""

    def __init__(
        self,
        spec: Spec,
        card: dict[str, Any],
        splits: dict[str, data.Examples],
        model: nn.Module,
        where: torch.device,
        sampler: meters.Sampler,
    ) -> None:
        self.spec, self.splits, self.model, self.where, self.sampler = spec, splits, model, where, sampler
        self.metrics: list[str] = card["metrics"]
        self.pad: int = model.config.pad_token_id  # type: ignore[union-attr, assignment]
        self.history: list[HistoryRow] = []
        self.predictions: list[np.ndarray] = []
        self.losses: list[float] = []
        self.largest = (0, 0)  # rows and tokens of the largest batch of all epochs
        self.progress = Progress(f"{spec.method} {spec.task} seed {spec.seed}")

    def epochs(self) -> None:
        """Train and evaluate every planned epoch."""
        hyper, training = self.spec.hyperparameters, self.splits["train"]
        self.steps_per_epoch = math.ceil(len(training) / hyper["batch_size"])
        self.steps = self.steps_per_epoch * hyper["epochs"]
        self.optimizer, self.schedule = optimizer(self.model, hyper, self.steps)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.begun = time.monotonic()
        for epoch in range(1, hyper["epochs"] + 1):
            self._epoch(epoch)

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
                if len(waiting) == LOSS_GROUP:
                    self._take_losses(waiting)
                    self._tell(epoch)
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
        self._tell(epoch, f"{self.metrics[0]} {scores[self.metrics[0]]:.3f}")

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

    def _tell(self, epoch: int, score: str | None = None) -> None:
        done, spent = len(self.losses), time.monotonic() - self.begun
        left = (self.steps - done) * spent / done
        text = (
            f"epoch {epoch}/{self.spec.hyperparameters['epochs']}, step {done}/{self.steps}, "
            f"{done / spent:.1f} steps/s, {int(left) // 60}:{int(left) % 60:02d} left"
        )
        if score is None:
            self.progress.step(text)
        else:
            self.progress.say(f"{text}, {score}")


def logits_of(model: nn.Module, batch: data.Batch, where: torch.device, precision: str = "fp32") -> torch.Tensor:
    """Logits (rows, outputs) of a padded batch, under autocast for "bf16"."""
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.types}
    tensors = {name: device.put(array, where) for name, array in inputs.items() if array is not None}
    with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16"):
        return model(**tensors).logits


def evaluate(model: Any, examples: data.Examples, where: torch.device, precision: str, batch_size: int) -> np.ndarray:
    """Logits (examples, outputs) in the split's order; computed in batches of similar length."""
    model.eval()
    logits = np.empty((len(examples), model.config.num_labels), np.float32)
    order = data.evaluation_order(examples.lengths, batch_size)
    with torch.inference_mode():
        for batch in data.batches(examples, order, model.config.pad_token_id):
            logits[batch.rows] = logits_of(model, batch, where, precision).float().cpu().numpy()
    return logits


def shapes_of(spec: Spec, model_dir: Path, outputs: int) -> nn.Module:
    """The model of `build` on the meta device."""
    model = models.on_meta(model_dir, outputs)
    with torch.device("meta"):
        methods.adapt(model, spec.settings, torch.Generator())
    return model


def _measurement(run: _Run, sampler: meters.Sampler, predicted: dict[str, float] | None) -> dict[str, Any]:
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


def _write_predictions(path: Path, run: _Run, labels: np.ndarray) -> None:
    """logits (epochs, examples, outputs), labels (examples,) and the loss of every step (steps,)."""
    from safetensors.numpy import save_file

    with whole_file(path) as beside:
        save_file(
            {
                "logits": np.stack(run.predictions),
                "labels": labels,
                "step_losses": np.array(run.losses, np.float32),
            },
            beside,
        )
