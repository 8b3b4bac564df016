"""Figures from records, as SVG with the CSV they were drawn from beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lora_core.more_tables import read_scaling, sweep_label
from lora_core.published import TABLES
from lora_core.records import FULL, OWN, read_checked, read_json, whole_file
from lora_core.rendering import task_title
from lora_core.tables import by_task, read_costs

WINDOW = 25  # steps over which a loss curve is averaged for the eye
# Okabe and Ito's colours, apart for colour-blind readers; the dashes keep them apart in grey.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": (0, (4, 2))},
    {"color": "#009E73", "linestyle": (0, (1, 1))},
    {"color": "#CC79A7", "linestyle": (0, (6, 1, 1, 1))},
)
MARKERS = "os^Dv<>*XP"


def read_losses(folders: Sequence[Path]) -> pd.DataFrame:
    """One row a step of every run: method, task, seed, step (from 1), loss."""
    from safetensors.numpy import load_file

    parts = []
    for folder in folders:
        run = read_checked(folder / "run.json", "predictions.safetensors")["run"]
        losses = load_file(folder / "predictions.safetensors")["step_losses"]
        parts.append(
            pd.DataFrame(
                {
                    "method": run["method"],
                    "task": run["task"],
                    "seed": run["seed"],
                    "step": np.arange(1, len(losses) + 1),
                    "loss": losses,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def loss_curves(folders: Sequence[Path], svg: Path) -> None:
    """Training loss of several methods at one seed, one on the other, and how far each is from the first.

    A column of panels for each task. Methods that compute the same from the same seed differ by rounding alone: their
    relative difference starts near 1e-7 and grows as two orders of summation drift apart.
    """
    losses = read_losses(folders)
    figure, axes = _axes(2, losses["task"].nunique())
    for (task, group), (above, below) in zip(losses.groupby("task", sort=False), axes.T, strict=True):
        curves = group.pivot(index="step", columns="method", values="loss")[group["method"].unique()]
        first = curves.columns[0]
        for method, style in zip(curves.columns, STYLES * len(curves.columns), strict=False):
            smooth = curves[method].dropna().rolling(WINDOW, min_periods=1).mean()
            above.plot(smooth.index, smooth, label=method, linewidth=1.5, **style)
            if method != first:
                _differences(below, curves[method], curves[first], style["color"])
        above.set_title(task_title(str(task)))
        below.set_xlabel("step")
    axes[0, 0].set_ylabel(f"training loss\n(mean of {WINDOW} steps)")
    axes[1, 0].set_ylabel(f"relative difference\nfrom {losses['method'].iloc[0]}, each step")
    axes[0, 0].legend(frameon=False)
    figure.suptitle(f"Training loss, seed {losses['seed'].iloc[0]}", x=0.01, ha="left")
    _save(figure, losses, svg)


def _differences(axes: Any, curve: pd.Series, first: pd.Series, color: str) -> None:
    """Dots of the relative difference at the steps where there is one, and in words how many those are."""
    apart = ((curve - first).abs() / first.abs()).dropna()
    differ = apart[apart > 0]
    if differ.empty:
        axes.set_yticks([])
        words, height = f"{curve.name} is the same at each\nof {len(apart):,} steps, bit for bit", 0.5
    else:
        axes.plot(differ.index, differ, ".", markersize=2, color=color)
        axes.set_yscale("log")
        words, height = f"{curve.name} differs in {len(differ):,} of {len(apart):,} steps", 0.03
    axes.text(0.97, height, words, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)


def scaling(records: Path, svg: Path) -> None:
    """What LoRA saves of training memory against the model's size, a line for each batch, with the published points."""
    predicted, counted = read_scaling(records, "predicted"), read_scaling(records, "counted")
    figure, ((axes,),) = _axes(1, 1, width=7.0)
    for ((batch, tokens), group), style in zip(predicted.groupby(["batch", "tokens"], sort=False), STYLES, strict=True):
        axes.plot(group["parameters"], 100 * group["saved"], label=f"{batch} × {tokens} tokens", **style)
        dominated = group[group["activations"] >= 0.5]
        axes.plot(dominated["parameters"], 100 * dominated["saved"], "o", color=style["color"], markersize=4)
    axes.plot(counted["parameters"], 100 * counted["saved"], "kx", markersize=8, label="counted on a real step")
    sizes = predicted.set_index("model")["parameters"]
    for name, (saved,) in TABLES["scaling"].rows.items():
        axes.plot(sizes[name].iloc[0], saved, "k*", markersize=11)
        axes.annotate(f"{name},\npublished: {saved:g} %", (sizes[name].iloc[0], saved), (6, 6),
                      textcoords="offset points", fontsize=8)  # fmt: skip
    axes.axhline(75, color="#888888", linewidth=0.8)
    axes.text(predicted["parameters"].min(), 75.5, "without activations", fontsize=8, color="#555555")
    axes.set_xscale("log")
    axes.set_ylim(0, 82)
    axes.set_xlabel("parameters of the model")
    axes.set_ylabel("training memory that LoRA saves, %")
    axes.legend(frameon=False, fontsize=8, title="dots: activations are the larger part", title_fontsize=8)
    figure.suptitle("Training memory saved by LoRA, predicted from shapes (float32, AdamW)", x=0.01, ha="left")
    _save(figure, pd.concat([predicted.assign(kind="predicted"), counted.assign(kind="counted")]), svg)


def sweep(
    counts: Path, score_files: Sequence[str], cost_files: Sequence[str], swept: dict[str, dict[str, Any]], svg: Path
) -> None:
    """Best score, and seconds an epoch, of every combination of a sweep against the parameters it trains."""
    trainable = {method: count["trainable"] for method, count in read_json(counts)["methods"].items()}
    runs = by_task(score_files).merge(read_costs(cost_files)[["method", "task", "seed", "seconds_per_epoch"]])
    runs = runs[runs["method"].isin([*swept, FULL])].assign(parameters=runs["method"].map(trainable))
    figure, axes = _axes(2, runs["task"].nunique())
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
    _save(figure, runs, svg)


def convergence(curve_files: Sequence[str], cost_files: Sequence[str], svg: Path) -> None:
    """Score after each epoch, mean over seeds, of every method; the iso-accuracy line drawn in."""
    curves = by_task(curve_files).assign(task=lambda frame: frame["task"].str.removesuffix("_curve"))
    thresholds = by_task(cost_files).groupby("task")["threshold"].first()
    tasks = list(dict.fromkeys(curves["task"]))
    figure, axes = _axes(1, len(tasks), height=4.0)
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
    _save(figure, curves, svg)


def _axes(rows: int, columns: int, width: float = 3.2, height: float = 2.5) -> tuple[Any, Any]:
    """A figure of rows and columns of panels, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + width * columns, max(4.0, height * rows)), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex="col")


def _save(figure: Any, frame: pd.DataFrame, svg: Path) -> None:
    """Write an SVG that is the same for the same figure (no date, no random identifiers), and what it shows as CSV."""
    import matplotlib

    with whole_file(svg) as beside, matplotlib.rc_context({"svg.hashsalt": "lora", "svg.fonttype": "none"}):
        figure.savefig(beside, format="svg", metadata={"Date": None})
    with whole_file(svg.with_suffix(".csv")) as beside:
        frame.to_csv(beside, index=False)
