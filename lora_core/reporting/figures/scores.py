"""Figures of score: by method, against what training costs, the front of score against cost, and training loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.data.tasks import PAPER_TASKS
from lora_core.evaluation.frames import by_task, per_device, read_costs, read_curves, read_losses, read_memory
from lora_core.records import FULL, OWN, read_json
from lora_core.reporting.figures.style import (
    GREY,
    SMALL,
    dots,
    gap,
    legend,
    legend_rows,
    looks,
    mark,
    missing,
    name_rows,
    of_seeds,
    panels,
    said,
    task_panels,
    task_rows,
    title,
)
from lora_core.reporting.published import TABLES
from lora_core.stats import MIN_SEEDS, t_interval

WINDOW = 25  # steps over which a loss curve is averaged for the eye
POINTS = 1000  # of a curve that are drawn; the CSV has all
PUBLISHED = {FULL: "FFT", OWN: "LoRA", "lora_ref": "LoRA (ref)"}


def scores(score_files: Sequence[str]) -> tuple[Any, pd.DataFrame]:
    """The best score of every method on every task, with the published points."""
    frame = by_task(score_files)
    look, methods = looks(frame["method"]), list(dict.fromkeys(frame["method"]))
    figure, parts = task_panels(frame, height=0.5 + 0.2 * len(methods), sharey=True)
    for task, group, panel in parts:
        for y, method in enumerate(methods):
            values = 100 * group.loc[group["method"] == method, "best"].dropna()
            if len(values):
                found = t_interval(list(values)) if len(values) >= MIN_SEEDS else None
                words = said(method, values.mean(), found, "{:.1f}", len(values))
                dots(panel, y, list(values), found or values.mean(), method, words, look[method])
            if method in PUBLISHED and task in PAPER_TASKS:
                at = TABLES["table2"].rows[PUBLISHED[method]][PAPER_TASKS.index(task)]
                (star,) = panel.plot([at], [y], "*", color=GREY, markersize=8, fillstyle="none", label="published")
                mark(star, method, f"published, {PUBLISHED[method]}: {at}")
        name_rows(panel, methods)
        panel.set_xlabel("score, %")
    title(
        figure,
        f"Best score on the validation split: mean of {of_seeds(frame)}, each seed a stroke, from "
        "three on the 95 % interval. Stars: published (RoBERTa-base).",
    )
    return figure, frame[["method", "task", "seed", "best", "constant_guess"]]


AGAINST = {
    "epochs": ("epoch", 1.0, "epoch"),
    "time": ("cumulative_train_seconds", 1.0, "seconds of training"),
    "energy": ("cumulative_train_energy_joules", 1e-3, "energy of training, kJ"),
}


def curves(curve_files: Sequence[str], cost_files: Sequence[str], against: str) -> tuple[Any, pd.DataFrame]:
    """Score after each epoch against epochs, time or energy, mean over seeds; the iso-accuracy line drawn in."""
    costs = read_costs(cost_files)
    frame = per_device(read_curves(curve_files).merge(costs[["method", "task", "seed", "device"]]))
    column, factor, label = AGAINST[against]
    look = looks(frame["method"])
    figure, parts = task_panels(frame, height=1.9, legend_rows=legend_rows(frame))
    for task, group, panel in parts:
        panel.set_xlabel(label)
        if group[column].isna().all():
            reasons = costs.loc[costs["task"] == task, "meter_reason"].dropna()
            gap(panel, f"{label}: {reasons.iloc[0] if len(reasons) else 'not measured'}")
            continue
        known = group.dropna(subset=[column])
        missing(panel, [m for m in group["method"].unique() if m not in set(known["method"])])
        for method, own in ((str(m), g) for m, g in known.groupby("method", sort=False)):
            mean = own.groupby("epoch")[[column, "score"]].mean()
            wide = 2.0 if method.split(" on ")[0] in (FULL, OWN) else 1.0
            (line,) = panel.plot(
                factor * mean[column], 100 * mean["score"], label=method, linewidth=wide, **look[method]
            )
            mark(line, method, f"{method}: {100 * mean['score'].iloc[-1]:.1f} % after the last epoch")
        at = costs.loc[costs["task"] == task, "threshold"].iloc[0]
        if not pd.isna(at):
            panel.axhline(100 * at, color=GREY, linewidth=0.8)
        if against == "epochs":
            panel.xaxis.get_major_locator().set_params(integer=True)
        else:
            panel.set_xlim(left=0)
        panel.set_ylabel("score, %")
    legend(figure, [panel for _, _, panel in parts])
    title(
        figure,
        f"Score after each epoch, mean of {of_seeds(frame)}. Grey line: equal accuracy, min(FFT, LoRA) - 0.5 points.",
    )
    return figure, frame


def pareto(
    score_files: Sequence[str], counts_file: Path, run_files: Sequence[str], cost_files: Sequence[str]
) -> tuple[Any, pd.DataFrame]:
    """Score, mean over tasks, against trained parameters, memory, time and energy; the methods that none beats on both
    sides are joined."""
    counts = read_json(counts_file)["methods"]
    keys = ["method", "task", "seed"]
    frame = (
        by_task(score_files)[[*keys, "best"]]
        .merge(read_memory(run_files)[[*keys, "accounted_mb"]], on=keys)
        .merge(read_costs(cost_files)[[*keys, "device", "train_seconds", "train_energy_joules"]], on=keys)
    )
    frame = per_device(frame.assign(parameters=[counts[method]["trainable"] for method in frame["method"]]))
    means = frame.groupby(["method", "task"], sort=False).mean(numeric_only=True).groupby("method", sort=False).mean()
    points = means.reset_index()
    quantities = {
        "parameters": "trained parameters",
        "accounted_mb": "training memory, MB",
        "train_seconds": "seconds of training",
        "train_energy_joules": "joules of training",
    }
    look = looks(points["method"])
    figure, axes = panels([""] * len(quantities), height=2.0, legend_rows=legend_rows(frame))
    for (column, label), panel in zip(quantities.items(), axes, strict=True):
        known = points.dropna(subset=[column]).sort_values([column, "best"], ascending=[True, False])
        if known.empty:
            gap(panel, f"{label} were not measured")
            continue
        missing(panel, [m for m in points["method"] if m not in set(known["method"])])
        front = known[known["best"] >= known["best"].cummax()]
        panel.plot(front[column], 100 * front["best"], color=GREY, linewidth=1, drawstyle="steps-post", zorder=1)
        for _, point in known.iterrows():
            name, own = point["method"], look[point["method"]]
            (dot,) = panel.plot(
                point[column], 100 * point["best"], own["marker"], color=own["color"], markersize=6, label=name
            )
            mark(dot, name, f"{name}: {100 * point['best']:.1f} %, {point[column]:,.4g} {label}")
        if column == "parameters":
            panel.set_xscale("log")
        else:
            panel.set_xlim(0, 1.08 * known[column].max())
        panel.set_xlabel(label)
        panel.set_ylabel("mean score, %")
    legend(figure, axes)
    title(
        figure,
        f"Score against cost, means over tasks ({frame['task'].nunique()}) and {of_seeds(frame)}. On the grey line no "
        "other method is both better and cheaper.",
    )
    return figure, points


def loss_curves(folders: Sequence[Path]) -> tuple[Any, pd.DataFrame]:
    """Training loss of several methods at one seed, one on the other, and how far each is from the first.

    A row of panels for each task. Methods that compute the same from the same seed differ by rounding alone: their
    relative difference starts near 1e-7 and grows as two orders of summation drift apart.
    """
    losses = read_losses(folders)
    first, look = losses["method"].iloc[0], looks(losses["method"])
    figure, parts = task_rows(losses, legend_rows=1)
    for _, group, (left, right) in parts:
        curves = group.pivot(index="step", columns="method", values="loss")[group["method"].unique()]
        for method in curves.columns:
            smooth = thinned(curves[method].dropna().rolling(WINDOW, min_periods=1).mean())
            (line,) = left.plot(smooth.index, smooth, label=method, **look[method] | {"marker": ""})
            mark(line, method, method)
            if method != first:
                _differences(right, curves[method], curves[first], look[method]["color"])
        left.set_ylabel("training loss")
        right.set_ylabel(f"difference from {first}")
        for panel in (left, right):
            panel.set_xlabel("step")
        if len(curves.columns) == 1:
            gap(right, "no other method computes the same")
    legend(figure, [left for _, _, (left, _) in parts])
    title(
        figure,
        f"Training loss, seed {losses['seed'].iloc[0]}, mean of {WINDOW} steps; to the right the relative difference "
        f"from {first}, each step.",
    )
    return figure, losses


def thinned(values: pd.Series) -> pd.Series:
    """At most POINTS of a long series, evenly spaced: a page need not draw a quarter of a million."""
    return values.iloc[:: -(-len(values) // POINTS) or 1]


def _differences(panel: Any, curve: pd.Series, first: pd.Series, color: str) -> None:
    """Dots of the relative difference at the steps where there is one, and in words how many those are."""
    apart = ((curve - first).abs() / first.abs()).dropna()
    differ = apart[apart > 0]
    if differ.empty:
        panel.set_yticks([])
        panel.text(0.5, 0.5, f"{curve.name} is the same at each\nof {len(apart):,} steps, bit for bit", ha="center",
                   transform=panel.transAxes, fontsize=SMALL)  # fmt: skip
        return
    shown = thinned(differ)
    panel.plot(shown.index, shown, ".", markersize=2, color=color)
    panel.set_yscale("log")
    panel.set_title(f"{curve.name}: {len(differ):,} of {len(apart):,} steps differ", fontsize=SMALL, loc="left")
