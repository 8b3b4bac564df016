"""What LoRA saves of training memory against the model's size, a line for each batch, with the published points."""

from typing import Any

import pandas as pd

from lora_core.evaluation.frames import read_memory_scaling
from lora_core.reporting.figures.canvas import SMALL, add_legend, make_logarithmic, panels, set_title
from lora_core.reporting.figures.style import COLORS, DASHES, GRAY, INK
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.published import TABLES

# Column, marker and its size, and label of what a real step gave.
MEASURED = (
    ("saved", "x", 8, "counted on a real step"),
    ("saved_at_peak", "+", 9, "resident memory, peak"),
)


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from scaling.json."""
    scaling = read_memory_scaling(inputs["memory_scaling"][0])
    predicted, counted = scaling.predicted, scaling.counted
    figure, (panel,) = panels([""], height=280, narrow=settings.narrow)
    batches = predicted.groupby(["batch", "tokens"], sort=False)
    for ((batch, tokens), group), color, dashes in zip(batches, COLORS, DASHES, strict=False):
        label = f"{batch} × {tokens} tokens"
        panel.plot(group["parameters"], 100 * group["saved"], label=label, color=color, ls=dashes)
        dominated = group[group["activations"] >= 0.5]
        panel.plot(dominated["parameters"], 100 * dominated["saved"], "o", color=color)
    for column, marker, size, label in MEASURED:
        panel.plot(counted["parameters"], 100 * counted[column], marker, color=INK, markersize=size, label=label)
    _published(panel, predicted)
    panel.axhline(75, color=GRAY, linewidth=0.8)
    panel.text(predicted["parameters"].min(), 75.5, "without activations", fontsize=SMALL)
    make_logarithmic(panel.xaxis)
    panel.set_ylim(0, 82)
    panel.set_xlabel("parameters of the model")
    panel.set_ylabel("memory saved, %")
    add_legend(figure, [panel])
    low, high = (100 * predicted["saved"].agg(["min", "max"])).tolist()
    set_title(
        figure,
        f"LoRA saves {low:.0f} to {high:.0f} % of the training memory of full fine-tuning.",
        "Predicted from the shapes of models (float32, AdamW), and counted on real steps. Dots: activations are the "
        "larger part of full fine-tuning.",
    )
    return figure, pd.concat([predicted.assign(kind="predicted"), counted.assign(kind="counted")])


def _published(panel: Any, predicted: pd.DataFrame) -> None:
    """Draw the published savings at the sizes of their models."""
    sizes = predicted.drop_duplicates("model").set_index("model")["parameters"]
    for row in TABLES["scaling"].rows:
        (saved,) = row.values
        star = {"color": INK, "markersize": 11, "label": f"published: {row.label} {saved:g} %"}
        panel.plot(sizes[row.label], saved, "*", linestyle="none", **star)
