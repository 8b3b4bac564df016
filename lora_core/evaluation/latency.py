"""How long inference takes: variants interleaved in one process, and the proof that merging changed no prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lora_core import precision, provenance
from lora_core.data import batches as data
from lora_core.data.card import DataCard, read_data_card
from lora_core.evaluation.latency_summary import Variant
from lora_core.evaluation.merge_proof import MergeProof, prove_merge
from lora_core.evaluation.switching import time_switches
from lora_core.evaluation.timed_rounds import LoadedVariant, LoadedVariants, TimedRounds, warm_up
from lora_core.intact import check_model, check_weights
from lora_core.measuring.exclusive import exclusive_device, expects_gpu
from lora_core.measuring.pulse import Pulse
from lora_core.methods import registry
from lora_core.models import masks
from lora_core.models import model as models
from lora_core.records import LATENCY_FORMAT, LatencyRow, sha256, write_json, write_rows
from lora_core.sealed import seal
from lora_core.training.device_batches import DeviceExamples, Inputs
from lora_core.training.progress import Progress
from lora_core.training.steps import forward

if TYPE_CHECKING:
    from lora_core.methods.settings import MethodSettings
    from lora_core.precision import Precision


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
        precision: Of the passes, as in `train.precision`.
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
    precision: Precision = "fp32"


def time_inference(
    methods: Sequence[TimedMethod], inputs: TimingInputs, plan: LatencyPlan, outputs: TimingOutputs
) -> None:
    """Time every variant in rounds of shuffled order, after warm-up passes that are not recorded.

    The JSON record has the proof that merging changed nothing but rounding. Raise ValueError if the device lacks the
    precision, a model is damaged, or merging changed a logit by more than rounding; then nothing is written.
    """
    precision.check_available(plan.precision, expects_gpu(plan.device))
    torch.set_num_threads(plan.threads)
    precision.allow_tf32(plan.precision == "tf32")
    card = read_data_card(inputs.data_card, validation=inputs.validation_data)
    _check_models(methods, inputs)
    examples = data.load(inputs.validation_data)
    loaded = _load_models(methods, inputs.model, card, plan.device)
    # Here the meter only detects whether another process uses the device.
    meter_name = "auto" if expects_gpu(plan.device) else "none"
    with exclusive_device(plan.device, meter_name) as held, torch.inference_mode(), Pulse() as pulse:
        device, meter = held.device, held.meter
        precision.check_device(plan.precision, device)
        started = provenance.collect(device, plan.threads, plan.precision)
        variants = _place(loaded, examples, plan, device)
        precision.check_products(plan.precision, device)
        meter.settle()
        logits = {key: _logits(variant.model, variant.batches, plan) for key, variant in variants.items()}
        warm_up_passes = {key: warm_up(variant, device, plan.precision) for key, variant in variants.items()}
        rounds = TimedRounds(variants, plan, device, Progress("latency"))
        suspended = -pulse.suspended_seconds()
        rows = rounds.passes(meter.read) + rounds.singles(len(examples))
        suspended += pulse.suspended_seconds()
        proofs = {
            method: _prove_merge(method, logits, variants, models.load(inputs.model, list(card.labels)), plan)
            for method, variant in variants
            if variant == "merged"
        }
        switching = time_switches(methods, inputs.model, card.labels, loaded, device)
    meter.close()
    write_rows(outputs.passes, rows, LatencyRow)
    write_json(
        outputs.record,
        seal(
            {
                "format": LATENCY_FORMAT,
                "merge": {method: asdict(proof) for method, proof in proofs.items()},
                "precision": plan.precision,
                "input_tokens": {
                    method: {
                        "longest": variant.max_tokens,
                        "truncated": data.count_truncated(examples, variant.max_tokens, card.validation.truncated),
                    }
                    for (method, _), variant in variants.items()
                },
                "suspended_seconds": suspended,
                "switching": None if switching is None else asdict(switching),
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
    loaded: Mapping[Variant, nn.Module], examples: data.Examples, plan: LatencyPlan, device: torch.device
) -> LoadedVariants:
    """Move models to the device, each with the validation set as it takes it."""
    # By the lengths before truncation: the same batches for all variants, and equal lengths stay equal.
    equal_length = any(map(models.needs_equal_length, loaded.values()))
    order = data.evaluation_order(examples.lengths, plan.batch_size, equal_length)
    variants = {}
    for key, model in loaded.items():
        _make_ready(model, plan.precision, device)
        max_tokens = models.max_input_length(model)
        fitting = DeviceExamples(data.truncate(examples, max_tokens), model)
        variants[key] = LoadedVariant(model, max_tokens, fitting, fitting.inputs_in(order))
    return variants


def _make_ready(model: nn.Module, name: Precision, device: torch.device) -> nn.Module:
    """Move a model to the device. In bf16 and fp16, cast its weights once, as for training, but those of the head."""
    if reduced := precision.autocast_type(name):
        head = {id(parameter) for _, parameter in models.head_parameters(model)}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in head)
        models.cast_frozen(model, reduced)
    return model.to(device).eval()


def _logits(model: nn.Module, batches: list[Inputs], plan: LatencyPlan) -> np.ndarray:
    return torch.cat([forward(model, inputs, plan.precision).float() for inputs in batches]).cpu().numpy()


def _prove_merge(
    method: str, logits: Mapping[Variant, np.ndarray], variants: LoadedVariants, base: nn.Module, plan: LatencyPlan
) -> MergeProof:
    """Compare a merged model with the unmerged one, and with the base model under the same head."""
    merged = variants[method, "merged"]
    _make_ready(base, plan.precision, merged.examples.device)
    trained_head = dict(models.head_parameters(merged.model))
    for name, parameter in models.head_parameters(base):
        parameter.copy_(trained_head[name])
    untouched = _logits(base, merged.batches, plan)
    scores = untouched.shape[1] == 1
    return prove_merge(method, logits[method, "merged"], logits[method, "unmerged"], untouched, plan.precision, scores)
