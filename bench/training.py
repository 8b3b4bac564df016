"""Training: padding, an epoch against HF Trainer + PEFT, a step against loralib, PEFT and full fine-tuning."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench import peers
from bench.paired import Row, interleaved, ratio
from bench.place import PRECISIONS, Place
from lora_core.data import batches as data
from lora_core.measuring import memory
from lora_core.methods import registry as methods
from lora_core.models import dropout
from lora_core.models import model as models
from lora_core.records import read_json
from lora_core.training import run as train
from lora_core.training.steps import logits_of, loss_function, optimizer, update

EXAMPLES = 1024
SHAPES = [(16, 16), (16, 32), (16, 96), (32, 96)]
GOALS = dict(zip(SHAPES, (0.34, 0.50, 0.67, 0.72), strict=True))
CPU = torch.device("cpu")
FULL: dict[str, Any] = {"kind": "full"}


def padding(place: Place) -> list[Row]:
    """Real tokens over computed tokens in an epoch."""
    rows = []
    for task in ("cola", "rte", "stsb"):
        lengths = data.load(place.data(task) / "train.safetensors").lengths
        for size in (16, 32):
            one, two = (data.order(lengths, size, "bucketed", seed) for seed in (1, 2))
            again = {tuple(sorted(batch)) for batch in one} & {tuple(sorted(batch)) for batch in two}
            random = _efficiency(lengths, data.order(lengths, size, "random", 1))
            note = f"random batches: {random:.3f}; {len(again)} of {len(one)} batches are the same in a second epoch"
            rows.append(Row(f"real / computed tokens, {task}, batch {size}", "", _efficiency(lengths, one),
                            (">=", 0.97), note=note))  # fmt: skip
    return rows


def _efficiency(lengths: np.ndarray, order: list[np.ndarray]) -> float:
    return float(lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in order))


def epoch(place: Place) -> list[Row]:
    """An epoch of LoRA on STS-B: `train_seconds` of its record against `Trainer.train()`.

    The peer's clock has its optimiser's construction and its sampler in it, some milliseconds of many seconds.
    """
    model, folder, out = place.model(), place.data("stsb", EXAMPLES), place.folder / "epoch"

    def ours(precision: str) -> Callable[[], float]:
        def run() -> float:
            spec = place.spec("stsb", epochs=1, precision=precision, batching="bucketed")
            train.train(spec, model, folder, out / "ours", place.threads)
            return read_json(out / "ours" / "run.json")["measurement"]["train_seconds"]

        return run

    def theirs(precision: str, sampling: str) -> Callable[[], float]:
        hyper = place.spec("stsb").hyperparameters
        return lambda: peers.epoch_seconds(model, folder, hyper, out, precision=precision, sampling=sampling)

    ways: dict[str, Callable[[], float]] = {}
    for precision in PRECISIONS:
        ways[f"ours {precision}"] = ours(precision)
        for sampling in ("random", "group_by_length"):
            ways[f"{sampling} {precision}"] = theirs(precision, sampling)
    seconds = interleaved(ways, rounds=2 if place.quick else 3, warm_up=0)
    random, grouped = "HF Trainer + PEFT", "HF Trainer + PEFT, grouped by length"

    def row(what: str, against: str, peer: str, own: str, goal: float) -> Row:
        note = f"{median(seconds[peer]):.1f} / {median(seconds[own]):.1f} s"
        return ratio(what, against, seconds[peer], seconds[own], (">=", goal), note)

    what = "LoRA epoch, STS-B"
    return [
        *(row(f"{what}, {p}", f"{random}, {p}", f"random {p}", f"ours {p}", 2.0) for p in PRECISIONS),
        row(f"{what}, bf16", f"{random}, fp32", "random fp32", "ours bf16", 3.0),
        *(row(f"{what}, {p}", f"{grouped}, {p}", f"group_by_length {p}", f"ours {p}", 1.2) for p in PRECISIONS),
    ]


def layer(place: Place) -> list[Row]:
    """The LoRA layer alone, forward and backward, and what it keeps in between."""
    import loralib
    from peft import LoraConfig, inject_adapter_in_model

    from lora_core.methods.layers import LoRALinear

    rows = []
    size, rank = 384, peers.SETTINGS["rank"]
    for batch, tokens in SHAPES[:1] if place.quick else SHAPES:
        base = nn.Linear(size, size).requires_grad_(False)
        reference = loralib.Linear(size, size, r=rank, lora_alpha=rank, merge_weights=False)
        reference.weight, reference.bias = base.weight, base.bias
        holder = nn.Sequential()
        holder.add_module("linear", nn.Linear(size, size))
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["linear"], lora_dropout=0.0)
        layers = {"own": LoRALinear(base, rank, rank), "loralib": reference,
                  "PEFT": inject_adapter_in_model(config, holder).linear}  # fmt: skip
        x = torch.randn(batch, tokens, size, requires_grad=True)
        grad = torch.randn(batch, tokens, size)
        kept = {}
        for name, module in layers.items():
            with memory.saved_for_backward(module) as saved:
                module(x)
            kept[name] = saved.bytes
        calls = {name: _backward(module, x, grad) for name, module in layers.items()}
        seconds = interleaved(calls, rounds=2 if place.quick else 60, warm_up=5)
        best = min(("loralib", "PEFT"), key=lambda name: median(seconds[name]))
        shape = f"{batch}×{tokens} tokens"
        rows.append(ratio(f"LoRA layer, {shape}", best, seconds["own"], seconds[best], ("<=", 0.95)))
        least = min(kept["loralib"], kept["PEFT"])
        note = f"own {kept['own'] / 1e3:.0f} kB, loralib {kept['loralib'] / 1e3:.0f}, PEFT {kept['PEFT'] / 1e3:.0f}"
        rows.append(Row(f"kept for backward by the layer, {shape}", "the better one", kept["own"] / least,
                        ("<=", 1.0), note=note))  # fmt: skip
    return rows


def _backward(module: nn.Module, x: torch.Tensor, grad: torch.Tensor) -> Callable[[], None]:
    leaves = [x, *(p for p in module.parameters() if p.requires_grad)]

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None
        module(x).backward(grad)

    return call


@dataclass
class Stepper:
    """A model with what a training step needs; calling it takes one step on the same batch."""

    model: nn.Module
    shape: tuple[int, int]  # rows and tokens of the batch
    hyper: dict[str, Any]
    precision: str

    def __post_init__(self) -> None:
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer, self.schedule = optimizer(self.model, self.hyper, 10**6)
        rows, tokens = self.shape
        ids = np.random.default_rng(0).integers(1000, 30000, self.shape)
        labels = np.zeros(rows, np.float32)
        self.batch = data.Batch(ids, np.ones_like(ids), None, labels, np.arange(rows), rows * tokens)
        self.labels = torch.from_numpy(labels)
        self.parts: list[tuple[float, float, float]] = []
        self.model.train()

    def __call__(self) -> float:
        clock = time.perf_counter
        begun = clock()
        loss = loss_function(logits_of(self.model, self.batch, CPU, self.precision), self.labels)
        forward = clock()
        loss.backward()
        backward = clock()
        update(self.trained, self.optimizer, self.schedule, self.hyper["max_grad_norm"])
        done = clock()
        self.parts.append((forward - begun, backward - forward, done - backward))
        return done - begun


def steps(place: Place) -> list[Row]:
    """A training step of own LoRA against full fine-tuning and against the same step with others' layers."""
    model, hyper = place.model(), place.spec("stsb").hyperparameters
    rows = []
    for batch, tokens in SHAPES[:1] if place.quick else SHAPES:
        steppers = {
            name: Stepper(made, (batch, tokens), hyper, "fp32")
            for name, made in {
                "full": quick(adapted(model, FULL)),
                "own": quick(adapted(model, peers.SETTINGS)),
                "loralib's layer": quick(peers.by_loralib(model, [])),
                "PEFT's layer": quick(peers.by_peft(model, [])),
                "loralib": peers.by_loralib(model, []),
                "PEFT": peers.by_peft(model, []),
            }.items()
        }
        seconds = interleaved(steppers, rounds=2 if place.quick else (40 if tokens < 96 else 15), warm_up=3)
        shape = f"{batch}×{tokens} tokens"
        forward, backward, optimiser = (
            median(a[i] for a in steppers["own"].parts) / median(b[i] for b in steppers["full"].parts) for i in range(3)
        )
        note = f"forward {forward:.2f}, backward {backward:.2f}, optimiser {optimiser:.2f}"
        rows.append(ratio(f"LoRA step, {shape}", "FFT step", seconds["own"], seconds["full"],
                          ("<=", GOALS[batch, tokens]), note))  # fmt: skip
        rows.append(ratio(f"loralib step, {shape}", "FFT step", seconds["loralib's layer"], seconds["full"]))
        for others, what in ((("loralib", "PEFT"), "as they come"),
                             (("loralib's layer", "PEFT's layer"), "nothing but the layer differs")):  # fmt: skip
            best = min(others, key=lambda name: median(seconds[name]))
            rows.append(ratio(f"LoRA step, {shape}, {what}", best, seconds["own"], seconds[best], ("<=", 0.95)))
    return rows


