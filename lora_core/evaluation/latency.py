"""How long inference takes: variants interleaved in one process, and the proof that merging changed no prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lora_core import provenance
from lora_core.data import batches as data
from lora_core.data.card import DataCard, read_data_card
from lora_core.evaluation.latency_summary import Variant
from lora_core.evaluation.timed_rounds import PRECISION, LoadedVariant, LoadedVariants, TimedRounds, warm_up
from lora_core.intact import check_model, check_weights
from lora_core.measuring.exclusive import exclusive_device, expects_gpu
from lora_core.measuring.pulse import Pulse
from lora_core.methods import registry
from lora_core.models import masks
from lora_core.models import model as models
from lora_core.records import LatencyRow, sha256, write_json, write_rows
from lora_core.sealed import seal
from lora_core.training.device_batches import DeviceExamples, Inputs
from lora_core.training.progress import Progress
from lora_core.training.steps import forward

if TYPE_CHECKING:
    from lora_core.methods.settings import MethodSettings

# Merged and unmerged logits may differ by rounding, relative to the largest: float32 has 1.2e-7 per operation, and the
# sums of several tens of layers add up.
MERGE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class TimedMethod:
    """One method of the comparison: its trained weights, and the merged model if the method can merge.

    The records are those of the run and of the merged model; None does not check the digests of the files.
    """

    name: str
    settings: MethodSettings
    weights: Path
    merged: Path | None = None
    merged_record: Path | None = None
    run_record: Path | None = None


@dataclass(frozen=True)
class TimingInputs:
    """What all methods share: the prepared base model, its record, and the tokenized validation split with its card."""

    model: Path
    data_card: Path
    validation_data: Path
    model_record: Path | None = None


@dataclass(frozen=True)
class TimingOutputs:
    """The raw passes (CSV) and the record about them (JSON)."""

    passes: Path
    record: Path


@dataclass(frozen=True)
class LatencyPlan:
    """What is timed, and for how long.

    Attributes:
        passes: Rounds over the validation set at least.
        seconds: No new round starts after this many seconds, once there are `passes`.
        margin: Rounds are added until each merged variant is equivalent to the reference within this share, or is not.
        batch_size: Of the passes over the validation set.
        single_examples: How many examples are timed one by one.
        seed: Decides the order of variants in each round, and the single examples.
        device: "auto", "cpu", "cuda" or "cuda:1".
        threads: CPU threads of torch.
        reference: The method that merged variants are compared with; without one there are exactly `passes` rounds.
    """

    passes: int
    seconds: float
    margin: float
    batch_size: int
    single_examples: int
    seed: int
    device: str
    threads: int
    reference: str | None


def time_inference(
    methods: Sequence[TimedMethod], inputs: TimingInputs, plan: LatencyPlan, outputs: TimingOutputs
) -> None:
    """Time every variant in rounds of shuffled order, after warm-up passes that are not recorded.

    The JSON record has the largest difference between merged and unmerged logits, and between merged and base. Raise
    ValueError if a model is damaged, or merging changed a logit by more than rounding; then nothing is written.
    """
    torch.set_num_threads(plan.threads)
    card = read_data_card(inputs.data_card, validation=inputs.validation_data)
    _check_models(methods, inputs)
    examples = data.load(inputs.validation_data)
    loaded = _load_models(methods, inputs.model, card, plan.device)
    # Here the meter only detects whether another process uses the device.
    meter_name = "auto" if expects_gpu(plan.device) else "none"
    with exclusive_device(plan.device, meter_name) as held, torch.inference_mode(), Pulse() as pulse:
        device, meter = held.device, held.meter
        started = provenance.collect(device, plan.threads)
        variants = _place(loaded, examples, plan.batch_size, device)
        meter.settle()
        logits = {key: _logits(variant.model, variant.batches) for key, variant in variants.items()}
        warm_up_passes = {key: warm_up(variant, device) for key, variant in variants.items()}
        rounds = TimedRounds(variants, plan, device, Progress(f"latency {card.task} seed {plan.seed}"))
        suspended = -pulse.suspended_seconds()
        rows = rounds.passes(meter.read) + rounds.singles(len(examples))
        suspended += pulse.suspended_seconds()
        proofs = {
            method.name: _prove_merge(
                method.name, logits, variants, models.load(inputs.model, list(card.labels)), device
            )
            for method in methods
            if method.merged is not None
        }
    meter.close()
    write_rows(outputs.passes, rows, LatencyRow)
    write_json(
        outputs.record,
        seal(
            {
                "merge": proofs,
                "precision": PRECISION,
                "input_tokens": {
                    method: {
                        "longest": variant.max_tokens,
                        "truncated": data.count_truncated(examples, variant.max_tokens, card.validation.truncated),
                    }
                    for (method, _), variant in variants.items()
                },
                "suspended_seconds": suspended,
                "warm_up_passes": {" ".join(key): count for key, count in warm_up_passes.items()},
                "provenance": asdict(replace(started, driver=meter.details.get("driver"), shared=meter.shared)),
                "files": {outputs.passes.name: sha256(outputs.passes)},
                "made_from": {
                    "plan": {name: value for name, value in asdict(plan).items() if name not in ("seed", "threads")},
                    "runs": {
                        method.name: sha256(method.run_record) for method in methods if method.run_record is not None
                    },
                },
            }
        ),
    )


def _check_models(methods: Sequence[TimedMethod], inputs: TimingInputs) -> None:
    """Raise ValueError that names the first file of a model or of a run's weights that is not what its record says."""
    check_model(inputs.model, inputs.model_record)
    for method in methods:
        check_weights(method.weights, method.run_record)
        if method.merged is not None:
            check_model(method.merged, method.merged_record)


