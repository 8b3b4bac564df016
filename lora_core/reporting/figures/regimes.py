"""Time and energy of a LoRA step relative to full fine-tuning by its size, and what such a step waits for."""

from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.regime_record import Regimes, read_regimes
from lora_core.reporting.figures.canvas import SMALL, add_legend, panels, set_title
from lora_core.reporting.figures.style import COLORS, GRAY, INK
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs

LOOKS = {"eager": (COLORS[1], "s"), "graphs": (COLORS[0], "o")}
NAMES = {"eager": "eager", "graphs": "CUDA graphs"}
TOKENS = (64, 256, 1024, 4096, 16384)


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from regimes.json."""
    regimes = read_regimes(inputs["regimes"][0], settings.references)
    measured = ["time", *(["energy"] if regimes.steps["energy"].notna().any() else [])]
    figure, axes = panels(["" for _ in measured], height=260, narrow=settings.narrow, columns=2)
    for column, panel in zip(measured, axes, strict=True):
        panel.axhline(1, color=GRAY, linewidth=0.8)
        for execution, steps in regimes.steps.groupby("execution", sort=False):
            _draw_steps(panel, steps, column, str(execution))
        panel.set_xscale("log", base=2)
        panel.set_xticks(TOKENS, [f"{count:,}" for count in TOKENS])
        panel.set_xlabel("tokens per step")
        panel.set_ylabel(f"{column}, {settings.label(settings.references.adapter or '')} / full")
        panel.set_ylim(bottom=0)
    add_legend(figure, axes)
    set_title(figure, _title(regimes, settings), _note(regimes))
    return figure, regimes.steps


def _draw_steps(panel: Any, steps: pd.DataFrame, column: str, execution: str) -> None:
    color, marker = LOOKS[execution]
    name = NAMES[execution]
    grid, tasks = steps[steps["task"] == ""], steps[steps["task"] != ""]
    known = grid[grid[column].notna()].sort_values("tokens_per_step")
    if column == "time":
        predicted = grid.sort_values("tokens_per_step")
        if "predicted" in predicted:
            panel.plot(
                predicted["tokens_per_step"], predicted["predicted"], "--", color=color, label=f"predicted, {name}"
            )
        below, above = known["time"] - known["time_low"], known["time_high"] - known["time"]
        panel.errorbar(known["tokens_per_step"], known["time"], [below, above], color=color, linewidth=0.8, fmt="none")
    panel.plot(known["tokens_per_step"], known[column], color=color, marker=marker, label=f"measured, {name}")
    on_tasks = tasks[tasks[column].notna()]
    if on_tasks.empty:
        return
    panel.plot(on_tasks["tokens_per_step"], on_tasks[column], "D", color=INK, markerfacecolor=color,
               label=f"mean batch of a task, {name}")  # fmt: skip
    for (_, row), shift in zip(on_tasks.sort_values("tokens_per_step").iterrows(), _shifts(len(on_tasks)), strict=True):
        panel.annotate(task_title(row["task"]), (row["tokens_per_step"], row[column]), (0, shift), fontsize=SMALL,
                       textcoords="offset points", ha="center", va="center")  # fmt: skip


def _shifts(count: int) -> list[int]:
    """Names above and below their points in turn, further away each second time, so that neighbors do not touch."""
    return [(14, -14, 28, -28)[i % 4] for i in range(count)]


def _title(regimes: Regimes, settings: DrawSettings) -> str:
    known = regimes.steps[regimes.steps["time"].notna()]
    adapter = settings.label(settings.references.adapter or "")
    if known.empty:
        return "No step was measured: none fitted into the time or the memory."
    ranges = []
    for execution, steps in known.groupby("execution", sort=False):
        low, high = steps["time"].min(), steps["time"].max()
        how = f" ({NAMES[str(execution)]})" if known["execution"].nunique() > 1 else ""
        ranges.append(f"{low:.2f} to {high:.2f}{how}")
    return f"A step of {adapter} takes {' and '.join(ranges)} of the time of full fine-tuning."


def _note(regimes: Regimes) -> str:
    waits = regimes.steps.get("waits_for")
    text = f"{regimes.device}, {regimes.precision}. Bars: 95 % intervals over rounds."
    if waits is None or waits.dropna().empty:
        return text
    grid = regimes.steps[(regimes.steps["task"] == "") & waits.notna()].sort_values("tokens_per_step")
    first, last = grid.iloc[0], grid.iloc[-1]
    return (
        f"{text} The small step of {first['tokens_per_step']:,} tokens waits for {first['waits_for']} "
        f"({100 * first['waiting']:.0f} % of its predicted time), that of {last['tokens_per_step']:,} for "
        f"{last['waits_for']} ({100 * last['waiting']:.0f} %)."
    )
