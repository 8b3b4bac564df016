"""Figures beside the tables beyond the paper's: memory against model size, sweeps, convergence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.figures import STYLES, axes_of, save
from lora_core.more_tables import read_scaling, sweep_label
from lora_core.published import TABLES
from lora_core.records import FULL, OWN, read_json
from lora_core.tables import by_task, read_costs
from lora_core.tasks import task_title

MARKERS = "os^Dv<>*XP"


def scaling(records: Path, svg: Path) -> None:
    """What LoRA saves of training memory against the model's size, a line for each batch, with the published points."""
    predicted, counted = read_scaling(records, "predicted"), read_scaling(records, "counted")
    figure, ((axes,),) = axes_of(1, 1, width=7.0)
    for ((batch, tokens), group), style in zip(predicted.groupby(["batch", "tokens"], sort=False), STYLES, strict=True):
        axes.plot(group["parameters"], 100 * group["saved"], label=f"{batch} × {tokens} tokens", **style)
        dominated = group[group["activations"] >= 0.5]
        axes.plot(dominated["parameters"], 100 * dominated["saved"], "o", color=style["color"], markersize=4)
    axes.plot(counted["parameters"], 100 * counted["saved"], "kx", markersize=8, label="counted on a real step")
    sizes = predicted.set_index("model")["parameters"]
    for name, (saved,) in TABLES["scaling"].rows.items():
        axes.plot(sizes[name].iloc[0], saved, "k*", markersize=11, label=f"published: {name} {saved:g} %")
    axes.axhline(75, color="#888888", linewidth=0.8)
    axes.text(predicted["parameters"].min(), 75.5, "without activations", fontsize=8, color="#555555")
    axes.set_xscale("log")
    axes.set_ylim(0, 82)
    axes.set_xlabel("parameters of the model")
    axes.set_ylabel("training memory that LoRA saves, %")
    axes.legend(frameon=False, fontsize=8, title="dots: activations are the larger part", title_fontsize=8)
    figure.suptitle("Training memory saved by LoRA, predicted from shapes (float32, AdamW)", x=0.01, ha="left")
    save(figure, pd.concat([predicted.assign(kind="predicted"), counted.assign(kind="counted")]), svg)


def sweep(
    counts: Path, score_files: Sequence[str], cost_files: Sequence[str], swept: dict[str, dict[str, Any]], svg: Path
) -> None:
    """Best score, and seconds an epoch, of every combination of a sweep against the parameters it trains."""
    trainable = {method: count["trainable"] for method, count in read_json(counts)["methods"].items()}
    runs = by_task(score_files).merge(read_costs(cost_files)[["method", "task", "seed", "seconds_per_epoch"]])
    runs = runs[runs["method"].isin([*swept, FULL])].assign(parameters=runs["method"].map(trainable))
    figure, axes = axes_of(2, runs["task"].nunique())
    lines: dict[str, list[str]] = {}  # a line joins what differs in the first of its sweep's keys alone
    for method, combination in swept.items():
        rest = dict(list(combination["values"].items())[1:])
        lines.setdefault(", ".join(filter(None, [combination["entry"], sweep_label(rest)])), []).append(method)
    for (task, group), (above, below) in zip(runs.groupby("task", sort=False), axes.T, strict=True):
        for (label, names), style in zip(lines.items(), STYLES * len(lines), strict=False):
            for panel, column, factor in ((above, "best", 100), (below, "seconds_per_epoch", 1)):
                found = group[group["method"].isin(names)].groupby("method", sort=False)
                sizes, means, spread = found["parameters"].first(), found[column].mean(), found[column].std().fillna(0)
                how = {"label": label, "capsize": 2, "marker": "o", "markersize": 3, **style}
                panel.errorbar(sizes, means * factor, spread * factor, **how)
        full = group.loc[group["method"] == FULL, "best"]
        if len(full):
            above.axhline(100 * full.mean(), color="#555555", linewidth=0.8)
            above.text(0.01, 100 * full.mean(), FULL, fontsize=8, va="bottom", transform=above.get_yaxis_transform())
        above.set_title(task_title(str(task)))
        below.set_xlabel("trainable parameters")
        below.set_xscale("log")
        below.set_ylim(bottom=0)
    axes[0, 0].set_ylabel("best score, %")
    axes[1, 0].set_ylabel("seconds an epoch")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"Score and time against trained parameters, n = {runs['seed'].nunique()} seeds", x=0.01, ha="left")
    save(figure, runs, svg)


def convergence(curve_files: Sequence[str], cost_files: Sequence[str], svg: Path) -> None:
    """Score after each epoch, mean over seeds, of every method; the iso-accuracy line drawn in."""
    curves = by_task(curve_files).assign(task=lambda frame: frame["task"].str.removesuffix("_curve"))
    thresholds = by_task(cost_files).groupby("task")["threshold"].first()
    tasks = list(dict.fromkeys(curves["task"]))
    figure, axes = axes_of(1, len(tasks), height=4.0)
    methods = list(dict.fromkeys(curves["method"]))
    for task, panel in zip(tasks, axes[0], strict=True):
        for i, method in enumerate(methods):
            own = curves[(curves["method"] == method) & (curves["task"] == task)]
            means = 100 * own.groupby("epoch")["score"].mean()
            known = method in (FULL, OWN)
            panel.plot(means.index, means, marker=MARKERS[i % len(MARKERS)], markersize=4, label=method,
                       linewidth=2 if known else 1, **STYLES[i % len(STYLES)])  # fmt: skip
        if not pd.isna(thresholds[task]):
            panel.axhline(100 * thresholds[task], color="#555555", linewidth=0.8)
            panel.text(0.99, 100 * thresholds[task], "equal accuracy", fontsize=8, ha="right", va="bottom",
                       transform=panel.get_yaxis_transform())  # fmt: skip
        panel.set_title(task_title(task))
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("score on the validation split, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle(f"Score after each epoch, mean of {curves['seed'].nunique()} seeds", x=0.01, ha="left")
    save(figure, curves, svg)
