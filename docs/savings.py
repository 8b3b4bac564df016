"""Writes the tables of docs/regimes.md that join time and memory, from docs/records/h200 (`make pictures`)."""

from collections.abc import Sequence

import pandas as pd
import results_gpu

from lora_core.reporting.published import TABLES as PUBLISHED

# Of RoBERTa-base with a head of two classes, and what LoRA of rank 8 on query and value trains of it, with the head.
PARAMETERS, TRAINED = 124_647_170, 294_912 + 592_130
# Bytes in float32: a weight, and what training adds to it: a gradient and AdamW's two moments.
WEIGHT, TRAINING = 4, 12
GPT3_FASTER = 25.0  # percent: Hu et al. 2021, as the paper quotes it


def savings(steps: pd.DataFrame) -> pd.DataFrame:
    """Percent of full fine-tuning's time, energy and memory that a step of LoRA saves, by rows and tokens.

    `steps` are those of `regimes.compared`. Memory: weights, gradients, AdamW's state and what was counted as saved for
    the backward pass.
    """
    full, lora = (_memory_mb(*trained) for trained in ((PARAMETERS, 0), (TRAINED, PARAMETERS + 294_912 - TRAINED)))
    memory = (lora + steps["saved_mb_lora"]) / (full + steps["saved_mb_full"])
    ratios = pd.DataFrame({"time": steps["time"], "energy": steps["energy"], "memory": memory})
    places = [f"{row['rows']:.0f} × {row['tokens']:.0f}" for _, row in steps.iterrows()]
    return 100 * (1 - ratios.set_axis(places))


def _memory_mb(trained: int, frozen: int) -> float:
    return (trained * (WEIGHT + TRAINING) + frozen * WEIGHT) / 1e6


def tables(steps: pd.DataFrame) -> dict[str, Sequence[str]]:
    """The tables by the name of their marker; `steps` are those of `regimes.compared` as CUDA graphs."""
    saved = savings(steps)
    rows = (
        [place, f"{tokens:,.0f}", *(f"{row[name]:.0f}" for name in ("time", "energy", "memory"))]
        for tokens, (place, row) in zip(steps["tokens_per_step"], saved.iterrows(), strict=True)
    )
    head = ("rows × tokens", "tokens per step", "time saved (%)", "energy saved (%)", "memory saved (%)")
    return {"savings": results_gpu.markdown_table(head, rows), "points": _points(saved)}


def _points(saved: pd.DataFrame) -> list[str]:
    """At which of the sizes the same is saved as was published."""
    (memory,) = PUBLISHED["scaling"].row("RoBERTa-base").values
    points = (
        (f"{memory:g} % of the memory (the paper: RoBERTa-base, mean of five tasks)", "memory", memory),
        (f"{_paper_faster():.1f} % of an epoch's time (the paper, mean of five tasks)", "time", _paper_faster()),
        (f"{GPT3_FASTER:g} % of the time (Hu et al.: GPT-3 175B)", "time", GPT3_FASTER),
    )
    rows = ([label, _places(saved[column], percent)] for label, column, percent in points)
    return results_gpu.markdown_table(("published", "as much is saved here at"), rows)


def _paper_faster() -> float:
    """By how many percent an epoch of LoRA is faster in the paper: the mean over its tasks."""
    full, lora = PUBLISHED["table5"], PUBLISHED["table6"]

    def ratio(label: str, task: str) -> float:
        return lora.value(label, task) / full.value(label, task)

    ratios = [ratio("train time (s)", task) / ratio("epochs", task) for task in full.columns]
    return 100 * (1 - sum(ratios) / len(ratios))


def _places(curve: pd.Series, percent: float) -> str:
    """Between which sizes a curve last passes a value, or which size is the nearest."""
    names = [f"{place} tokens ({value:.0f} %)" for place, value in curve.items()]
    above = [value >= percent for value in curve]
    crossings = [i for i in range(len(above) - 1) if above[i] != above[i + 1]]
    if crossings:
        return f"between {names[crossings[-1]]} and {names[crossings[-1] + 1]}"
    return names[int((curve - percent).abs().reset_index(drop=True).idxmin())]
