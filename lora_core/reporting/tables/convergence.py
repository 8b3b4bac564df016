"""Tables beyond the paper's: memory against model size, sweeps, and what helps training converge or saves memory."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import by_task, read_costs, read_memory, read_scaling
from lora_core.records import FULL, OWN, read_json
from lora_core.reporting.rendering import NA, Cell, Table, sweep_labels
from lora_core.reporting.tables import median_cell, score_cell, shared_note
from lora_core.stats import MIN_SEEDS, t_interval

# What training to the threshold costs, in words and by its column.
RATIOS = {
    "epochs to the threshold": "epochs_to_seed_threshold",
    "time to the threshold": "seconds_to_seed_threshold",
    "energy to the threshold": "energy_to_seed_threshold_joules",
    "time of an epoch": "seconds_per_epoch",
    "saved for backward": "saved_for_backward_mb",
}
TO_THRESHOLD = ("_to_seed_threshold", "_to_seed_threshold_joules")


def crossover(frame: pd.DataFrame) -> float | None:
    """Parameters at which activations are half of what full fine-tuning needs, between two sizes; None outside.

    `frame` holds one batch's rows by rising size; interpolated over the logarithm of the size.
    """
    sizes, shares = np.log(frame["parameters"].to_numpy(float)), frame["activations"].to_numpy()
    for i in range(len(shares) - 1):
        if shares[i] >= 0.5 > shares[i + 1]:
            return float(np.exp(np.interp(-0.5, -shares[i : i + 2], sizes[i : i + 2])))
    return None


def scaling(file: Path) -> Table:
    """Training memory of full fine-tuning and LoRA against model size."""
    predicted, real = read_scaling(file, "predicted"), read_scaling(file, "counted")
    cells: list[Cell] = []
    notes: list[str] = []
    for frame, suffix in ((predicted, ""), (real, ", counted on a real step")):
        for _, row in frame.iterrows():
            name = f"{row['batch']}×{row['tokens']}: {row['model']}{suffix}"
            cells += [
                Cell(name, "parameters (M)", row["parameters"] / 1e6, f"{row['parameters'] / 1e6:,.1f}"),
                Cell(name, "FFT, GB", row["fft_mb"] / 1e3, _gigabytes(row["fft_mb"])),
                Cell(name, "LoRA, GB", row["lora_mb"] / 1e3, _gigabytes(row["lora_mb"])),
                Cell(name, "saved by LoRA", row["saved"], f"{100 * row['saved']:.0f} %"),
                Cell(name, "activations in FFT", row["activations"], f"{100 * row['activations']:.0f} %"),
            ]
    for _, row in real.iterrows():
        name = f"{row['batch']}×{row['tokens']}: {row['model']}, resident memory at its peak"
        cells += [
            Cell(name, "FFT, GB", row["fft_peak_mb"] / 1e3, _gigabytes(row["fft_peak_mb"])),
            Cell(name, "LoRA, GB", row["lora_peak_mb"] / 1e3, _gigabytes(row["lora_peak_mb"])),
            Cell(name, "saved by LoRA", row["saved_at_peak"], f"{100 * row['saved_at_peak']:.0f} %"),
        ]
    for (batch, tokens), group in predicted.groupby(["batch", "tokens"], sort=False):
        at = crossover(group)
        if at is None:
            where = "at no size here" if group["activations"].iloc[0] < 0.5 else "at every size here"
            notes.append(f"{batch}×{tokens}: activations are the larger part of full fine-tuning {where}.")
        else:
            below, above = group[group["parameters"] <= at].iloc[-1], group[group["parameters"] > at].iloc[0]
            notes.append(
                f"{batch}×{tokens}: activations stop to be the larger part of full fine-tuning at about "
                f"{at / 1e6:,.0f} million parameters, between {below['model']} and {above['model']}."
            )
    notes += [
        "Batch × padded tokens; weights, gradients, AdamW's state and what is saved for backward, in float32, "
        "10^9 bytes. Predicted on the meta device from shapes, each model as an encoder of that shape, LoRA of rank 8 "
        "on query and value. Counted: the same on a real step with random weights on this machine.",
        "Resident memory: by how much a process of its own grew over two such steps, at its peak, as the operating "
        "system tells. Gradients are freed before the next forward pass, so that not all of the sum need be there at "
        "once; what an operation holds for a moment comes on top.",
        "Attention's probabilities are counted whole; a fused kernel keeps less, the more so the longer the input.",
        "Without activations LoRA would save close to 75 %: of weights, gradients and two moments the weights stay.",
    ]
    return Table("scaling", "Training memory against model size", "batch × tokens: model", cells, notes)


def _gigabytes(mb: float) -> str:
    return f"{mb / 1e3:,.0f}" if mb >= 1e5 else f"{mb / 1e3:.3g}"


def sweep(
    counts_file: Path,
    score_files: Sequence[str | Path],
    cost_files: Sequence[str | Path],
    swept: dict[str, dict[str, Any]],
) -> Table:
    """Score, parameters and time of every combination of a sweep; `swept` has each method's entry and values."""
    counts, costs, scores = read_json(counts_file)["methods"], read_costs(cost_files), by_task(score_files)
    cells: list[Cell] = []
    for method, row in sweep_labels(swept).items():
        trainable = counts[method]["trainable"]
        cells.append(Cell(row, "trainable parameters", trainable, f"{trainable:,}"))
        for task, group in scores[scores["method"] == method].groupby("task", sort=False):
            cells.append(score_cell(row, f"{task_title(str(task))}: best score", list(group["best"])))
        for task, group in costs[costs["method"] == method].groupby("task", sort=False):
            seconds = group["seconds_per_epoch"]
            column = f"{task_title(str(task))}: seconds an epoch"
            cells.append(median_cell(row, column, seconds, seconds.notna(), lambda value: f"{value:.2f}"))
    notes = [
        "Scores in percent, best epoch, mean ± standard deviation over seeds; seconds of training, median over seeds.",
        "LoRA's scale is alpha / rank: with one alpha a higher rank is scaled down.",
    ]
    return Table("sweep", "Sweep", "method", cells, notes)


