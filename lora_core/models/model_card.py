"""Model cards: the README.md of a weights folder, with the metadata that the Hugging Face hub reads."""

from typing import Any

# As the hub calls them.
METRICS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
NAME = "README.md"


def card(record: dict[str, Any], library: str | None, note: str = "") -> str:
    """The card of a run's weights, from what run.json holds; `library` loads them, None where none does by itself."""
    from huggingface_hub import EvalResult, ModelCardData

    run, measured, place = record["run"], record["measurement"], record["provenance"]
    data, score = run["data"], measured["score"]
    source, task, metric = data["data"], run["task"], score["metric"]
    base, of_hub = run["base_model"], source.get("source") == "hub"
    metadata = ModelCardData(
        language="en" if source.get("source") != "own" else None,
        base_model=base if base.count("/") <= 1 else None,
        library_name=library,
        pipeline_tag="text-classification",
        tags=[*(["glue"] if source.get("source") != "own" else []), run["settings"]["kind"]],
        datasets=[source["id"]] if of_hub else None,
        model_name=f"{run['method']}-{run['task']}-seed{run['seed']}",
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=source["id"] if of_hub else str(source.get("source")),
                dataset_name=f"{task} ({_words(source)})",
                dataset_config=run["task"] if of_hub else None,
                dataset_split="validation",
                metric_type=METRICS[metric],
                metric_value=round(score["last"], 6),
            )
        ],
    )
    energy = measured["energy"]
    joules = energy["train_joules"]
    facts = {
        "method": f"{run['method']} ({_words(run['settings'])})",
        "base model": run["model"],
        "data": f"{task}, {_words(source)}: {data['train']['examples']:,} training examples",
        f"{metric}, last epoch (these weights)": f"{score['last']:.4f}",
        f"{metric}, best epoch": f"{score['best']:.4f}, epoch {score['best_epoch']}",
        "validation examples": f"{score['examples']:,}",
        "labels": ", ".join(data["labels"]) or "a number",
        "trained parameters": f"{measured['parameters']['trained_with_head']:,}, "
        f"{measured['parameters']['head']:,} of them in the head",
        "training": f"{measured['train_seconds']:.1f} s on {place['device_model']}",
        "energy of training": f"n/a ({energy['reason']})" if joules is None else f"{joules / 1e3:.3g} kJ",
        "seed": str(run["seed"]),
        "hyperparameters": _words(run["hyperparameters"]),
        "code": f"commit {place['commit']}{' with changes' if place['dirty'] else ''}",
    }
    body = [f"# {run['method']} on {task}", "", "| | |", "| --- | --- |"]
    body += [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    if run["simulated"]:
        body += ["", "The power meter's driver was simulated: the energy was not measured."]
    if note:
        body += ["", note]
    return "\n".join(["---", metadata.to_yaml(), "---", "", *body, ""])


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
