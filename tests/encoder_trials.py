"""An architecture taken through every step of a study, with tiny random weights: what docs/models.md shows of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from builders import (
    FULL,
    LABELS,
    auto_ids,
    data_ids,
    encoder,
    interrupted_before_epoch,
    prepared,
    run_inputs,
    run_outputs,
    spec,
    tokenized,
    trained,
)  # fmt: skip
from safetensors.numpy import load_file
from torch import nn

from lora_core.data import batches
from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
from lora_core.methods import registry
from lora_core.methods.merging import merge_adapter
from lora_core.models import model as models
from lora_core.models.pretrained import prepare_model
from lora_core.training.checkpoint import CheckpointSettings
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.run import train
from lora_core.training.steps import predict_logits

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(json.loads((ROOT / "tests" / "fixtures" / "encoders.json").read_text()))
# What the query and value projections of encoders are called; ModernBERT and DeBERTa have one for all three.
PROJECTIONS = [
    ("query", "value"), ("q_proj", "v_proj"), ("q_lin", "v_lin"), ("query_proj", "value_proj"), ("q_head", "v_head"),
    ("query_global", "value_global"), ("q", "v"), ("in_proj",), ("Wqkv",),
]  # fmt: skip
WITHOUT_PROJECTIONS = {"fnet": ["dense"], "xlnet": ["layer_1", "layer_2"]}  # what LoRA is tried on instead
PLAN = LatencyPlan(1, 0.0, 0.1, 16, 1, 1, "cpu", 1, reference=None)
SAME = 1e-4  # of the largest logit: rounding


@dataclass
class Trial:
    """What came of an architecture.

    `works` has the steps by name with True, or the sentence that refuses them; "prepared" alone if that is refused.
    """

    name: str
    works: dict[str, bool | str] = field(default_factory=dict)
    longest: int | None = None
    equal_length: bool = False
    projections: list[str] = field(default_factory=list)
    convolutions: bool = False
    default_targets: list[str] = field(default_factory=list)
    frozen_head: list[str] = field(default_factory=list)

    def attempt(self, step: str, action: Callable[[], object]) -> bool:
        """Do a step; only a ValueError refuses it, everything else is a fault."""
        try:
            action()
        except ValueError as error:
            self.works[step] = " ".join(str(error).split())
        else:
            self.works[step] = True
        return self.works[step] is True


def try_encoder(name: str, folder: Path) -> Trial:
    """Take an architecture through all steps. Raise AssertionError where a result is wrong."""
    trial, model, data = Trial(name), folder / "model", folder / "data"
    if not trial.attempt("prepared", lambda: prepared(model, encoder(name))):
        return trial
    _describe(trial, model)
    tokenized(model, data, "cola", 8, 8)
    assert data_ids(model) == auto_ids(model)
    targets = trial.projections or WITHOUT_PROJECTIONS.get(name, ["query", "value"])
    low_rank = {"rank": 2, "alpha": 4.0, "targets": targets}
    by_peft = {"peft_type": "LORA", "target_modules": targets, "r": 2, "lora_alpha": 4}
    methods = {
        "full": FULL,
        "lora": {"kind": "lora", "freeze_a": False} | low_rank,
        "loralib": {"kind": "loralib"} | low_rank,
        "peft": {"kind": "peft", "config": by_peft},
    }
    done = [
        kind
        for kind, settings in methods.items()
        if trial.attempt(kind, lambda kind=kind, settings=settings: _try_method(settings, model, data, folder / kind))
    ]
    timed = [_timed(methods[kind], folder / kind) for kind in done]
    inputs = TimingInputs(model, data / "card.json", data / "validation.safetensors")
    time_inference(timed, inputs, PLAN, TimingOutputs(folder / "passes.csv", folder / "latency.json"))
    once = {"epochs": 1}
    trial.attempt("checkpointing", lambda: trained(
        FULL, model, data, folder / "checkpointing", hyperparameters=once | {"gradient_checkpointing": True}
    ))  # fmt: skip
    source = {"source": "random", "config": encoder(name), "seed": 7}
    if trial.attempt("bf16", lambda: prepare_model(source, folder / "bf16_model", "bf16")):
        trained(FULL, model, data, folder / "bf16", hyperparameters=once, precision="bf16")
    return trial


def _describe(trial: Trial, model: Path) -> None:
    """Fill in what follows from the model alone."""
    from peft import LoraConfig, get_peft_model
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    loaded = models.load(model, LABELS)
    trial.longest = models.max_input_length(loaded)
    trial.equal_length = models.needs_equal_length(loaded)
    of_kind = {
        kind: {
            name.rpartition(".")[2] for name, module in loaded.base_model.named_modules() if isinstance(module, kind)
        }
        for kind in (nn.Linear, nn.Conv1d)
    }
    present = [pair for pair in PROJECTIONS if of_kind[nn.Linear].issuperset(pair)]
    trial.projections = [name for pair in present for name in pair]
    trial.convolutions = of_kind[nn.Conv1d].issuperset(PROJECTIONS[0])
    defaults = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(loaded.config.model_type, [])
    trial.default_targets = sorted(defaults)
    whole = nn.Linear if not trial.convolutions else (nn.Linear, nn.Conv1d)
    targets = [name for name, module in loaded.base_model.named_modules() if isinstance(module, whole)]
    if targets:
        prefix = "" if loaded.base_model is loaded else f"{loaded.base_model_prefix}."
        config = LoraConfig(task_type="SEQ_CLS", target_modules=[prefix + name for name in targets])
        adapted = get_peft_model(loaded, config)
        trained_parts = {_part(name) for name, p in models.head_parameters(adapted) if p.requires_grad}
        trial.frozen_head = sorted({_part(name) for name, _ in models.head_parameters(adapted)} - trained_parts)


def _part(name: str) -> str:
    """The module of the head that a parameter belongs to, as it is called without PEFT."""
    return name.replace(".modules_to_save.default", "").replace(".base_layer", "").rpartition(".")[0]


def _try_method(settings: dict, model: Path, data: Path, folder: Path) -> None:
    """Train, resume and merge, and load with transformers and PEFT alone what that wrote."""
    run = trained(settings, model, data, folder)
    recorded = load_file(run / "predictions.safetensors")["logits"]
    if settings["kind"] in ("full", "lora"):  # all kinds are trained by one loop
        np.testing.assert_array_equal(_resumed(settings, model, data, folder / "resumed"), recorded)
    if settings is FULL:  # the head is new, the encoder is that of the run
        trained(settings, model, data, folder / "started", folder / "resumed", hyperparameters={"epochs": 1})
    for loaded in _loaded(settings, model, folder):
        _assert_same(_logits(loaded, data), recorded[-1])
    if settings is not FULL:
        merge_adapter(model, run / "weights", run / "run.json", folder / "merged")
        from transformers import AutoModelForSequenceClassification

        _assert_same(_logits(AutoModelForSequenceClassification.from_pretrained(folder / "merged"), data), recorded[-1])


def _resumed(settings: dict, model: Path, data: Path, out: Path) -> np.ndarray:
    """The logits of a run that was interrupted before its second epoch."""
    arguments = spec(settings, base_model=model.name), run_inputs(model, data), run_outputs(out)
    checkpoints = CheckpointSettings(out.parent / "checkpoints", 0, "code")
    with interrupted_before_epoch(2):
        train(*arguments, checkpoints=checkpoints)
    train(*arguments, checkpoints=checkpoints)
    return load_file(out / "predictions.safetensors")["logits"]


def _loaded(settings: dict, model: Path, run: Path) -> list[nn.Module]:
    """A run's model, as this project loads it and as the library does that the run was written for."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    here = registry.load(models.load(model, LABELS), registry.settings_from_params(settings), run / "weights")
    if settings is FULL:
        return [here, AutoModelForSequenceClassification.from_pretrained(run / "weights")]
    return [here, PeftModel.from_pretrained(models.load(model, LABELS), run / "weights")]


def _logits(model: nn.Module, data: Path) -> np.ndarray:
    """Logits (examples, outputs) of the validation set, in the batches of a run."""
    return predict_logits(model, DeviceExamples(batches.load(data / "validation.safetensors"), model), "fp32", 16)


def _assert_same(logits: np.ndarray, recorded: np.ndarray) -> None:
    np.testing.assert_allclose(logits, recorded, rtol=0, atol=SAME * np.abs(recorded).max())


def _timed(settings: dict, run: Path) -> TimedMethod:
    merged = run / "merged" if (run / "merged").exists() else None
    return TimedMethod(settings["kind"], registry.settings_from_params(settings), run / "weights", merged)
