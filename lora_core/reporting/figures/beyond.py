"""Figures beyond the paper's: memory against model size, and sweeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.evaluation.frames import by_task, read_costs, read_scaling
from lora_core.records import FULL, read_json
from lora_core.reporting.figures.style import (
    COLORS,
    DASHES,
    GREY,
    INK,
    SMALL,
    legend,
    looks,
    mark,
    of_seeds,
    panels,
    task_rows,
    title,
)
from lora_core.reporting.published import TABLES
from lora_core.reporting.rendering import sweep_label


def scaling(records: Path) -> tuple[Any, pd.DataFrame]:
    """What LoRA saves of training memory against the model's size, a line for each batch, with the published points."""
    predicted, counted = read_scaling(records, "predicted"), read_scaling(records, "counted")
    figure, (panel,) = panels([""], height=3.0, legend_rows=4)
    batches = predicted.groupby(["batch", "tokens"], sort=False)
    for ((batch, tokens), group), color, dashes in zip(batches, COLORS, DASHES, strict=False):
        panel.plot(
            group["parameters"], 100 * group["saved"], label=f"{batch} × {tokens} tokens", color=color, ls=dashes
        )
        dominated = group[group["activations"] >= 0.5]
        panel.plot(dominated["parameters"], 100 * dominated["saved"], "o", color=color)
    panel.plot(
        counted["parameters"], 100 * counted["saved"], "x", color=INK, markersize=8, label="counted on a real step"
    )
    panel.plot(
        counted["parameters"],
        100 * counted["saved_at_peak"],
        "+",
        color=INK,
        markersize=9,
        label="resident memory, peak",
    )
    sizes = predicted.set_index("model")["parameters"]
    for name, (saved,) in TABLES["scaling"].rows.items():
        star = {"color": INK, "markersize": 11, "label": f"published: {name} {saved:g} %"}
        panel.plot(sizes[name].iloc[0], saved, "*", linestyle="none", **star)
    panel.axhline(75, color=GREY, linewidth=0.8)
    panel.text(predicted["parameters"].min(), 75.5, "without activations", fontsize=SMALL)
    panel.set_xscale("log")
    panel.set_ylim(0, 82)
    panel.set_xlabel("parameters of the model")
    panel.set_ylabel("training memory that LoRA saves, %")
    legend(figure, [panel], columns=2)
    title(
        figure,
        "Training memory saved by LoRA, predicted from shapes (float32, AdamW). Dots: activations are the larger part "
        "of full fine-tuning.",
    )
    return figure, pd.concat([predicted.assign(kind="predicted"), counted.assign(kind="counted")])


def sweep(
    counts: Path, score_files: Sequence[str], cost_files: Sequence[str], swept: dict[str, dict[str, Any]]
) -> tuple[Any, pd.DataFrame]:
    """Best score, and seconds an epoch, of every combination of a sweep against the parameters it trains."""
    trainable = {method: count["trainable"] for method, count in read_json(counts)["methods"].items()}
    runs = by_task(score_files).merge(read_costs(cost_files)[["method", "task", "seed", "seconds_per_epoch"]])
    runs = runs[runs["method"].isin([*swept, FULL])].assign(parameters=runs["method"].map(trainable))
    lines: dict[str, list[str]] = {}  # a line joins what differs in the first of its sweep's keys alone
    for method, one in swept.items():
        rest = dict(list(one["values"].items())[1:])
        lines.setdefault(", ".join(filter(None, [one["entry"], sweep_label(rest)])), []).append(method)
    look = looks(lines)
    figure, parts = task_rows(runs, legend_rows=len(lines), sharex="col")
    for _, group, (left, right) in parts:
        for label, names in lines.items():
            found = group[group["method"].isin(names)].groupby("method", sort=False)
            for panel, column, factor in ((left, "best", 100), (right, "seconds_per_epoch", 1)):
                means, spread = found[column].mean() * factor, found[column].std().fillna(0) * factor
                drawn = panel.errorbar(
                    found["parameters"].first(), means, spread, label=label, capsize=2, **look[label]
                )
                mark(drawn.lines[0], label, label)
        full = group.loc[group["method"] == FULL, "best"]
        if len(full):
            left.axhline(100 * full.mean(), color=GREY, linewidth=0.8)
            left.text(0.01, 100 * full.mean(), FULL, fontsize=SMALL, va="bottom", transform=left.get_yaxis_transform())
        right.set_ylim(bottom=0)
        left.set_ylabel("best score, %")
        right.set_ylabel("seconds an epoch")
        for panel in (left, right):
            panel.set_xscale("log")
            panel.set_xlabel("trainable parameters")
    legend(figure, [left for _, _, (left, _) in parts], columns=1)
    title(
        figure,
        f"Score and time against trained parameters: mean and standard deviation, {of_seeds(runs)}.",
    )
    return figure, runs
