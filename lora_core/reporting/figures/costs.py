"""Figures of cost: time and energy to equal accuracy, memory by its parts, latency, and the power of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import PARTS, per_device, read_costs, read_latency, read_memory
from lora_core.measuring.power_trace import windows
from lora_core.records import PowerRow, read_json, read_rows
from lora_core.reporting.figures.style import (
    GREY,
    INK,
    dots,
    gap,
    in_row,
    legend,
    looks,
    mark,
    name_rows,
    of_seeds,
    panels,
    said,
    task_panels,
    title,
)
from lora_core.stats import censored_median

TO_THRESHOLD = {
    "time": ("seconds_to_threshold", "Time of training", "seconds", "{:.1f}"),
    "energy": ("energy", "Energy of training", "kJ", "{:.3g}"),
}


def to_threshold(cost_files: Sequence[str], quantity: str) -> tuple[Any, pd.DataFrame]:
    """What training up to equal accuracy takes, by method and task; runs that never got there are counted."""
    column, what, unit, show = TO_THRESHOLD[quantity]
    frame = per_device(read_costs(cost_files))
    methods, look = list(dict.fromkeys(frame["method"])), looks(frame["method"])
    figure, parts = task_panels(frame, height=0.5 + 0.22 * len(methods), sharey=True)
    for task, group, panel in parts:
        there = group["epochs_to_threshold"].notna()
        if group["threshold"].isna().all():
            gap(panel, "no threshold without both fft and lora")
            continue
        if group.loc[there, column].isna().all():
            reasons = group["meter_reason"].dropna()
            gap(panel, reasons.iloc[0] if len(reasons) else "no run got there, or its energy is not known")
            continue
        for y, method in enumerate(methods):
            own = group["method"] == method
            known = group.loc[own & there, column]
            if known.isna().any() or not own.any():
                in_row(panel, y, "n/a")
                continue
            found = censored_median(list(known), int(own.sum()))
            if found.value is not None:
                words = said(method, found.value, found.interval, show, len(known))
                dots(panel, y, list(known), found.value, method, words, look[method])
            if len(known) < own.sum():
                in_row(panel, y, f"{own.sum() - len(known)} of {own.sum()} never got there")
        if not group["threshold_meaningful"].all():
            panel.set_title(f"{task_title(task)} (threshold near a guess)", loc="left")
        name_rows(panel, methods)
        panel.set_xlim(left=0)
        panel.set_xlabel(unit)
    title(
        figure,
        f"{what} to equal accuracy, min(FFT, LoRA) - 0.5 points: median of {of_seeds(frame)}, each seed a stroke. A "
        "run that never got there counts as dearer than all that did.",
    )
    return figure, frame[["method", "task", "seed", "threshold", "epochs_to_threshold", column]]


WORDS = {
    "weights_mb": "weights",
    "gradients_mb": "gradients",
    "optimizer_mb": "optimiser state",
    "saved_for_backward_mb": "saved for backward",
}
RAMP = ("#08306b", "#2171b5", "#6baed6", "#bdd7ec")  # apart in grey too


def memory(run_files: Sequence[str]) -> tuple[Any, pd.DataFrame]:
    """What training keeps in memory, by its parts, and what was measured above the baseline."""
    frame = per_device(read_memory(run_files))
    methods = list(dict.fromkeys(frame["method"]))
    figure, parts = task_panels(frame, height=0.5 + 0.2 * len(methods), legend_rows=3, sharey=True)
    for _, group, panel in parts:
        means = group.groupby("method", sort=False)[[*PARTS, "added_mb"]].mean().reindex(methods)
        left = pd.Series(0.0, index=methods)
        for part, color in zip(PARTS, RAMP, strict=True):
            bars = panel.barh(range(len(methods)), means[part], left=left, height=0.7, color=color, label=WORDS[part],
                              edgecolor=INK, linewidth=0.3)  # fmt: skip
            for bar, (method, size) in zip(bars, means[part].items(), strict=True):
                if not pd.isna(size):
                    mark(bar, str(method), f"{method}: {WORDS[part]} {size:,.1f} MB")
            left = left + means[part]
        if means["added_mb"].notna().any():
            panel.plot(means["added_mb"], range(len(methods)), "D", color=INK, markerfacecolor="white", markersize=4,
                       label="measured, mean less the baseline")  # fmt: skip
        name_rows(panel, methods)
        panel.set_xlabel("MB")
    legend(figure, [panel for _, _, panel in parts], columns=2)
    title(
        figure,
        f"Training memory by its parts, mean of {of_seeds(frame)} (MB = 10⁶ bytes). Parts are "
        "counted, whatever the allocator does.",
    )
    return figure, frame[["method", "task", "seed", *PARTS, "added_mb"]]


def latency(csv_files: Sequence[str]) -> tuple[Any, pd.DataFrame]:
    """How long passes over the validation set take: every round of every variant."""
    frame = per_device(read_latency(csv_files))
    frame = frame[frame["mode"] == "pass"]
    rounds = sorted(frame.groupby(["task", "seed", "method", "variant"]).size().unique())
    n = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else f"{rounds[0]}"
    names = frame["method"].where(frame["variant"] == "plain", frame["method"] + ", " + frame["variant"])
    frame = frame.assign(name=names, milliseconds=1e3 * frame["seconds"])
    rows, look = list(dict.fromkeys(names)), looks(frame["method"])
    figure, parts = task_panels(frame, height=0.5 + 0.2 * len(rows), sharey=True)
    for _, group, panel in parts:
        for y, name in enumerate(rows):
            own = group[group["name"] == name]
            if own.empty:
                continue
            method, times = str(own["method"].iloc[0]), own["milliseconds"]
            color = look[method]["color"]
            drawn = panel.boxplot([times], positions=[y], orientation="horizontal", widths=0.6, showfliers=True,
                                  whis=(5, 95), manage_ticks=False, **_box(color))  # fmt: skip
            words = (
                f"{name}: median {times.median():.1f} ms, 95th percentile {times.quantile(0.95):.1f}, n = {len(times)}"
            )
            for artist in (artist for artists in drawn.values() for artist in artists):
                mark(artist, method, words)
        name_rows(panel, rows)
        panel.set_xlabel("milliseconds a pass")
    title(
        figure,
        f"Inference: a pass over the validation set, n = {n} rounds. Box: quartiles and median; whiskers: 5th and 95th "
        "percentile.",
    )
    return figure, frame[["task", "method", "variant", "round", "milliseconds"]]


def _box(color: str) -> dict[str, Any]:
    line = {"color": color, "linewidth": 1}
    return {
        "boxprops": line,
        "whiskerprops": line,
        "capprops": line,
        "medianprops": line | {"linewidth": 2},
        "flierprops": {"marker": ".", "markersize": 3, "markerfacecolor": color, "markeredgecolor": color},
    }


def power(folders: Sequence[Path]) -> tuple[Any, pd.DataFrame]:
    """Power over time of one run a method, as the meter told it; training, evaluation and rest told apart."""
    records = [read_json(folder / "run.json") for folder in folders]
    sampled = [read_rows(folder / "power.csv", PowerRow) for folder in folders]
    names = [record["run"]["method"] for record in records]
    look, run = looks(names), records[0]["run"]
    figure, axes = panels(names, height=1.6, columns=1, sharex=True)
    traces = []
    for name, record, rows, panel in zip(names, records, sampled, axes, strict=True):
        samples = pd.DataFrame(map(vars, rows), columns=["seconds", "phase", "power_watts"]).assign(method=name)
        traces.append(samples)
        if samples["power_watts"].isna().all():
            gap(panel, record["measurement"]["energy"]["reason"] or "no power was sampled")
            continue
        (line,) = panel.plot(samples["seconds"], samples["power_watts"], color=look[name]["color"], linewidth=1)
        mark(line, name, f"{name}: mean {samples['power_watts'].mean():.0f} W")
        for window in windows(rows, "eval"):
            panel.axvspan(window[0].seconds, window[-1].seconds, color=GREY, alpha=0.25, linewidth=0)
        panel.set_ylim(bottom=0)
        panel.set_ylabel("power, W")
        panel.set_xlabel("seconds from the run's start")
    title(
        figure,
        f"Power while training on {task_title(run['task'])}, seed {run['seed']}, n = 1 run a method; grey: evaluation.",
    )
    return figure, pd.concat(traces, ignore_index=True)
