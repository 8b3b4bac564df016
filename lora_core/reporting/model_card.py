"""The model card of a run: a README.md with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.atomic_files import atomic_file
from lora_core.data.metrics import METRICS
from lora_core.data.tasks import task_title
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import Layout
from lora_core.reporting.card_usage import max_length, usage
from lora_core.reporting.markdown import markdown_text

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData


def write_model_card(record: Path, out: Path, label: str, library: str | None, can_merge: bool) -> None:
    """Write the card of a run from its run.json.

    `label` is what pages call the method; `library` is the package that loads the run's weights, None if only this
    project does. With `can_merge` the card also describes the merged model.
    """
    with atomic_file(out) as temp_path:
        temp_path.write_text(model_card(RunRecord.read(record), label, library, can_merge), encoding="utf-8")


def model_card(run: RunRecord, label: str, library: str | None, can_merge: bool) -> str:
    """Return the card's text."""
    body = [
        f"# {label} on {task_title(run.task)}",
        "",
        _contents(run, library, can_merge),
        "",
        "| | |",
        "| --- | --- |",
    ]
    body += [f"| {name} | {markdown_text(value)} |" for name, value in _facts(run, label).items()]
    if run.energy.simulated:
        body += ["", "The power meter's driver was simulated: the energy was not measured."]
    body += usage(run, library)
    return "\n".join(["---", _metadata(run, library).to_yaml(), "---", "", *body, ""])


def _contents(run: RunRecord, library: str | None, can_merge: bool) -> str:
    """Where the weights are, and what loads them."""
    loader = f"the package `{library}` loads it" if library else "`lora_core.methods.registry.load` loads it"
    text = f"The folder `weights/` next to this file holds what was trained; {loader}."
    if can_merge:
        merged = Layout.merged.format(method=run.method, task=run.task, seed=run.seed)
        text += (
            f" In the same results folder, `{merged}/` is the base model with the adapter folded into its weights, "
            "which the package `transformers` loads."
        )
    return text


def _metadata(run: RunRecord, library: str | None) -> ModelCardData:
    """What the hub reads: the base model, the data, and the score of the weights."""
    from huggingface_hub import EvalResult, ModelCardData

    data = run.data.data
    source, hub_id = str(data["source"]), str(data["id"]) if data["source"] == "hub" else None
    is_glue = source != "user"
    result = EvalResult(
        task_type="text-classification",
        dataset_type=hub_id or source,
        dataset_name=f"{run.task} ({_listed(data)})",
        dataset_config=run.task if hub_id else None,
        dataset_split="validation",
        metric_type=METRICS[run.score.metric].hub_name,
        metric_value=round(run.score.last, 6),
    )
    return ModelCardData(
        language="en" if is_glue else None,
        base_model=run.base_model if run.base_model.count("/") <= 1 else None,
        library_name=library,
        pipeline_tag="text-classification",
        tags=[*(["glue"] if is_glue else []), run.kind],
        datasets=[hub_id] if hub_id else None,
        model_name=f"{run.method}-{run.task}-seed{run.seed}",
        eval_results=[result],
    )


def _facts(run: RunRecord, label: str) -> dict[str, str]:
    """The rows of the card's table."""
    data, score, parameters, provenance = run.data, run.score, run.parameters, run.provenance
    joules, paused = run.energy.train_joules, run.energy.suspended_seconds
    suspended = f", {paused:.1f} s of which the run was suspended" if paused else ""
    return {
        "method": f"{label} ({_listed(run.settings)})",
        "base model": run.model,
        "data": f"{run.task}, {_listed(data.data)}: {data.train.examples:,} training examples",
        f"{score.metric}, last epoch (these weights)": f"{score.last:.4f}",
        f"{score.metric}, best epoch": f"{score.best:.4f}, epoch {score.best_epoch}",
        "validation examples": f"{score.examples:,}",
        "labels": ", ".join(data.labels) or "a number",
        "maximum input length": f"{max_length(run)} tokens",
        "trained parameters": f"{parameters.trained_with_head:,}, {parameters.head:,} of them in the head",
        "training time": f"{run.train_seconds:.1f} s on {provenance.device_model}{suspended}",
        "training energy": f"n/a ({run.energy.reason})" if joules is None else f"{joules / 1e3:.3g} kJ",
        "seed": str(run.seed),
        "hyperparameters": _listed(run.hyperparameters),
        "code": f"commit {provenance.commit}{' with uncommitted changes' if provenance.dirty else ''}",
    }


def _listed(settings: Mapping[str, object]) -> str:
    """Settings as one phrase, without those that are None."""
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
