"""The best score of every method on every task; with the published scores in a study that is comparable."""

from typing import Any

import pandas as pd

from lora_core.data.tasks import PAPER_TASKS
from lora_core.evaluation.claim_rules import over_seeds
from lora_core.evaluation.frames import read_scores
from lora_core.evaluation.references import References
from lora_core.reporting.figures.canvas import set_title, task_panels
from lora_core.reporting.figures.conclusions import score_title
from lora_core.reporting.figures.rows import RowValues, draw_row, name_rows, rows_height
from lora_core.reporting.figures.style import GRAY, methods_of, named, seed_count, tag
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.published import TABLES


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from each task's scores."""
    frame, styles = named(read_scores(inputs["scores"]), settings)
    published = _published_rows(settings.references) if settings.comparable else {}
    methods = methods_of(frame)
    figure, parts = task_panels(frame, height=rows_height(len(methods)), narrow=settings.narrow, sharey=True)
    for task, group, panel in parts:
        for y, (name, method) in enumerate(methods.items()):
            values = 100 * group.loc[group["name"] == name, "best"]
            if len(values):
                draw_row(panel, y, _row(method, name, values), styles[name], show_interval=True)
            if method in published and task in PAPER_TASKS:
                _star(panel, y, method, published[method], task)
        name_rows(panel, list(methods), methods)
        panel.set_xlabel("best score, %")
    note = (
        f"Best score on the validation split: mean of {seed_count(frame)}; one stroke per seed; with three or more "
        "seeds, the 95 % interval."
    )
    set_title(
        figure,
        score_title(frame, settings, otherwise="Best score by method and task"),
        f"{note} Stars: published (RoBERTa-base)." if published else note,
    )
    return figure, frame[["method", "task", "seed", "best", "baseline_score"]]


def _published_rows(references: References) -> dict[str, str]:
    """The row of the published table that belongs to each reference entry."""
    rows = {references.full: "FFT", references.adapter: "LoRA", references.library: "LoRA (ref)"}
    return {method: row for method, row in rows.items() if method}


def _row(method: str, name: str, values: pd.Series) -> RowValues:
    return RowValues(method, name, list(values), values.mean(), over_seeds(list(values)), "{:.1f}".format)


def _star(panel: Any, y: float, method: str, row: str, task: str) -> None:
    """Draw a published score."""
    score = TABLES["table2"].value(row, task)
    (star,) = panel.plot([score], [y], "*", color=GRAY, markersize=10, fillstyle="none", label="published")
    tag(star, method, f"published, {row}: {score}")
