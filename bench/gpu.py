"""One LoRA epoch of the size of SST-2 on a GPU, compared with HF Trainer + PEFT: `python -m bench.gpu`.

It also measures the time between two runs of the project. It needs torch and transformers and, for
the rows of HF Trainer, peft and accelerate; no network and no Snakemake. The model is RoBERTa-base with random weights,
on generated tokens with lengths like SST-2's. This is a prototype of what a GPU allows: `lora_core.training.run` has
the same layer and batches, but no CUDA graphs. The whole data set stays on the device, lengths are rounded up to
multiples of eight, and a training step of each of the few resulting shapes is one CUDA graph, so that no step waits for
the host. `--smoke` runs the same code on a CPU with a tiny model and without graphs; it measures nothing.
"""

import argparse
import gc
import json
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bench.baselines import ALPHA, FULL, LORA, RANK, TARGETS
from bench.gpu_training import LEARNING_RATE, PAD, DeviceData, GraphTrainer, build_model, draw_lengths, synchronize
from bench.handover import handover_seconds
from lora_core import allocator
from lora_core.methods.layers import LoRALinear
from lora_core.methods.settings import MethodSettings

SST2_EXAMPLES = 67349


@dataclass(frozen=True)
class GpuBenchmark:
    """The settings of all measurements; `smoke` takes the tiny model."""

    device: torch.device
    precision: str
    batch_size: int
    epochs: int
    smoke: bool


