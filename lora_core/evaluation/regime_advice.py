"""What a user can do about the time of a step, from the measurement alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from lora_core.evaluation.references import References
from lora_core.evaluation.regime_record import Regimes

WAITS = {
    "launches": "for launches of its operations",
    "bytes": "for memory",
    "arithmetic": "for arithmetic",
    "random numbers": "for the random numbers of dropout",
}


def advice(regimes: Regimes, references: References, adapter: str) -> Iterator[str]:
    """Yield what the steps of the study's tasks wait for, and what would change that; `adapter` is the method's label.

    Sizes of the grid stand for the tasks where none of theirs was measured.
    """
    measured = regimes.steps[regimes.steps["time"].notna()]
    of_tasks = measured[measured["task"] != ""]
    shown = measured if of_tasks.empty else of_tasks
    remedies = _Remedies(regimes, measured, references, adapter)
    for execution, steps in shown.groupby("execution", sort=False):
        row = steps.sort_values("tokens_per_step").iloc[len(steps) // 2]
        if not isinstance(row.get("waits_for"), str):
            continue
        where = f"{row['rows']} × {row['tokens']} tokens" + (" as a CUDA graph" if execution == "graphs" else "")
        yield (
            f"A step of {where} takes {adapter} {row['time']:.2f} of the time of full fine-tuning. It waits "
            f"{WAITS[row['waits_for']]} ({100 * row['waiting']:.0f} % of its predicted time). {remedies.of(row)}"
        )


@dataclass(frozen=True)
class _Remedies:
    """What makes the difference between the methods larger or a step shorter; `measured` are the steps with a time."""

    regimes: Regimes
    measured: pd.DataFrame
    references: References
    adapter: str

    def of(self, row: pd.Series) -> str:
        """Return the remedy for what a step waits for."""
        if row["waits_for"] == "launches":
            return self._fewer_launches(row)
        if row["waits_for"] == "random numbers":
            return "`hyperparameters.dropout: 0.0` spares them, but trains another model."
        if row["waits_for"] == "bytes":
            saved = f"{self.adapter} moves fewer bytes where frozen weights need no gradient and no update"
            return saved + self._lower_precision("moves fewer in the whole step")
        saved = f"{self.adapter} saves the gradients of frozen weights, about a third of the arithmetic"
        return saved + self._lower_precision("makes both methods faster")

    def _lower_precision(self, effect: str) -> str:
        if (lower := self.regimes.lower_precision) is not None:
            return f"; a lower precision {effect}: {_command('train', {'precision': lower})}."
        return (
            "."
            if self.regimes.precision in ("fp32", "tf32")
            else f"; the study trains in {self.regimes.precision} already."
        )

    def _fewer_launches(self, row: pd.Series) -> str:
        is_same = (self.measured["task"] == row["task"]) & (self.measured["tokens_per_step"] == row["tokens_per_step"])
        graphs = self.measured[is_same & (self.measured["execution"] == "graphs")]
        if row["execution"] == "eager" and not graphs.empty:
            faster, uses = graphs["lora_ms"].iloc[0] / row["lora_ms"], self.regimes.execution == "graphs"
            how = "which this study uses" if uses else _command("train", {"cuda_graphs": "auto"})
            return (
                f"{self.adapter} cannot be much faster until it does not: as CUDA graphs ({how}) its step takes "
                f"{faster:.2f} of this time, and {graphs['time'].iloc[0]:.2f} of that of full fine-tuning."
            )
        if row["rows_at_once"] < row["rows"]:
            return f"Whole batches, if they fit into memory, need fewer: {self._with('micro_batch_size', None)}."
        return self._larger_steps(row)

    def _larger_steps(self, row: pd.Series) -> str:
        """Larger batches, as large as the smallest measured step that does not wait for launches; else the largest."""
        same = self.measured[self.measured["execution"] == row["execution"]].sort_values("tokens_per_step")
        larger = same[same["tokens_per_step"] >= 2 * row["tokens_per_step"]]
        if larger.empty:
            return "Longer inputs or larger batches do more for each launch."
        enough = larger[larger["waits_for"] != "launches"]
        step = larger.iloc[-1] if enough.empty else enough.iloc[0]
        batch = int(row["rows"] * (step["tokens_per_step"] // row["tokens_per_step"]))
        return (
            f"{self.adapter} cannot be much faster until it does not: with longer inputs or larger batches, which also "
            f"change what is learned ({self._with('batch_size', batch)}). At {step['tokens_per_step']:,} tokens a step "
            f"the ratio is {step['time']:.2f}."
        )

    def _with(self, hyperparameter: str, value: int | None) -> str:
        """The command that trains both methods with another hyperparameter."""
        methods = [method for method in (self.references.full, self.references.adapter) if method]
        return _command("method_settings", {method: {"hyperparameters": {hyperparameter: value}} for method in methods})


def _command(section: str, values: dict[str, object]) -> str:
    """The command that runs the study with other values in a section of its configuration."""
    return f"`snakemake --cores all --config '{section}={json.dumps(values)}'`"
