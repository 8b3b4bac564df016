"""Figures from records, as SVG with the CSV they were drawn from beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lora_core.records import read_checked, whole_file
from lora_core.tasks import task_title

WINDOW = 25  # steps over which a loss curve is averaged for the eye
# Okabe and Ito's colours, apart for colour-blind readers; the dashes keep them apart in grey.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": (0, (4, 2))},
    {"color": "#009E73", "linestyle": (0, (1, 1))},
    {"color": "#CC79A7", "linestyle": (0, (6, 1, 1, 1))},
)


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
    figure, axes = axes_of(2, losses["task"].nunique())
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
    save(figure, losses, svg)


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


def axes_of(rows: int, columns: int, width: float = 3.2, height: float = 2.5) -> tuple[Any, Any]:
    """A figure of rows and columns of panels, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + width * columns, max(4.0, height * rows)), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex="col")


def save(figure: Any, frame: pd.DataFrame, svg: Path) -> None:
    """Write an SVG that is the same for the same figure (no date, no random identifiers), and what it shows as CSV."""
    import matplotlib

    with whole_file(svg) as beside, matplotlib.rc_context({"svg.hashsalt": "lora", "svg.fonttype": "none"}):
        figure.savefig(beside, format="svg", metadata={"Date": None})
    with whole_file(svg.with_suffix(".csv")) as beside:
        frame.to_csv(beside, index=False)