def hf_trainer_epoch(data: DeviceData, benchmark: GpuBenchmark) -> float:
    """Return the seconds of an epoch of HF Trainer + PEFT, padded to the longest of a batch.

    Raise ImportError if a package is missing.
    """
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import PrinterCallback, Trainer, TrainingArguments

    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS))
    model = get_peft_model(build_model(FULL, benchmark.smoke), config)
    ids, labels = data.ids.cpu(), data.labels.cpu()

    def collate(rows: list[int]) -> dict[str, torch.Tensor]:
        batch = ids[rows, : int(data.lengths[rows].max())]
        return {"input_ids": batch, "attention_mask": (batch != PAD).long(), "labels": labels[rows]}

    arguments = TrainingArguments(
        output_dir="results/bench/gpu",
        per_device_train_batch_size=benchmark.batch_size,
        num_train_epochs=1,
        learning_rate=LEARNING_RATE,
        bf16=benchmark.precision == "bf16",
        use_cpu=benchmark.device.type == "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=list(range(len(ids))), data_collator=collate)
    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    trainer.train()
    synchronize(benchmark.device)
    return time.perf_counter() - started


def peak_memory_mb(settings: MethodSettings, benchmark: GpuBenchmark) -> float | None:
    """Return the allocator's peak over three steps of 16 examples of 64 tokens without graphs; None on a CPU."""
    device = benchmark.device
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    trainer = GraphTrainer(build_model(settings, tiny=False), device, benchmark.precision)
    for _ in range(3):
        trainer.step(torch.full((16, 64), 5, device=device), torch.zeros(16, dtype=torch.int64, device=device))
    return (torch.cuda.max_memory_allocated(device) - before) / 1e6


def held_over_used(settings: MethodSettings, benchmark: GpuBenchmark) -> float | None:
    """Return what the allocator held at its peak over what tensors used at theirs; None on a CPU.

    Over 100 steps without graphs, each of a random length, as random batches of RTE have them.
    """
    device = benchmark.device
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    trainer = GraphTrainer(build_model(settings, tiny=False), device, benchmark.precision)
    labels = torch.zeros(benchmark.batch_size, dtype=torch.int64, device=device)
    for tokens in np.random.default_rng(0).integers(32, 291, 100):
        trainer.step(torch.full((benchmark.batch_size, int(tokens)), 5, device=device), labels)
    return torch.cuda.max_memory_reserved(device) / torch.cuda.max_memory_allocated(device)


def fused_gradient_error(device: torch.device) -> float:
    """Return the largest difference of the layer's gradients to those of the plain formula, in float32.

    It is relative to the largest gradient. Raise ValueError if it is above 1e-5.
    """
    layer = LoRALinear(nn.Linear(768, 768), RANK, ALPHA).to(device)
    nn.init.normal_(layer.lora_B)
    x = torch.randn(16, 32, 768, device=device)
    plain = F.linear(x, layer.weight, layer.bias) + F.linear(F.linear(x, layer.lora_A), layer.lora_B) * layer.scale
    parameters = (layer.lora_A, layer.lora_B)
    fused_gradients, plain_gradients = (
        torch.cat([grad.flatten() for grad in torch.autograd.grad(output.square().sum(), parameters)])
        for output in (layer(x), plain)
    )
    error = _relative_error(fused_gradients, plain_gradients)
    if error > 1e-5:
        raise ValueError(f"the layer's gradients differ by {error:.1e} from those of the plain formula")
    return error


def graph_error(device: torch.device, tiny: bool) -> float | None:
    """Return the largest difference of the trained weights after three replayed steps to three without graphs.

    It is relative to the largest weight, without dropout and in float32; None on a CPU, which has no graphs. Raise
    ValueError if it is above 1e-4.
    """
    if device.type != "cuda":
        return None
    shape = (16, 16)
    ids, labels = torch.full(shape, 5, device=device), torch.ones(16, dtype=torch.int64, device=device)
    weights = []
    for replayed in (True, False):
        trainer = GraphTrainer(build_model(LORA, tiny).eval(), device, "fp32")
        if replayed:
            trainer.prepare({shape})  # which takes three steps with other labels, to warm up
        else:
            for _ in range(3):
                trainer.step(ids, torch.zeros_like(labels))
        step = trainer.steps.get(shape, trainer.step)
        for _ in range(3):
            step(ids, labels)
        weights.append(torch.cat([p.detach().flatten() for p in trainer.trained]))
    error = _relative_error(*weights)
    if error > 1e-4:
        raise ValueError(f"replayed steps differ by {error:.1e} from steps without graphs")
    return error


def _relative_error(values: torch.Tensor, expected: torch.Tensor) -> float:
    return ((values - expected).abs().max() / expected.abs().max()).item()


def measure(data: DeviceData, benchmark: GpuBenchmark) -> dict[str, Any]:
    """Return everything that is measured, by name."""
    device, smoke = benchmark.device, benchmark.smoke
    # First, while this process is not on the device yet.
    between = handover_seconds("cpu" if smoke else "cuda:0", 1 if smoke else max(1, (os.cpu_count() or 2) // 2), smoke)
    record: dict[str, Any] = {
        "seconds_between_two_runs": between,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "examples": len(data.lengths),
        "mean_tokens": float(data.lengths.mean()),
        "precision": benchmark.precision,
        "allocator": allocator.settings() if device.type == "cuda" else None,
        "fused_gradient_error": fused_gradient_error(device),
        "graph_error": graph_error(device, smoke),
    }
    for name, settings in (("lora", LORA), ("full", FULL)):
        trainer = GraphTrainer(build_model(settings, smoke), device, benchmark.precision)
        epochs = range(benchmark.epochs)
        record[f"{name}_epoch_seconds"] = [trainer.train_epoch(data, benchmark.batch_size, seed) for seed in epochs]
        record[f"{name}_shapes"] = len(trainer.steps)
        record[f"{name}_capture_seconds"] = trainer.capture_seconds
        del trainer
        record[f"{name}_peak_mb"] = peak_memory_mb(settings, benchmark)
        record[f"{name}_held_over_used"] = held_over_used(settings, benchmark)
    try:
        record["hf_trainer_epoch_seconds"] = [hf_trainer_epoch(data, benchmark) for _ in range(benchmark.epochs)]
        record["hf_trainer_over_lora"] = min(record["hf_trainer_epoch_seconds"]) / min(record["lora_epoch_seconds"])
    except ImportError as error:
        record["hf_trainer_epoch_seconds"] = None
        record["hf_trainer_reason"] = f"not installed: {error.name}"
    return record


def main() -> None:
    """Measure, and print the record as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--examples", type=int, default=SST2_EXAMPLES)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, without graphs: tests the code")
    arguments = parser.parse_args()
    if not arguments.smoke and not torch.cuda.is_available():
        raise SystemExit("skipped: torch finds no CUDA device; --smoke runs the same code on a CPU")
    device = torch.device("cpu" if arguments.smoke else "cuda")
    allocator.configure(device.type)  # torch 2.13 reads it at the first use of the device
    data = DeviceData(draw_lengths(64 if arguments.smoke else arguments.examples), device)
    benchmark = GpuBenchmark(device, arguments.precision, arguments.batch_size, arguments.epochs, arguments.smoke)
    print(json.dumps(measure(data, benchmark), indent=2))


if __name__ == "__main__":
    main()
