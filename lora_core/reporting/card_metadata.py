"""The metadata of a model card, which the Hugging Face hub reads: base model, data, scores, license and emissions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lora_core.data.metrics import METRICS
from lora_core.decimals import plain
from lora_core.evaluation.run_record import RunRecord

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class CardFacts:
    """What a card says beyond the run's record.

    Attributes:
        license: The keys that name the license of the weights: `license` and, where that is "other", `license_name`.
        grid_co2_grams_per_kwh: Carbon intensity of the electricity that the run used; None if it is not configured.
        base_model: The base model's name on the hub; None takes the record's, if that is one.
        metrics: The value of each metric after the last epoch, by the metric's name; the record has only the score.
    """

    license: Mapping[str, str] = field(default_factory=dict)
    grid_co2_grams_per_kwh: float | None = None
    base_model: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def card_metadata(run: RunRecord, library: str | None, facts: CardFacts) -> ModelCardData:
    """Return what the hub reads; `library` is the package that loads the weights."""
    from huggingface_hub import ModelCardData

    base_model = facts.base_model or hub_name(run)
    hub_data = run.data.data["source"] == "hub"
    is_glue = run.data.data["source"] != "user"
    results = _results(run, facts)
    grams = emissions_grams(run, facts.grid_co2_grams_per_kwh)
    return ModelCardData(
        language="en" if is_glue else None,
        license=facts.license.get("license"),
        license_name=facts.license.get("license_name"),
        base_model=base_model,
        base_model_relation=("adapter" if library == "peft" else "finetune") if base_model else None,
        library_name=library,
        pipeline_tag="text-classification",
        tags=[*(["glue"] if is_glue else []), run.kind],
        datasets=[str(run.data.data["id"])] if hub_data else None,
        metrics=[result.metric_type for result in results],
        model_name=f"{run.method}-{run.task}-seed{run.seed}",
        eval_results=results,
        co2_eq_emissions=None if grams is None else _emissions(run, grams, facts.grid_co2_grams_per_kwh),
    )


def hub_name(run: RunRecord) -> str | None:
    """Return the name of the run's base model on the hub; None if it was a folder."""
    return run.base_model if is_hub_name(run.base_model) else None


def is_hub_name(base_model: str) -> bool:
    """Return whether this is the name of a model on the hub, not a folder."""
    return not base_model.startswith("/") and base_model.count("/") <= 1


def _results(run: RunRecord, facts: CardFacts) -> list[EvalResult]:
    """The scores of the weights, on the test split if there is one.

    The data set always has a config: the hub groups results by it, not by name.
    """
    from huggingface_hub import EvalResult

    data = run.data.data
    hub_data = data["source"] == "hub"
    values = {run.score.metric: run.score.last, **facts.metrics} if run.test is None else run.test.last_metrics
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=str(data["id"] if hub_data else data["source"]),
            dataset_name=f"{run.task} ({listed(data)})",
            dataset_config=run.task,
            dataset_split="validation" if run.test is None else "test",
            dataset_revision=str(data["revision"]) if hub_data else None,
            metric_type=METRICS[name].hub_name,
            metric_value=round(float(value), 6),
        )
        for name, value in values.items()
    ]


def emissions_grams(run: RunRecord, grams_per_kwh: float | None) -> float | None:
    """Return the CO2 of the training energy in grams; None if that energy or the grid's intensity is not known."""
    energy = run.energy
    if grams_per_kwh is None or energy.train_joules is None or energy.simulated:
        return None
    return energy.train_joules / JOULES_PER_KWH * grams_per_kwh


def _emissions(run: RunRecord, grams: float, grams_per_kwh: float | None) -> dict[str, object]:
    """What the hub's metadata says of emissions: plain numbers, in grams."""
    return {
        "emissions": float(f"{grams:.3g}"),
        "source": f"measured energy ({run.energy.boundary}) x {grams_per_kwh:g} g/kWh, as configured",
        "training_type": "fine-tuning",
        "hardware_used": run.provenance.device_model,
    }


def listed(settings: Mapping[str, object]) -> str:
    """Return settings as one phrase, without those that are None."""
    texts = {name: plain(v) if isinstance(v, float) else str(v) for name, v in settings.items() if v is not None}
    return ", ".join(f"{name} {text}" for name, text in texts.items())
