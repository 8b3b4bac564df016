"""Score against each cost; a line joins the methods that no other beats in both."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from lora_core.decimals import plain
from lora_core.evaluation.counts import ParameterCounts, read_counts
from lora_core.evaluation.frames import read_costs, read_latency, read_memory, read_scores
from lora_core.reporting.figures.canvas import (
    add_legend,
    add_note,
    label_first_column,
    make_logarithmic,
    missing_note,
    panels,
    set_title,
)
from lora_core.reporting.figures.conclusions import of_all, score_sentence
from lora_core.reporting.figures.direct_labels import Named, label_points
from lora_core.reporting.figures.memory import held_by_device
from lora_core.reporting.figures.style import GRAY, MethodStyle, complete_means, disturbed_note, methods_of, named, tag
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs

STEPS = 40  # points that stand for a piece of the gray line
KEYS = ["method", "task", "seed"]


@dataclass(frozen=True)
class Cost:
    """A cost: its name, its unit, whether its axis is logarithmic, and whether a disturbance of a run changes it."""

    name: str
    unit: str = ""
    logarithmic: bool = False
    over_time: bool = False

    @property
    def label(self) -> str:
        """The label of its axis."""
        return ", ".join(filter(None, [self.name, self.unit]))


COSTS = {
    "trained_parameters": Cost("trained parameters", logarithmic=True),
    "memory_gb": Cost("memory", "GB"),
    "train_seconds": Cost("training time", "s", over_time=True),
    "train_energy_kj": Cost("training energy", "kJ", over_time=True),
    "latency_ms": Cost("latency", "ms per example"),
}


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw a panel for each cost that was measured; the frame has the score and all costs by task and method.

    A point is the mean over tasks and seeds.
    """
    counts, costs = read_counts(inputs["counts"][0]), read_costs(inputs["costs"])
    runs, styles = named(_runs(inputs, counts, costs), settings)
    methods = methods_of(runs)
    by_task = complete_means(runs.groupby(["name", "task"], sort=False)[["best", *COSTS]])
    points = complete_means(by_task.groupby("name", sort=False))
    points["disturbed"] = runs.groupby("name")["disturbed"].any()
    measured = {column: cost for column, cost in COSTS.items() if points[column].notna().any()}
    figure, axes = panels([""] * len(measured), height=210, narrow=settings.narrow, sharey=True)
    places, missing = [], {}
    for (column, cost), panel in zip(measured.items(), axes, strict=True):
        known = points.dropna(subset=[column, "best"]).sort_values([column, "best"], ascending=[True, False])
        missing[cost.name] = [str(name) for name in points.index if name not in known.index]
        places.append((panel, _panel(panel, known, column, styles, methods)))
    label_first_column(axes, "best score, %")
    fronts = [(panel, [*named, *_front_points(panel)]) for panel, named in places]
    if not (label_points(figure, fronts) or label_points(figure, places)):
        add_legend(figure, axes, methods)
    set_title(
        figure,
        _title(runs, counts, settings),
        f"Best score against costs, {of_all(runs)}. On the gray line no other method is both better and cheaper. "
        "Latency: merged where a method can be.",
    )
    for note in (_unmeasured(measured, costs), missing_note(missing), disturbed_note(costs, settings)):
        add_note(figure, note)
    frame = by_task.assign(disturbed=runs.groupby(["name", "task"])["disturbed"].any()).reset_index()
    counted = frame["trained_parameters"].astype("Int64")  # the mean over seeds made it a float
    frame = frame.assign(method=frame["name"].map(methods), trained_parameters=counted)
    frame = frame.rename(columns={"best": "score", "name": "label"})
    return figure, frame[["task", "method", "label", "score", *COSTS, "disturbed"]]


