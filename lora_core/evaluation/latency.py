"""How long inference takes: variants interleaved in one process, and proof that merging is exact."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lora_core import device, provenance
from lora_core.data import batches as data
from lora_core.evaluation import latency_summary as timing
from lora_core.job import Progress
from lora_core.measuring import meters
from lora_core.methods import registry as methods
from lora_core.models import model as models
from lora_core.records import LatencyRow, read_checked, write_json, write_rows
from lora_core.seeds import derive
from lora_core.training.steps import logits_of

# Merged and unmerged logits may differ by rounding, relative to the largest: float32 has 1.2e-7 an operation, and the
# sums of some tens of layers add up.
MERGE_TOLERANCE = 1e-4
STEADY = 0.1  # warm-up ends when two passes differ by less
MAX_WARMUP = 5

Key = tuple[str, str]  # method and variant


@dataclass(frozen=True)
class Method:
    """Where one method's weights lie: `merged` is None for a method that has nothing to merge."""

    name: str
    settings: dict[str, Any]
    weights: Path
    merged: Path | None


@dataclass(frozen=True)
class Plan:
    """How long to time: `passes` rounds at least, more until each merged variant is equivalent to the reference
    within `margin` or is not, and no new round after `seconds`; `single_examples` are timed one by one."""

    passes: int
    seconds: float
    margin: float
    batch_size: int
    single_examples: int


def time_inference(
    timed: list[Method],
    model_dir: Path,
    data_dir: Path,
    csv: Path,
    *,
    seed: int,
    plan: Plan,
    device_name: str,
    threads: int,
) -> None:
    """Time every variant in rounds of shuffled order, each after warm-up passes that are not kept.

    The JSON file beside `csv` holds the largest difference between merged and unmerged logits, and the one between
    merged and base. Raises ValueError where merging changed a logit beyond rounding.
    """
    torch.set_num_threads(threads)
    where = device.resolve(device_name)
    card = read_checked(data_dir / "card.json", "validation.safetensors")
    labels = card["labels"]
    examples = data.load(data_dir / "validation.safetensors")
    progress = Progress(f"latency {data_dir.name} seed {seed}")
    # Read for one thing alone: whether another process uses the device.
    meter = meters.open_meter("auto" if where.type == "cuda" else "none", where.type, lambda: device.uuid(where))
    started = provenance.collect(where, threads)
    shuffle = random.Random(derive(seed, "latency"))
    with device.alone(where), torch.inference_mode():
        meter.begin()
        variants = {key: model.to(where).eval() for key, model in _variants(timed, model_dir, labels).items()}
        meter.settle()
        pad = next(iter(variants.values())).config.pad_token_id
        longest = {key: models.longest_input(model) for key, model in variants.items()}
        fitting = {key: data.cut(examples, longest[key]) for key in variants}
        order = data.evaluation_order(examples.lengths, plan.batch_size)
        batches = {key: list(data.batches(fitting[key], order, pad)) for key in variants}
        logits = {key: _logits(model, batches[key], where) for key, model in variants.items()}
        warmup = {key: _warm_up(model, batches[key], where) for key, model in variants.items()}
        rows: list[LatencyRow] = []
        begun = time.monotonic()
        for number in _rounds(rows, plan, begun):
            rows += _round(number, "pass", variants, batches, plan.batch_size, where, shuffle)
            meter.read()
            progress.step(f"round {number}, {time.monotonic() - begun:.0f} of at most {plan.seconds:.0f} s")
        chosen = shuffle.sample(range(len(examples)), min(plan.single_examples, len(examples)))
        for number, row in enumerate(chosen, 1):
            single = {key: list(data.batches(fitting[key], [np.array([row])], pad)) for key in variants}
            rows += _round(number, "single", variants, single, 1, where, shuffle)
        proofs = {
            method.name: _proof(
                method.name, logits, variants, models.load(model_dir, labels), batches[method.name, "merged"], where
            )
            for method in timed
            if method.merged is not None
        }
    meter.close()
    write_rows(csv, rows, LatencyRow)
    passes = {"warm_up_passes": {" ".join(key): count for key, count in warmup.items()}}
    inputs = {
        method: {
            "longest": longest[method, variant],
            "truncated": data.truncated(examples, longest[method, variant], card["validation"]["truncated"]),
        }
        for method, variant in variants
    }
    place = started | {"driver": meter.details.get("driver"), "shared": meter.shared}
    write_json(csv.with_suffix(".json"), {"merge": proofs, "input_tokens": inputs, **passes, "provenance": place})


def _rounds(rows: list[LatencyRow], plan: Plan, begun: float) -> Iterator[int]:
    """Numbers of rounds, until the plan is fulfilled by the rows that the caller adds."""
    number = 0
    while True:
        number += 1
        yield number
        spent = time.monotonic() - begun >= plan.seconds
        if number >= plan.passes and (spent or timing.decided(timing.summarize(rows, "pass", plan.margin))):
            return


def _round(
    number: int,
    mode: str,
    variants: dict[Key, Any],
    batches: dict[Key, list[data.Batch]],
    batch_size: int,
    where: torch.device,
    shuffle: random.Random,
) -> list[LatencyRow]:
    """One pass of every variant, in a new order; the rows stand in the order of the variants."""
    keys = shuffle.sample(list(variants), len(variants))
    seconds = {key: _seconds(variants[key], batches[key], where) for key in keys}
    examples = sum(len(batch.rows) for batch in batches[keys[0]])
    return [LatencyRow(number, keys.index(key) + 1, *key, mode, examples, batch_size, seconds[key]) for key in variants]


def _warm_up(model: nn.Module, batches: list[data.Batch], where: torch.device) -> int:
    """Passes until two in a row take the same time."""
    before = _seconds(model, batches, where)
    for passes in range(2, MAX_WARMUP + 1):
        now = _seconds(model, batches, where)
        if abs(now / before - 1) < STEADY:
            return passes
        before = now
    return MAX_WARMUP


def _variants(timed: list[Method], model_dir: Path, labels: list[str]) -> dict[Key, Any]:
    """`{(method, variant): model}`; variant is plain, merged or unmerged."""
    variants = {}
    for method in timed:
        if method.merged is not None:
            variants[method.name, "merged"] = models.load(method.merged, labels)
        trained = methods.load(models.load(model_dir, labels), method.settings, method.weights)
        variants[method.name, "plain" if method.merged is None else "unmerged"] = trained
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
    logits: dict[Key, np.ndarray],
    variants: dict[Key, Any],
    base: nn.Module,
    batches: list[data.Batch],
    where: torch.device,
) -> dict[str, float]:
    """Merged equals unmerged up to rounding; how far both are from the base model under the same head is told."""
    merged, unmerged = logits[name, "merged"], logits[name, "unmerged"]
    difference, size = float(np.abs(merged - unmerged).max()), float(np.abs(unmerged).max())
    if difference > MERGE_TOLERANCE * size:
        raise ValueError(f"merging {name!r} changed a logit by {difference:.2g} (largest logit {size:.2g})")
    trained = dict(models.head_parameters(variants[name, "merged"]))
    for parameter_name, parameter in models.head_parameters(base.to(where).eval()):
        parameter.copy_(trained[parameter_name])
    untouched = _logits(base, batches, where)
    return {
        "largest_logit": size,
        "merged_minus_unmerged": difference,
        "merged_minus_base": float(np.abs(merged - untouched).max()),
    }