def _load_models(
    methods: Sequence[TimedMethod], model: Path, card: DataCard, device_name: str
) -> dict[Variant, nn.Module]:
    """Load each method on the CPU as it was trained ("plain", or "unmerged" next to its "merged" model)."""
    labels = list(card.labels)
    loaded: dict[Variant, Any] = {}
    for method in methods:
        if method.merged is not None:
            loaded[method.name, "merged"] = models.load(method.merged, labels)
        trained = registry.load(models.load(model, labels), method.settings, method.weights)
        loaded[method.name, "plain" if method.merged is None else "unmerged"] = trained
    for variant in loaded.values():
        masks.choose_form(variant, torch.device("cuda" if expects_gpu(device_name) else "cpu"))
    return loaded


def _place(
    loaded: Mapping[Variant, nn.Module], examples: data.Examples, batch_size: int, device: torch.device
) -> LoadedVariants:
    """Move models to the device, each with the validation set as it takes it."""
    order = data.evaluation_order(examples.lengths, batch_size)
    variants = {}
    for key, model in loaded.items():
        model.to(device).eval()
        max_tokens = models.max_input_length(model)
        fitting = DeviceExamples(data.truncate(examples, max_tokens), model)
        variants[key] = LoadedVariant(model, max_tokens, fitting, fitting.inputs_in(order))
    return variants


def _logits(model: nn.Module, batches: list[Inputs]) -> np.ndarray:
    return torch.cat([forward(model, inputs, PRECISION).float() for inputs in batches]).cpu().numpy()


def _prove_merge(
    name: str, logits: dict[Variant, np.ndarray], variants: LoadedVariants, base: nn.Module, device: torch.device
) -> dict[str, float]:
    """Check that merged logits equal unmerged ones up to rounding.

    Return the differences, also to the base model under the same head, which shows that the adapter does something.
    """
    merged, unmerged = logits[name, "merged"], logits[name, "unmerged"]
    difference, largest = float(np.abs(merged - unmerged).max()), float(np.abs(unmerged).max())
    if not difference <= MERGE_TOLERANCE * largest:  # nan is neither above nor below
        raise ValueError(f"merging {name!r} changed a logit by {difference:.2g} (largest logit {largest:.2g})")
    variant = variants[name, "merged"]
    trained_head = dict(models.head_parameters(variant.model))
    for parameter_name, parameter in models.head_parameters(base.to(device).eval()):
        parameter.copy_(trained_head[parameter_name])
    untouched = _logits(base, variant.batches)
    return {
        "largest_logit": largest,
        "merged_minus_unmerged": difference,
        "merged_minus_base": float(np.abs(merged - untouched).max()),
    }
