"""The answer in a few sentences at the head of the page, and where the records come from."""

from collections.abc import Iterable, Sequence
from statistics import fmean, geometric_mean

from lora_core.evaluation.counts import ParameterCounts
from lora_core.evaluation.references import References
from lora_core.provenance import Provenance
from lora_core.reporting.page.runs_table import RunRow


def summary(
    runs: Sequence[RunRow],
    counts: ParameterCounts,
    devices: set[str],
    references: References,
    disturbed: Sequence[str] = (),
) -> list[str]:
    """Compare LoRA with full fine-tuning in plain sentences, from means over all runs.

    `devices` are those that the runs were measured on, `disturbed` the names of the runs whose time is not their own.
    """
    full, adapter = references.full, references.adapter
    if full is None or adapter is None or not {full, adapter} <= {run.method for run in runs}:
        reason = references.missing("full", "adapter") or "not all of their runs are in this study"
        return [f"LoRA and full fine-tuning cannot be compared here: {reason}."]
    means = _Means(runs, full, adapter)
    trained = counts.methods[adapter].trainable
    sentences = [
        f"LoRA trains {trained:,} parameters and the head, {100 * trained / counts.full:.2g} % of the model's "
        f"{counts.full:,}."
    ]
    if scores := means.both("score.best"):
        sentences.append(
            f"Best score, mean over tasks and seeds: full fine-tuning {100 * scores[0]:.1f} %, LoRA "
            f"{100 * scores[1]:.1f} %."
        )
    if len(devices) > 1:
        return [*sentences, f"Measured on {len(devices)} devices, so time and energy have no mean."]
    sentences += means.costs("train_seconds", "Training one run takes", "s", 1.0)
    energy = means.costs("energy.train_joules", "It takes", "kJ", 1e-3)
    sentences += energy or ["Energy was not measured for all runs."]
    if disturbed:
        sentences.append(
            f"Time and energy include those of disturbed runs, so their ratios decide nothing: {', '.join(disturbed)}."
        )
    return sentences


class _Means:
    """Means over the runs of full fine-tuning and of the LoRA under test."""

    def __init__(self, runs: Sequence[RunRow], full: str, adapter: str) -> None:
        self.runs = {method: [run for run in runs if run.method == method] for method in (full, adapter)}

    def both(self, quantity: str) -> tuple[float, float] | None:
        """Return the means of full fine-tuning and LoRA; None if a run has no value."""
        values = [[run.quantities.get(quantity) or "" for run in runs] for runs in self.runs.values()]
        if not all(value for texts in values for value in texts):
            return None
        full, adapter = (fmean(map(float, texts)) for texts in values)
        return full, adapter

    def costs(self, quantity: str, start: str, unit: str, factor: float) -> list[str]:
        """Return a sentence about a cost; none if it was not measured for all runs."""
        means = self.both(quantity)
        # Older records have 0 J of a meter that stood still.
        if means is None or any(float(run.quantities[quantity]) <= 0 for runs in self.runs.values() for run in runs):
            return []
        full, adapter = (factor * value for value in means)
        ratio = f"{self.geometric_ratio(quantity):.2f} (geometric mean over tasks; of the sums {adapter / full:.2f})"
        return [
            f"{start} {full:,.3g} {unit} with full fine-tuning and {adapter:,.3g} {unit} with LoRA, over all planned "
            f"epochs: a ratio of {ratio}."
        ]

    def geometric_ratio(self, quantity: str) -> float:
        """Return the geometric mean over tasks of LoRA's mean over seeds relative to that of full fine-tuning."""
        full, adapter = (
            {
                task: fmean(float(run.quantities[quantity]) for run in runs if run.task == task)
                for task in {run.task for run in runs}
            }
            for runs in self.runs.values()
        )
        return geometric_mean(adapter[task] / full[task] for task in full.keys() & adapter.keys())


def provenance(origins: Iterable[Provenance]) -> dict[str, str]:
    """Return where results come from: each fact with all the values that it has among them."""
    values: dict[str, list[str]] = {}
    for origin in origins:
        commit = origin.commit or "no checkout"
        facts = {
            "code": f"{commit[:12]}{' with changes' if origin.dirty else ''}",
            "device": origin.device_model,
            "threads": origin.threads,
            "CUDA": origin.cuda,
            "cuDNN": origin.cudnn,
            "precision": origin.precision,
            "python": origin.python,
            **origin.packages,
        }
        for name, value in facts.items():
            known = values.setdefault(name, [])
            if value is not None and str(value) not in known:
                known.append(str(value))
    return {name: ", ".join(known) for name, known in values.items() if known}
