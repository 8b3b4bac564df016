"""Seconds per pass over the validation set: variants interleaved in one process, and proof that merging is exact."""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lora_core import data, device, methods, models, provenance
from lora_core.joblog import Progress
from lora_core.records import LatencyRow, read_json, write_json, write_rows
from lora_core.seeds import derive
from lora_core.train import logits_of

# Merged and unmerged logits may differ by rounding, relative to the largest: float32 has 1.2e-7 an operation, and the
# sums of some tens of layers add up.
MERGE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Method:
    """Where one method's weights lie: `merged` is None for a method that has nothing to merge."""

    name: str
    settings: dict[str, Any]
    weights: Path
    merged: Path | None


def time_inference(
    timed: list[Method],
    model_dir: Path,
    data_dir: Path,
    csv: Path,
    *,
    seed: int,
    passes: int,
    batch_size: int,
    device_name: str,
    threads: int,
) -> None:
    """Time every variant `passes` times in an order shuffled per round; one warm-up pass each is not kept.

    The JSON file beside `csv` holds the largest difference between merged and unmerged logits, and the one between
    merged and base. Raises ValueError where merging changed a logit beyond rounding.
    """
    torch.set_num_threads(threads)
    where = device.resolve(device_name)
    labels = read_json(data_dir / "card.json")["labels"]
    examples = data.load(data_dir / "validation.safetensors")
    progress = Progress(f"latency {data_dir.name} seed {seed}")
    started = provenance.collect(where, threads)
    with device.alone(where), torch.inference_mode():
        variants = {key: model.to(where).eval() for key, model in _variants(timed, model_dir, labels).items()}
        pad = next(iter(variants.values())).config.pad_token_id
        order = data.evaluation_order(examples.lengths, batch_size)
        batches = list(data.batches(examples, order, pad))
        logits = {key: _logits(model, batches, where) for key, model in variants.items()}  # also the warm-up
        rows: list[LatencyRow] = []
        shuffle = random.Random(derive(seed, "latency"))
        for round_number in range(1, passes + 1):
            keys = shuffle.sample(list(variants), len(variants))
            seconds = {key: _seconds(variants[key], batches, where) for key in keys}
            rows += [
                LatencyRow(round_number, keys.index(key) + 1, *key, len(examples), batch_size, seconds[key])
                for key in variants
            ]
            progress.step(f"round {round_number}/{passes}")
        proofs = {
            method.name: _proof(method.name, logits, variants, batches, where)
            for method in timed
            if method.merged is not None
        }
    write_rows(csv, rows, LatencyRow)
    write_json(csv.with_suffix(".json"), {"merge": proofs, "provenance": started})


def _variants(timed: list[Method], model_dir: Path, labels: list[str]) -> dict[tuple[str, str], Any]:
    """`{(method, variant): model}`; variant is plain, merged or unmerged."""
    variants = {}
    for method in timed:
        if method.merged is None:
            variants[method.name, "plain"] = models.load(method.weights, labels)
            continue
        variants[method.name, "merged"] = models.load(method.merged, labels)
        unmerged = models.load(model_dir, labels)
        kind = methods.module(method.settings["kind"])
        kind.apply(unmerged, method.settings, torch.Generator())
        kind.load(unmerged, method.settings, method.weights)
        variants[method.name, "unmerged"] = unmerged
    return variants


def _seconds(model: nn.Module, batches: list[data.Batch], where: torch.device) -> float:
    device.synchronize(where)
    begun = time.perf_counter()
    for batch in batches:
        logits_of(model, batch, where)
    device.synchronize(where)
    return time.perf_counter() - begun


def _logits(model: nn.Module, batches: list[data.Batch], where: torch.device) -> np.ndarray:
    return np.concatenate([logits_of(model, batch, where).float().cpu().numpy() for batch in batches])


def _proof(
    name: str,
    logits: dict[tuple[str, str], np.ndarray],
    variants: dict[tuple[str, str], Any],
    batches: list[data.Batch],
    where: torch.device,
) -> dict[str, float]:
    """Merged equals unmerged up to rounding; how far both are from the base model (B set to zero) is told."""
    merged, unmerged = logits[name, "merged"], logits[name, "unmerged"]
    difference, size = float(np.abs(merged - unmerged).max()), float(np.abs(unmerged).max())
    if difference > MERGE_TOLERANCE * size:
        raise ValueError(f"merging {name!r} changed a logit by {difference:.2g} (largest logit {size:.2g})")
    model = variants[name, "unmerged"]
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("lora_B"):
            parameter.zero_()
    base = _logits(model, batches, where)
    return {
        "largest_logit": size,
        "merged_minus_unmerged": difference,
        "merged_minus_base": float(np.abs(merged - base).max()),
    }
