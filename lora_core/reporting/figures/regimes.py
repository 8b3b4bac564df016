"""Time and energy of a LoRA step relative to full fine-tuning by its size, and what such a step waits for."""

from typing import Any

import numpy as np
import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.regime_record import BOUNDS, TOLERANCE, Regimes, read_regimes
from lora_core.reporting.figures.canvas import SMALL, UNITS, add_legend, panels, set_title
from lora_core.reporting.figures.style import BLUE, GRAY, GREEN, INK, OCHRE, ORANGE, PINK, VIOLET
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs

LOOKS = {"eager": {"color": ORANGE, "marker": "s"}, "graphs": {"color": BLUE, "marker": "o"}}
NAMES = {"eager": "eager", "graphs": "CUDA graphs"}
BANDS = dict(zip(BOUNDS, (OCHRE, GREEN, VIOLET, PINK), strict=True))
TOKENS = (64, 256, 1024, 4096, 16384)
OCTAVES = 10.0  # that a panel shows of tokens per step, with its margins
NAMED_SHARE = 0.12  # of a panel's height: a band that is as thick has its name in it
HEIGHT, ACROSS = 250, 3  # pixels of a panel; panels in a row, two if there are four


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from regimes.json."""
    regimes = read_regimes(inputs["regimes"][0], settings.references)
    steps, adapter = regimes.steps, settings.label(settings.references.adapter or "")
    measured = ["time", *(["energy"] if steps["energy"].notna().any() else [])]
    executions = list(steps["execution"].unique()) if BOUNDS[0] in steps else []
    titles = [f"{name} of a step, {adapter} / full" for name in measured]
    titles += [f"what {adapter} waits for{f', {NAMES[e]}' if len(executions) > 1 else ''}" for e in executions]
    columns = 2 if len(titles) == 4 else ACROSS
    figure, axes = panels(titles, height=HEIGHT, narrow=settings.narrow, columns=columns)
    for column, panel in zip(measured, axes, strict=False):
        _draw_ratios(panel, steps, column)
    for execution, panel in zip(executions, axes[len(measured) :], strict=True):
        _draw_bands(panel, steps[(steps["execution"] == execution) & (steps["task"] == "")])
    for panel in axes:
        panel.set_xscale("log", base=2)
        panel.set_xticks(TOKENS, [f"{count:,}" for count in TOKENS])
        panel.set_xlim(TOKENS[0] * 0.75, TOKENS[-1] * 1.4)
        panel.set_xlabel("tokens per step")
    add_legend(figure, axes)
    set_title(figure, _title(regimes, adapter), _note(regimes))
    return figure, steps


def _draw_ratios(panel: Any, steps: pd.DataFrame, column: str) -> None:
    """Draw a ratio of both methods: a line over the grid for each execution, and the mean batches of tasks."""
    panel.axhline(1, color=GRAY, linewidth=0.8)
    for execution, of_execution in steps.groupby("execution", sort=False):
        _draw_line(panel, of_execution[of_execution["task"] == ""].sort_values("tokens_per_step"), column, execution)
    tasks = steps[(steps["task"] != "") & steps[column].notna()].sort_values("tokens_per_step")
    panel.plot(tasks["tokens_per_step"], tasks[column], "D", color=INK, markerfacecolor="none",
               label="mean batch of a task" if len(tasks) else None)  # fmt: skip
    panel.set_ylim(0, max(1.1, 1.05 * steps[column].max()))
    _name_tasks(panel, tasks, column)


def _draw_line(panel: Any, grid: pd.DataFrame, column: str, execution: Any) -> None:
    known, look = grid[grid[column].notna()], LOOKS[execution]
    if column == "time":
        if "predicted" in grid:
            panel.plot(grid["tokens_per_step"], grid["predicted"], "--", color=look["color"],
                       label=f"predicted, {NAMES[execution]}")  # fmt: skip
        bars = known["time"] - known["time_low"], known["time_high"] - known["time"]
        panel.errorbar(known["tokens_per_step"], known["time"], bars, color=look["color"], linewidth=0.8, fmt="none")
    panel.plot(known["tokens_per_step"], known[column], **look, label=f"measured, {NAMES[execution]}")


def _name_tasks(panel: Any, tasks: pd.DataFrame, column: str) -> None:
    """Write the names of tasks upright at the bottom, below their points and no two on each other."""
    pixels = panel.get_subplotspec().get_gridspec().figure.get_figwidth() * UNITS
    octave = (pixels / panel.get_subplotspec().get_gridspec().ncols - 60) / OCTAVES
    last = -np.inf
    for task, rows in tasks.groupby("task", sort=False):
        tokens = rows["tokens_per_step"].iloc[0]
        panel.vlines(tokens, 0, rows[column].max(), color=GRAY, linewidth=0.6, zorder=0)
        place = octave * np.log2(tokens)
        last = max(place + 0.6 * SMALL, last + 1.2 * SMALL)
        panel.annotate(
            task_title(str(task)), (tokens, 0), (last - place, 3), textcoords="offset pixels", rotation=90,
            ha="center", va="bottom", fontsize=SMALL,
        )  # fmt: skip


def _draw_bands(panel: Any, grid: pd.DataFrame) -> None:
    """Draw the shares of the predicted time of the adapter's steps that wait for each bound, on top of each other."""
    grid = grid.dropna(subset=list(BOUNDS)).sort_values("tokens_per_step")
    below = np.zeros(len(grid))
    for bound, color in BANDS.items():
        share = 100 * grid[bound].to_numpy(float)
        panel.fill_between(grid["tokens_per_step"], below, below + share, color=color, alpha=0.45, linewidth=0)
        widest = int(np.argmax(share)) if len(share) else 0
        if len(share) and share[widest] >= 100 * NAMED_SHARE:
            inside = {0: "left", len(share) - 1: "right"}.get(widest, "center")
            panel.annotate(
                bound, (grid["tokens_per_step"].iloc[widest], below[widest] + share[widest] / 2),
                ({"left": 4, "right": -4}.get(inside, 0), 0), textcoords="offset pixels", ha=inside, va="center",
                fontsize=SMALL,
            )  # fmt: skip
        below = below + share
    panel.set_ylim(0, 100)
    panel.set_ylabel("% of its predicted time")


def _title(regimes: Regimes, adapter: str) -> str:
    known = regimes.steps[regimes.steps["time"].notna()]
    if known.empty:
        return "No step was measured: none fitted into the time or the memory."
    ranges = []
    for execution, steps in known.groupby("execution", sort=False):
        low, high = steps["time"].min(), steps["time"].max()
        how = f" ({NAMES[str(execution)]})" if known["execution"].nunique() > 1 else ""
        ranges.append(f"{low:.2f} to {high:.2f}{how}")
    return f"A step of {adapter} takes {' and '.join(ranges)} of the time of full fine-tuning."


def _note(regimes: Regimes) -> str:
    close, steps = regimes.well_predicted()
    accuracy = f" Predicted within {100 * TOLERANCE:g} % of the measurement: {close} of {steps} steps." if steps else ""
    return f"{regimes.device}, {regimes.precision}. Bars: 95 % intervals over rounds.{accuracy}"