def convergence(cost_files: Sequence[str | Path], run_files: Sequence[str | Path]) -> Table:
    """What helps: epochs, time and energy to the threshold, and what is kept for backward, against LoRA and FFT."""
    costs = read_costs(cost_files).merge(
        read_memory(run_files)[["method", "task", "seed", "saved_for_backward_mb"]], on=["method", "task", "seed"]
    )
    methods, tasks = list(dict.fromkeys(costs["method"])), list(dict.fromkeys(costs["task"]))
    cells: list[Cell] = []
    for method in methods:
        for task in tasks:
            epochs = costs.loc[(costs["method"] == method) & (costs["task"] == task), "epochs_to_threshold"]
            cells.append(median_cell(f"{method}: epochs", task_title(task), epochs, epochs.notna(), "{:.3g}".format))
    found: dict[str, dict[str, list[str]]] = {}
    for against in (OWN, FULL):
        for label, quantity in RATIOS.items():
            for method in (m for m in methods if m != against):
                for task in tasks:
                    row = f"{method} / {against}: {label}"
                    cell, verdict = ratio_cell(
                        row, task_title(task), costs[costs["task"] == task], quantity, method, against
                    )
                    cells.append(cell)
                    if verdict in ("less", "more"):
                        side = "Below" if verdict == "less" else "Above"
                        where = found.setdefault(f"{side} {against} in {label}", {}).setdefault(method, [])
                        where.append(task_title(task))
    planned = sorted({f"{epochs:g}" for epochs in costs["planned_epochs"]})
    compared = sum(cell.low is not None for cell in cells)
    vague = [task_title(str(t)) for t, g in costs.groupby("task", sort=False) if not _meaningful(g)]
    notes = [
        "Epochs: to the task's threshold, median over seeds. Ratios: paired by seed, each seed to its own threshold, "
        "min(FFT, LoRA) of that seed - 0.5 points, which those two always reach; geometric mean with the 95% "
        f"t-interval, {compared} of them, one in twenty of which misses by chance; none below {MIN_SEEDS} seeds, and "
        "none where a run of either side never got there. less, more: the interval lies on one side of 1; "
        "named below, with the tasks in brackets where it is not all of them.",
        f"Epochs planned: {', '.join(planned)}. A threshold is met at the end of an epoch: epochs are whole, and where "
        "all seeds agree on them their spread is not known, which decides nothing.",
        "Time compares implementations too: PEFT's layers are not own LoRA's; `lora_peft`, where it is in the study, "
        "is LoRA by PEFT.",
        *(
            f"{what}: {', '.join(_on(method, there, len(tasks)) for method, there in where.items())}."
            for what, where in found.items()
        ),
    ]
    if vague:
        notes.append(
            f"No threshold, or within 2 points of the constant guess, nothing to it is compared: {', '.join(vague)}."
        )
    return Table(
        "convergence", "What helps to converge, and what saves memory", "quantity", cells, notes + shared_note(costs)
    )


def _on(method: str, there: list[str], tasks: int) -> str:
    """A method, with the tasks in brackets where it is not all of them."""
    return method if len(there) == tasks else f"{method} ({', '.join(there)})"


def _meaningful(costs: pd.DataFrame) -> bool:
    """Whether a task's threshold says anything."""
    return bool((costs["threshold_meaningful"].astype(str) == "True").all())


def ratio_cell(
    row: str, column: str, costs: pd.DataFrame, quantity: str, method: str, against: str
) -> tuple[Cell, str | None]:
    """The ratio of a quantity of one task, paired by seed, and whether it is certainly less or more.

    None where it was not measured on both sides, or on two devices, and for costs up to a threshold that says nothing.
    """
    if quantity.endswith(TO_THRESHOLD) and not _meaningful(costs):
        return Cell(row, column, None, NA), None
    pairs, devices = (
        costs.pivot(index="seed", columns="method", values=name).reindex(columns=[method, against])
        for name in (quantity, "device")
    )
    one_device = (devices[method] == devices[against]).all()
    if pairs.isna().any(axis=None) or not one_device:
        return Cell(row, column, None, NA, n=len(pairs.dropna())), None
    logs = np.log(pairs[method].astype(float) / pairs[against].astype(float))
    ratio = math.exp(logs.mean())
    interval = t_interval(list(logs)) if len(logs) >= MIN_SEEDS else None
    if interval is None:
        return Cell(row, column, ratio, f"{ratio:.2f}", n=len(logs)), None
    low, high = math.exp(interval.low), math.exp(interval.high)
    certain = quantity != "epochs_to_seed_threshold" or low < high
    verdict = "less" if high < 1 and certain else "more" if low > 1 and certain else None
    text = " ".join([f"{ratio:.2f} [{low:.2f}, {high:.2f}]", *([verdict] if verdict else [])])
    return Cell(row, column, ratio, text, n=len(logs), low=low, high=high), verdict
