"""The model card of a run: a README.md with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

import re
from pathlib import Path

from lora_core.atomic_files import atomic_file
from lora_core.data.tasks import task_title
from lora_core.decimals import plain
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import Layout
from lora_core.reporting.card_metadata import CardFacts, card_metadata, emissions_grams, hub_name, listed
from lora_core.reporting.card_usage import Repository, max_length, published_contents, published_usage, usage
from lora_core.reporting.markdown import markdown_text


def write_model_card(
    record: Path, out: Path, label: str, library: str | None, can_merge: bool, facts: CardFacts | None = None
) -> None:
    """Write the card of a run from its run.json.

    `label` is what pages call the method; `library` is the package that loads the run's weights, None if only this
    project does. With `can_merge` the card also describes the merged model.
    """
    text = model_card(RunRecord.read(record), label, library, can_merge, facts)
    with atomic_file(out) as temp_path:
        temp_path.write_text(text, encoding="utf-8")


def card_label(card: Path, run: RunRecord) -> str:
    """Return what the card of a run calls the method; its name in the configuration if there is no card."""
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    match = re.search(rf"^# (.+) on {re.escape(task_title(run.task))}$", text, re.MULTILINE)
    return match[1] if match else run.method


def model_card(
    run: RunRecord,
    label: str,
    library: str | None,
    can_merge: bool,
    facts: CardFacts | None = None,
    repository: Repository | None = None,
) -> str:
    """Return the card's text: that of a repository, or, if there is none, of the results folder."""
    facts = facts or CardFacts()
    if repository:
        contents, how_to_open = published_contents(run, library, repository), published_usage(run, library, repository)
    else:
        contents, how_to_open = _contents(run, library, can_merge), usage(run, library)
    body = [f"# {label} on {task_title(run.task)}", "", contents, "", "| | |", "| --- | --- |"]
    rows = _facts(run, label) | _emissions(run, facts)
    body += [f"| {name} | {markdown_text(value)} |" for name, value in rows.items()]
    if run.energy.simulated:
        body += ["", "The power meter's driver was simulated: the energy was not measured."]
    body += how_to_open
    return "\n".join(["---", card_metadata(run, library, facts).to_yaml(), "---", "", *body, ""])


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


def _facts(run: RunRecord, label: str) -> dict[str, str]:
    """The rows of the card's table."""
    data, score, parameters, provenance = run.data, run.score, run.parameters, run.provenance
    joules, paused = run.energy.train_joules, run.energy.suspended_seconds
    suspended = f", {paused:.1f} s of which the run was suspended" if paused else ""
    on = "" if run.test is None else " on the validation split"
    batches = {"batches": "inputs of one length each; padding changes this model's logits"}
    return {
        "method": f"{label} ({listed(run.settings)})",
        "base model": _base_model(run),
        "data": f"{run.task}, {listed(data.data)}: {data.train.examples:,} training examples",
        **_test_facts(run),
        f"{score.metric}{on}, last epoch (these weights)": f"{score.last:.4f}",
        f"{score.metric}{on}, best epoch": f"{score.best:.4f}, epoch {score.best_epoch}",
        "validation examples": f"{score.examples:,}",
        "labels": ", ".join(data.labels) or "a number",
        "maximum input length": f"{max_length(run)} tokens",
        "trained parameters": f"{parameters.trained_with_head:,}, {parameters.head:,} of them in the head",
        "training time": f"{run.train_seconds:.1f} s on {provenance.device_model}{suspended}",
        "training energy": f"n/a ({run.energy.reason})" if joules is None else f"{plain(joules / 1e3, 3)} kJ",
        "seed": str(run.seed),
        **(batches if run.equal_length_batches else {}),
        "hyperparameters": listed(run.hyperparameters),
        "code": f"commit {provenance.commit}{' with uncommitted changes' if provenance.dirty else ''}",
    }


def _base_model(run: RunRecord) -> str:
    """The base model's name and revision on the hub; the name in the study if it has none there."""
    revision = f", revision {run.base_revision}" if run.base_revision else ""
    return f"{hub_name(run)}{revision}" if hub_name(run) else run.model


def _test_facts(run: RunRecord) -> dict[str, str]:
    """The rows about the test split; none for a task without one."""
    test = run.test
    if test is None:
        return {}
    return {
        f"{test.metric} on the test split, last epoch (these weights)": f"{test.last:.4f}",
        f"{test.metric} on the test split, epoch chosen on the validation split": (
            f"{test.chosen:.4f}, epoch {test.chosen_epoch}"
        ),
        "test examples": f"{test.examples:,}",
    }


def _emissions(run: RunRecord, facts: CardFacts) -> dict[str, str]:
    """The row about the CO2 of the training energy, with the intensity that it follows from."""
    grams = emissions_grams(run, facts.grid_co2_grams_per_kwh)
    if grams is None:
        return {}
    return {"CO2 of the training energy": f"{plain(grams, 3)} g, at {facts.grid_co2_grams_per_kwh:g} g per kWh"}
