"""One training step: the LoRA layer alone, the whole step, and its arithmetic throughput."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.baselines import ALPHA, FULL, LORA, LORALIB, RANK, adapted, peft_model
from bench.context import PRECISIONS, BenchContext
from bench.paired import Goal, Row, fastest, interleaved, ratio
from lora_core.data.batches import Batch
from lora_core.measuring.memory import saved_for_backward
from lora_core.methods.layers import LoRALinear
from lora_core.models import dropout
from lora_core.models import model as models
from lora_core.training.loss_scaling import LossScaling
from lora_core.training.spec import Hyperparameters
from lora_core.training.steps import compute_logits, compute_loss, create_optimizer, optimizer_step

# Rows and tokens of a batch, and the largest ratio of a LoRA step to an FFT step that is aimed at.
STEP_GOALS = {(16, 16): 0.34, (16, 32): 0.50, (16, 96): 0.67, (32, 96): 0.72}
SHAPES = list(STEP_GOALS)
QUICK_SHAPES = SHAPES[:1]
THROUGHPUT_SHAPES = [(16, 64), (16, 96), (32, 96)]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
HIDDEN_SIZE = 384
CPU = torch.device("cpu")


def layer(context: BenchContext) -> list[Row]:
    """Compare the LoRA layer alone, forward and backward, and what it saves in between."""
    rows = []
    layers = _layers()
    for batch, tokens in QUICK_SHAPES if context.quick else SHAPES:
        x = torch.randn(batch, tokens, HIDDEN_SIZE, requires_grad=True)
        grad = torch.randn(batch, tokens, HIDDEN_SIZE)
        saved_kb = {}
        for name, module in layers.items():
            with saved_for_backward(module) as saved:
                module(x)
            saved_kb[name] = saved.bytes / 1e3
        calls = {name: _forward_and_backward(module, x, grad) for name, module in layers.items()}
        seconds = interleaved(calls, context.rounds(60), warm_up=5)
        best = fastest(seconds, "loralib", "PEFT")
        shape = f"{batch}×{tokens} tokens"
        rows.append(ratio(f"LoRA layer, {shape}", best, seconds["project"], seconds[best], Goal("<=", 0.95)))
        rows.append(_saved_row(shape, saved_kb))
    return rows


def _layers() -> dict[str, nn.Module]:
    """A LoRA layer of this project, of loralib and of PEFT, the first two on the same weights."""
    import loralib
    from peft import LoraConfig, inject_adapter_in_model

    base = nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE).requires_grad_(False)
    reference = loralib.Linear(HIDDEN_SIZE, HIDDEN_SIZE, r=RANK, lora_alpha=ALPHA, merge_weights=False)
    reference.weight, reference.bias = base.weight, base.bias
    holder = nn.Sequential()
    holder.add_module("linear", nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE))
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["linear"], lora_dropout=0.0)
    return {
        "project": LoRALinear(base, RANK, ALPHA),
        "loralib": reference,
        "PEFT": inject_adapter_in_model(config, holder).get_submodule("linear"),
    }


def _saved_row(shape: str, saved_kb: dict[str, float]) -> Row:
    details = (
        f"this project {saved_kb['project']:.0f} kB, loralib {saved_kb['loralib']:.0f}, PEFT {saved_kb['PEFT']:.0f}"
    )
    value = saved_kb["project"] / min(saved_kb["loralib"], saved_kb["PEFT"])
    what = f"saved for backward by the layer, {shape}"
    return Row(what, "the better of loralib and PEFT", value, Goal("<=", 1.0), details=details)


def _forward_and_backward(module: nn.Module, x: torch.Tensor, grad: torch.Tensor) -> Callable[[], None]:
    leaves = [x, *(p for p in module.parameters() if p.requires_grad)]

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None
        module(x).backward(grad)

    return call


class Stepper:
    """A model with what a training step needs; calling it takes one step on the same batch and returns its seconds.

    `parts` has the seconds of each step's forward pass, backward pass and parameter update.
    """

    def __init__(
        self, model: nn.Module, shape: tuple[int, int], hyperparameters: Hyperparameters, precision: str = "fp32"
    ) -> None:
        rows, tokens = shape
        self.model = model.train()
        self.precision = precision
        self.max_grad_norm = hyperparameters.max_grad_norm
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.scaling = LossScaling("fp32", CPU)  # as in bf16: there is none
        self.optimizer, self.schedule = create_optimizer(model, hyperparameters, steps=10**6)
        ids = np.random.default_rng(0).integers(1000, 30000, shape)
        labels = np.zeros(rows, np.float32)
        self.batch = Batch(ids, np.ones_like(ids), None, labels, np.arange(rows), rows * tokens)
        self.labels = torch.from_numpy(labels)
        self.parts: list[tuple[float, float, float]] = []

    def __call__(self) -> float:
        clock = time.perf_counter
        started = clock()
        loss = compute_loss(compute_logits(self.model, self.batch, CPU, self.precision), self.labels)
        forward = clock()
        loss.backward()
        backward = clock()
        optimizer_step(self.trained, self.optimizer, self.schedule, self.max_grad_norm, self.scaling)
        finished = clock()
        self.parts.append((forward - started, backward - forward, finished - backward))
        return finished - started


def optimized(model: nn.Module, precision: str = "fp32") -> nn.Module:
    """Return the model as this project trains it on a CPU, changed in place."""
    inner: Any = model  # PEFT wraps the model twice
    dropout.install(inner.base_model.model if hasattr(model, "peft_config") else model)
    if precision == "bf16":
        models.cast_frozen(model, torch.bfloat16)
    return model


def steps(context: BenchContext) -> list[Row]:
    """Compare a LoRA step with one of full fine-tuning, and with the same step with other libraries' layers."""
    rows = []
    hyperparameters = context.spec("stsb").hyperparameters
    for shape in QUICK_SHAPES if context.quick else SHAPES:
        models_by_name = _step_models(context.model())
        steppers = {name: Stepper(model, shape, hyperparameters) for name, model in models_by_name.items()}
        seconds = interleaved(steppers, context.rounds(40 if shape[1] < 96 else 15), warm_up=3)
        rows += _step_rows(shape, seconds, _part_ratios(steppers["project"], steppers["full"]))
    return rows


