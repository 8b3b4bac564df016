"""Best score, and seconds per epoch, of every combination of a sweep against the parameters it trains."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lora_core.config.labels import sweep_label
from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.frames import read_costs, read_scores
from lora_core.reporting.figures.canvas import (
    SMALL,
    add_legend,
    add_note,
    label_first_column,
    make_logarithmic,
    set_title,
    task_pairs,
)
from lora_core.reporting.figures.style import (
    GRAY,
    MethodStyle,
    complete_means,
    disturbed_note,
    method_styles,
    seed_count,
    tag,
)
from lora_core.reporting.figures.svg import Drawing
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
    figure, parts = task_pairs(runs, height=180, narrow=settings.narrow)
    for _, group, (upper, lower) in parts:
        for label, methods in lines.items():
            line = group[group["method"].isin(methods)]
            _line(upper, line, "best", label, (styles[label], settings))
            _line(lower, line, "seconds_per_epoch", label, (styles[label], settings))
        full_scores = group.loc[group["method"] == full, "best"]
        if full and len(full_scores):
            _horizontal(upper, 100 * full_scores.mean(), full, settings.label(full))
        lower.set_ylim(bottom=0)
        for panel in (upper, lower):
            make_logarithmic(panel.xaxis)
            panel.set_xlabel("trainable parameters")
    label_first_column([upper for _, _, (upper, _) in parts], "best score, %")
    label_first_column([lower for _, _, (_, lower) in parts], "seconds per epoch")
    add_legend(figure, [upper for _, _, (upper, _) in parts])
    set_title(
        figure,
        _title(runs, settings),
        f"Score and seconds per epoch against trainable parameters: mean and standard deviation, {seed_count(runs)}.",
    )
    add_note(figure, disturbed_note(runs, settings))
    return figure, runs


def _title(runs: pd.DataFrame, settings: DrawSettings) -> str:
    """Which combination has the highest mean over tasks, and what full fine-tuning has."""
    means = complete_means(complete_means(runs.groupby(["method", "task"])[["best"]]).groupby("method"))["best"]
    full, swept = settings.references.full, means[means.index.isin(list(settings.swept))].dropna()
    if swept.empty:
        return "Score and time against trained parameters."
    best = str(swept.idxmax())
    parameters = runs.loc[runs["method"] == best, "parameters"].iloc[0]
    against = f"; {settings.label(full)}: {100 * means[full]:.1f} %" if full in means and full else ""
    return (
        f"{settings.label(best)} has the highest mean score of the sweep, {100 * swept.max():.1f} %, with "
        f"{parameters:,} trained parameters{against}."
    )


def _lines(swept: Mapping[str, SweptMethod]) -> dict[str, list[str]]:
    """The methods of each line: those that differ in the first key of their sweep alone."""
    lines: dict[str, list[str]] = {}
    for method, combination in swept.items():
        others = dict(list(combination.values.items())[1:])
        label = ", ".join(filter(None, [combination.entry, sweep_label(others)]))
        lines.setdefault(label, []).append(method)
    return lines


def _line(panel: Any, runs: pd.DataFrame, column: str, label: str, look: tuple[MethodStyle, DrawSettings]) -> None:
    """Draw mean and standard deviation of a line's methods, each with its halves of the line to its neighbors.

    So a method can be hidden with all that is drawn of it.
    """
    style, settings = look
    methods, factor = runs.groupby("method", sort=False), 100 if column == "best" else 1
    means, spreads = methods[column].mean() * factor, methods[column].std().fillna(0) * factor
    places = list(zip(np.log(methods["parameters"].first().astype(float)), means, strict=True))
    for number, (method, (x, mean)) in enumerate(zip(means.index, places, strict=True)):
        near = places[max(0, number - 1) : number + 2]
        halves = [((x + other_x) / 2, (mean + other) / 2) for other_x, other in near]  # and the point itself
        (line,) = panel.plot(
            *zip(*((np.exp(a), b) for a, b in halves), strict=True), color=style.color, ls=style.dashes
        )
        hollow = column != "best" and runs.loc[runs["method"] == method, "disturbed"].any()
        bars = panel.errorbar(
            np.exp(x), mean, spreads[method], label=None if number else label, capsize=2,
            markerfacecolor="none" if hollow else style.color, **style.line,
        )  # fmt: skip
        for artist in (line, bars.lines[0], *bars.lines[1], *bars.lines[2]):
            tag(artist, str(method), f"{settings.label(str(method))}: {mean:.1f}")


def _horizontal(panel: Any, score: float, method: str, label: str) -> None:
    """Draw the mean score of full fine-tuning as a line."""
    line = panel.axhline(score, color=GRAY, linewidth=1)
    text = panel.text(0.01, score, label, fontsize=SMALL, va="bottom", transform=panel.get_yaxis_transform())
    tag(line, method, f"{label}: {score:.1f} %")
    tag(text, method)
