"""Best score, and seconds per epoch, of every combination of a sweep against the parameters it trains."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lora_core.config.labels import sweep_label
from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.frames import read_costs, read_scores
from lora_core.reporting.figures.style import (
    GRAY,
    SMALL,
    Drawing,
    MethodStyle,
    add_legend,
    method_styles,
    note_disturbed,
    seed_count,
    set_title,
    tag,
    task_rows,
)
from lora_core.reporting.inputs import DrawSettings, Inputs, SweptMethod


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from counts.json, and each task's scores and costs."""
    counts = read_counts(inputs["counts"][0]).methods
    trainable = {method: count.trainable for method, count in counts.items()}
    costs = read_costs(inputs["costs"])
    runs = read_scores(inputs["scores"]).merge(costs[["method", "task", "seed", "seconds_per_epoch", "disturbed"]])
    full, swept = settings.references.full, settings.swept
    runs = runs[runs["method"].isin([*swept, *([full] if full else [])])]
    runs = runs.assign(parameters=runs["method"].map(trainable))
    lines = _lines(swept)
    styles = method_styles(lines)
    figure, parts = task_rows(runs, legend_rows=len(lines), sharex="col")
    for _, group, (left, right) in parts:
        for label, methods in lines.items():
            line = group[group["method"].isin(methods)]
            _line(left, line, "best", 100, label, styles[label])
            _line(right, line, "seconds_per_epoch", 1, label, styles[label])
        full_scores = group.loc[group["method"] == full, "best"]
        if full and len(full_scores):
            _horizontal(left, 100 * full_scores.mean(), full)
        right.set_ylim(bottom=0)
        left.set_ylabel("best score, %")
        right.set_ylabel("seconds per epoch")
        for panel in (left, right):
            panel.set_xscale("log")
            panel.set_xlabel("trainable parameters")
    add_legend(figure, [left for _, _, (left, _) in parts], columns=1)
    note_disturbed(figure, runs)
    set_title(figure, f"Score and time against trained parameters: mean and standard deviation, {seed_count(runs)}.")
    return figure, runs


def _lines(swept: Mapping[str, SweptMethod]) -> dict[str, list[str]]:
    """The methods of each line: those that differ in the first key of their sweep alone."""
    lines: dict[str, list[str]] = {}
    for method, combination in swept.items():
        others = dict(list(combination.values.items())[1:])
        label = ", ".join(filter(None, [combination.entry, sweep_label(others)]))
        lines.setdefault(label, []).append(method)
    return lines


def _line(panel: Any, runs: pd.DataFrame, column: str, factor: float, label: str, style: MethodStyle) -> None:
    """Draw mean and standard deviation of a line's methods."""
    methods = runs.groupby("method", sort=False)
    means, spread = methods[column].mean() * factor, methods[column].std().fillna(0) * factor
    bars = panel.errorbar(methods["parameters"].first(), means, spread, label=label, capsize=2, **style.line)
    tag(bars.lines[0], label, label)
    if column == "seconds_per_epoch":
        hollow = methods["disturbed"].any()
        bars.lines[0].set_markevery(list(np.flatnonzero(~hollow)))
        places = methods["parameters"].first()[hollow], means[hollow]
        panel.plot(*places, style.marker, color=style.color, markerfacecolor="none")


def _horizontal(panel: Any, score: float, label: str) -> None:
    """Draw the mean score of full fine-tuning as a line."""
    panel.axhline(score, color=GRAY, linewidth=0.8)
    panel.text(0.01, score, label, fontsize=SMALL, va="bottom", transform=panel.get_yaxis_transform())
