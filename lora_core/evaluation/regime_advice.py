"""What a user can do about the time of a step, from the measurement alone."""

from collections.abc import Iterator

import pandas as pd

from lora_core.evaluation.regime_record import Regimes

WAITS = {
    "launches": "for launches of its operations",
    "bytes": "for memory",
    "arithmetic": "for arithmetic",
    "random numbers": "for the random numbers of dropout",
}


def advice(regimes: Regimes, adapter: str) -> Iterator[str]:
    """Yield what the steps of the study's tasks wait for, and what would change that; `adapter` is the method's label.

    Sizes of the grid stand for the tasks where none of theirs was measured.
    """
    measured = regimes.steps[regimes.steps["time"].notna()]
    of_tasks = measured[measured["task"] != ""]
    shown = measured if of_tasks.empty else of_tasks
    for execution, steps in shown.groupby("execution", sort=False):
        row = steps.sort_values("tokens_per_step").iloc[len(steps) // 2]
        if not isinstance(row.get("waits_for"), str):
            continue
        where = f"{row['rows']} × {row['tokens']} tokens" + (" as a CUDA graph" if execution == "graphs" else "")
        yield (
            f"A step of {where} takes {adapter} {row['time']:.2f} of the time of full fine-tuning. It waits "
            f"{WAITS[row['waits_for']]} ({100 * row['waiting']:.0f} % of its predicted time). "
            f"{_remedy(row, measured, adapter, regimes.execution)}"
        )


def _remedy(row: pd.Series, measured: pd.DataFrame, adapter: str, execution: str) -> str:
    """What makes the difference between the methods larger or a step shorter; `execution` is that of the runs."""
    if row["waits_for"] == "launches":
        return _fewer_launches(row, measured, adapter, execution)
    if row["waits_for"] == "random numbers":
        return "`hyperparameters.dropout: 0.0` spares them, but trains another model."
    if row["waits_for"] == "bytes":
        return f"A lower precision moves fewer: {_command('precision', 'bf16')}."
    return (
        f"{adapter} saves the gradients of frozen weights, about a third of the arithmetic; a lower precision makes "
        f"both faster where the device has it: {_command('precision', 'bf16')}."
    )


def _command(setting: str, value: str) -> str:
    """The command that runs the study with another setting of training."""
    return f"""`snakemake --cores all --config 'train={{"{setting}": "{value}"}}'`"""


def _fewer_launches(row: pd.Series, measured: pd.DataFrame, adapter: str, execution: str) -> str:
    same = measured[(measured["tokens_per_step"] == row["tokens_per_step"]) & (measured["execution"] == "graphs")]
    if row["execution"] == "eager" and not same.empty:
        faster = same["lora_ms"].iloc[0] / row["lora_ms"]
        how = "which this study uses" if execution == "graphs" else _command("cuda_graphs", "auto")
        return (
            f"{adapter} cannot be much faster until it does not: as CUDA graphs ({how}) its step takes {faster:.2f} of "
            f"this time, and {same['time'].iloc[0]:.2f} of that of full fine-tuning."
        )
    largest = measured[measured["execution"] == row["execution"]].sort_values("tokens_per_step").iloc[-1]
    if largest["tokens_per_step"] > row["tokens_per_step"]:
        return (
            f"{adapter} cannot be much faster until it does not: with larger batches or longer inputs. At "
            f"{largest['tokens_per_step']:,} tokens a step the ratio is {largest['time']:.2f}."
        )
    return "Larger batches or longer inputs do more for each launch."