def adapted(model: Path, settings: dict[str, Any]) -> nn.Module:
    """The model with a method of this project."""
    return methods.adapt(peers.plain(model, []), settings, torch.Generator().manual_seed(0))


def quick(model: nn.Module, precision: str = "fp32") -> nn.Module:
    """The model as this project trains it on a CPU."""
    inner: Any = model  # PEFT wraps the model twice
    dropout.install(inner.base_model.model if hasattr(model, "peft_config") else model)
    if precision == "bf16":
        models.cast_frozen(model, torch.bfloat16)
    return model


def utilisation(place: Place) -> list[Row]:
    """Floating-point operations a second in a training step, over those of this machine's best matrix product."""
    model, hyper = place.model(), place.spec("stsb").hyperparameters
    rows = []
    for precision in PRECISIONS:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        peak = max(_product(place, rows_, dtype) for rows_ in (1024, 1536, 2048, 4096))
        for batch, tokens in [(16, 16)] if place.quick else [(16, 64), (16, 96), (32, 96)]:
            for settings in (FULL, peers.SETTINGS):
                step = Stepper(quick(adapted(model, settings), precision), (batch, tokens), hyper, precision)
                with FlopCounterMode(display=False) as counter:
                    step()
                operations = counter.get_total_flops()
                seconds = interleaved({"step": step}, rounds=2 if place.quick else 10, warm_up=3)["step"]
                share = operations / median(seconds) / peak
                note = f"{operations / median(seconds) / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s"
                rows.append(Row(f"operations in training, {settings['kind']}, {precision}, {batch}×{tokens} tokens",
                                "this machine's matrix products", share, (">=", 0.6), note=note))  # fmt: skip
    return rows


def _product(place: Place, size: int, dtype: torch.dtype) -> float:
    """Operations a second of a square matrix product."""
    size = 64 if place.quick else size
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    seconds = interleaved({"product": lambda: a @ b}, rounds=10, warm_up=2)["product"]
    return 2 * size**3 / median(seconds)