def _step_models(folder: Path) -> dict[str, nn.Module]:
    return {
        "full": optimized(adapted(folder, FULL)),
        "project": optimized(adapted(folder, LORA)),
        "loralib's layer": optimized(adapted(folder, LORALIB)),
        "PEFT's layer": optimized(peft_model(folder)),
        "loralib": adapted(folder, LORALIB),
        "PEFT": peft_model(folder),
    }


def _part_ratios(numerator: Stepper, denominator: Stepper) -> str:
    """The parts of one stepper's step divided by those of another's, as text."""
    forward, backward, update = (
        median(a[i] for a in numerator.parts) / median(b[i] for b in denominator.parts) for i in range(3)
    )
    return f"forward {forward:.2f}, backward {backward:.2f}, optimizer {update:.2f}"


def _step_rows(shape: tuple[int, int], seconds: dict[str, list[float]], details: str) -> list[Row]:
    what = "{} step, {}×{} tokens"
    lora = what.format("LoRA", *shape)
    project, full = seconds["project"], seconds["full"]
    by_default = fastest(seconds, "loralib", "PEFT")
    by_layer = fastest(seconds, "loralib's layer", "PEFT's layer")
    goal = Goal("<=", 0.95)
    return [
        ratio(lora, "FFT step", project, full, Goal("<=", STEP_GOALS[shape]), details),
        ratio(what.format("loralib", *shape), "FFT step", seconds["loralib's layer"], full),
        ratio(f"{lora}, with default settings", by_default, project, seconds[by_default], goal),
        ratio(f"{lora}, only the layer differs", by_layer, project, seconds[by_layer], goal),
    ]


def throughput(context: BenchContext) -> list[Row]:
    """Compare floating-point operations per second in a training step with this machine's matrix multiplication."""
    hyperparameters = context.spec("stsb").hyperparameters
    rows = []
    for precision in PRECISIONS:
        sizes = (64,) if context.quick else (1024, 1536, 2048, 4096)
        peak = max(_multiplication_flops(size, DTYPES[precision]) for size in sizes)
        for shape in QUICK_SHAPES if context.quick else THROUGHPUT_SHAPES:
            for settings in (FULL, LORA):
                model = optimized(adapted(context.model(), settings), precision)
                flops = _step_flops(Stepper(model, shape, hyperparameters, precision), context.rounds(10))
                what = f"arithmetic throughput in training, {settings.kind}, {precision}, {shape[0]}×{shape[1]} tokens"
                details = f"{flops / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s"
                baseline = "this machine's matrix multiplication"
                rows.append(Row(what, baseline, flops / peak, Goal(">=", 0.6), details=details))
    return rows


def _step_flops(step: Stepper, rounds: int) -> float:
    """Floating-point operations per second of a training step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / median(interleaved({"step": step}, rounds, warm_up=3)["step"])


def _multiplication_flops(size: int, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a product of two square matrices."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / median(interleaved({"product": lambda: a @ b}, rounds=10, warm_up=2)["product"])
