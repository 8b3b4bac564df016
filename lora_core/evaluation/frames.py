"""Records as data frames: what tables, figures and claims are made from."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lora_core.evaluation.cost_to_threshold import device_of
from lora_core.records import FULL, OWN, read_checked, read_json

PARTS = ("weights_mb", "gradients_mb", "optimizer_mb", "saved_for_backward_mb")
KEY = ["model", "parameters", "batch", "tokens"]


def by_task(files: Iterable[str | Path]) -> pd.DataFrame:
    """CSV files of one task each, named {task}.csv, with the task as a column."""
    return pd.concat([pd.read_csv(file).assign(task=Path(file).stem) for file in files], ignore_index=True)


def per_device(frame: pd.DataFrame) -> pd.DataFrame:
    """Name the device in the method where there are several: what was measured is never averaged over two."""
    if frame["device"].nunique() > 1:
        frame = frame.assign(method=frame["method"] + " on " + frame["device"])
    return frame


def read_differences(score_files: Iterable[str | Path]) -> pd.DataFrame:
    """The differences that stand beside the scores of each task."""
    files = [Path(file) for file in score_files]
    parts = [pd.read_csv(f.with_name(f"{f.stem}_differences.csv")).assign(task=f.stem) for f in files]
    return pd.concat(parts, ignore_index=True)


def read_costs(csv_files: Iterable[str | Path]) -> pd.DataFrame:
    """The costs of every run, in the units of tables 5 and 6."""
    frame = by_task(csv_files)
    return frame.assign(
        power=frame["energy_to_threshold_joules"] / frame["seconds_to_threshold"],
        energy=frame["energy_to_threshold_joules"] / 1e3,
        net_energy=frame["net_energy_to_threshold_joules"] / 1e3,
        seconds_per_epoch=frame["train_seconds"] / frame["planned_epochs"],
    )


def read_memory(files: Iterable[str | Path]) -> pd.DataFrame:
    """One row a run: method, task, seed and the figures of table 4."""
    rows = []
    for file in files:
        record = read_json(Path(file))
        run, memory = record["run"], record["measurement"]["memory"]
        baseline, predicted = memory["baseline_mb"], memory["predicted"] or {}
        rows.append(
            {
                **{name: run[name] for name in ("method", "task", "seed")},
                **{name: memory[name] for name in memory if name not in ("predicted", "largest_batch")},
                "added_mb": None if None in (baseline, memory["mean_mb"]) else memory["mean_mb"] - baseline,
                "peak_added_mb": None if None in (baseline, memory["peak_mb"]) else memory["peak_mb"] - baseline,
                "accounted_mb": _accounted(memory),
                "predicted_saved_mb": predicted.get("saved_for_backward_mb"),
                "predicted_mb": _accounted(predicted) if predicted else None,
                "device": device_of(record),
                "shared": record["provenance"]["shared"],
            }
        )
    return pd.DataFrame(rows)


def _accounted(parts: dict[str, Any]) -> float:
    return sum(parts[name] for name in PARTS)


def read_curves(curve_files: Iterable[str | Path]) -> pd.DataFrame:
    """One row an epoch of every run: score against time and energy spent so far."""
    return by_task(curve_files).assign(task=lambda frame: frame["task"].str.removesuffix("_curve"))


def read_latency(csv_files: Iterable[str | Path]) -> pd.DataFrame:
    """Every timed forward pass, with its task, seed and device."""
    parts = []
    for file in map(Path, csv_files):
        device = device_of(read_json(file.with_suffix(".json")))
        seed = int(file.stem.removeprefix("seed"))
        parts.append(pd.read_csv(file).assign(task=file.parent.name, seed=seed, device=device))
    return pd.concat(parts, ignore_index=True)


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


def read_scaling(file: Path, kind: str) -> pd.DataFrame:
    """One row for each model and batch: the sums of both methods in MB, what LoRA saves, the share of activations, and
    for a real step the process's growth at its peak.
    """
    rows = pd.DataFrame(read_json(file)[kind])
    rows["total_mb"] = rows[list(PARTS)].sum(axis=1)
    sides = [rows[rows["method"] == method].set_index(KEY) for method in (FULL, OWN)]
    frame = pd.DataFrame({"fft_mb": sides[0]["total_mb"], "lora_mb": sides[1]["total_mb"]})
    frame["saved"] = 1 - frame["lora_mb"] / frame["fft_mb"]
    frame["activations"] = sides[0]["saved_for_backward_mb"] / frame["fft_mb"]
    frame["fft_peak_mb"], frame["lora_peak_mb"] = (side["resident_peak_mb"].astype(float) for side in sides)
    frame["saved_at_peak"] = 1 - frame["lora_peak_mb"] / frame["fft_peak_mb"]
    return frame.reset_index().sort_values(["batch", "tokens", "parameters"], ignore_index=True)
