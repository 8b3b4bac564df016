"""The best score of every method on every task, with the published scores."""

from typing import Any

import pandas as pd

from lora_core.data.tasks import PAPER_TASKS
from lora_core.evaluation.frames import read_scores
from lora_core.evaluation.references import References
from lora_core.reporting.figures.rows import RowValues, draw_row, name_rows
from lora_core.reporting.figures.style import GRAY, Drawing, method_styles, seed_count, set_title, tag, task_panels
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.published import TABLES
from lora_core.stats import MIN_SEEDS, t_interval


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from each task's scores."""
    frame = read_scores(inputs["scores"])
    published = _published_rows(settings.references)
    styles, methods = method_styles(frame["method"]), list(dict.fromkeys(frame["method"]))
    figure, parts = task_panels(frame, height=0.5 + 0.2 * len(methods), sharey=True)
    for task, group, panel in parts:
        for y, method in enumerate(methods):
            values = 100 * group.loc[group["method"] == method, "best"]
            if len(values):
                draw_row(panel, y, _row(method, values), styles[method], show_interval=True)
            if method in published and task in PAPER_TASKS:
                _star(panel, y, method, published[method], task)
        name_rows(panel, methods)
        panel.set_xlabel("score, %")
    set_title(
        figure,
        f"Best score on the validation split: mean of {seed_count(frame)}; one stroke per seed; with three or more "
        "seeds, the 95 % interval. Stars: published (RoBERTa-base).",
    )
    return figure, frame[["method", "task", "seed", "best", "baseline_score"]]


def _published_rows(references: References) -> dict[str, str]:
    """The row of the published table that belongs to each reference entry."""
    rows = {references.full: "FFT", references.adapter: "LoRA", references.library: "LoRA (ref)"}
    return {method: row for method, row in rows.items() if method}


def _row(method: str, values: pd.Series) -> RowValues:
    interval = t_interval(list(values)) if len(values) >= MIN_SEEDS else None
    return RowValues(method, list(values), values.mean(), interval, "{:.1f}")


def _star(panel: Any, y: float, method: str, row: str, task: str) -> None:
    """Draw a published score."""
    score = TABLES["table2"].value(row, task)
    (star,) = panel.plot([score], [y], "*", color=GRAY, markersize=8, fillstyle="none", label="published")
    tag(star, method, f"published, {row}: {score}")