def _runs(inputs: Inputs, counts: ParameterCounts, costs: pd.DataFrame) -> pd.DataFrame:
    """One row per run, with its score and its costs."""
    memory = read_memory(inputs["runs"])
    used = memory["mean_mb" if held_by_device(memory) else "accounted_mb"]
    frame = (
        read_scores(inputs["scores"])[[*KEYS, "best"]]
        .merge(memory[KEYS].assign(memory_gb=used / 1e3), on=KEYS)
        .merge(costs[[*KEYS, "device", "disturbed", "train_seconds", "train_energy_joules"]], on=KEYS)
    )
    place = ["method", "task", *(["device"] if frame["device"].nunique() > 1 else [])]
    return frame.assign(
        trained_parameters=[counts.methods[method].trainable for method in frame["method"]],
        train_energy_kj=frame["train_energy_joules"] / 1e3,
    ).merge(_latency(inputs, place), on=place, how="left")


def _latency(inputs: Inputs, place: list[str]) -> pd.DataFrame:
    """The median time of an example in a pass by method and task, merged where a method can be."""
    passes = read_latency(inputs["latency"], inputs["latency_records"])
    passes = passes[(passes["mode"] == "pass") & (passes["variant"] != "unmerged")]
    times = passes.assign(latency_ms=1e3 * passes["seconds"] / passes["examples"])
    return times.groupby(place, sort=False)["latency_ms"].median().reset_index()


def _panel(
    panel: Any, known: pd.DataFrame, column: str, styles: Mapping[str, MethodStyle], methods: Mapping[str, str]
) -> list[Named]:
    """Draw score against one cost, and return the points with their names."""
    cost, places = COSTS[column], []
    front = known[known["best"] >= known["best"].cummax()]
    panel.plot(front[column], 100 * front["best"], color=GRAY, linewidth=1, drawstyle="steps-post", zorder=1)
    for name, point in known.iterrows():
        style, score = styles[str(name)], 100 * point["best"]
        is_hollow = point["disturbed"] and cost.over_time
        (dot,) = panel.plot(
            point[column], score, style.marker, color=style.color, markersize=7, label=name,
            markerfacecolor="none" if is_hollow else style.color,
        )  # fmt: skip
        value = plain(point[column], 4, grouped=True)
        tag(dot, methods[str(name)], f"{name}: {score:.1f} %, {cost.name} {value} {cost.unit}".strip())
        places.append(Named(point[column], score, str(name), methods[str(name)]))
    if cost.logarithmic:
        make_logarithmic(panel.xaxis)
        panel.margins(x=0.25)
    else:
        panel.set_xlim(0, 1.3 * known[column].max() or 1)
    panel.margins(y=0.2)
    panel.set_xlabel(cost.label)
    return places


def _front_points(panel: Any) -> list[Named]:
    """Points along the gray line, which names had better leave clear."""
    front = panel.lines[0].get_xydata()
    points = []
    for (x, y), (next_x, next_y) in pairwise(front):
        points += [Named(x + (next_x - x) * i / STEPS, y, "", "") for i in range(STEPS + 1)]
        points += [Named(next_x, y + (next_y - y) * i / STEPS, "", "") for i in range(STEPS + 1)]
    return points


def _title(runs: pd.DataFrame, counts: ParameterCounts, settings: DrawSettings) -> str:
    """What LoRA trains, and what it scores."""
    sentence, adapter = score_sentence(runs, settings), settings.references.adapter
    if not sentence or adapter is None:
        return "Score against trained parameters, memory, time, energy and latency."
    share = 100 * counts.methods[adapter].trainable / counts.full
    digits = ".2g" if share < 10 else ".0f"
    return f"{settings.label(adapter)} trains {share:{digits}} % of the parameters and {sentence}."


def _unmeasured(measured: Mapping[str, Cost], costs: pd.DataFrame) -> str:
    """Say which costs have no panel, and why."""
    reasons = costs["meter_reason"].dropna()
    reason = {"train_energy_kj": f" ({reasons.iloc[0]})" if len(reasons) else ""}
    names = [f"{cost.name}{reason.get(column, '')}" for column, cost in COSTS.items() if column not in measured]
    return f"Not measured: {'; '.join(names)}." if names else ""
