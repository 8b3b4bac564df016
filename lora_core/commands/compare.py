"""`make compare`: two studies side by side, what they were told differently first, then what came of it."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from lora_core.data.tasks import task_title
from lora_core.evaluation.cost_to_threshold import device_of
from lora_core.records import read_json
from lora_core.reporting.rendering import NA, markdown_text
from lora_core.stats import MIN_SEEDS

# What is compared: where a run's record has it, and whether as a difference in points or as a ratio B / A. What depends
# on the device is compared on one device alone.
QUANTITIES: dict[str, tuple[tuple[str, ...], bool, bool]] = {
    "best score": (("score", "best"), True, False),
    "last score": (("score", "last"), True, False),
    "training time": (("train_seconds",), False, True),
    "saved for backward": (("memory", "saved_for_backward_mb"), False, False),
    "energy of training": (("energy", "train_joules"), False, True),
}
Records = dict[tuple[str, str], list[dict[str, Any]]]


def read(folder: Path) -> Records:
    """The runs of a study by method and task. Raises ValueError where there are none."""
    found: Records = {}
    for file in sorted(folder.glob("runs/*/*/seed*/run.json")):
        record = read_json(file)
        found.setdefault((record["run"]["method"], record["run"]["task"]), []).append(record)
    if not found:
        raise ValueError(f"{folder} has no run.json under runs/: give the results folder of a study that has run")
    return found


def welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of mean(b) - mean(a), the spreads unequal (Welch); None below three seeds on a side."""
    from scipy.special import stdtrit

    if min(len(a), len(b)) < MIN_SEEDS:
        return None
    parts = [variance(values) / len(values) for values in (a, b)]
    difference, error = fmean(b) - fmean(a), math.sqrt(sum(parts))
    if error == 0:
        return difference, difference
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (a, b), strict=True))
    reach = float(stdtrit(freedom, 0.975)) * error
    return difference - reach, difference + reach


def compare(a: Path, b: Path) -> str:
    """Two results folders as Markdown. Raises ValueError for a folder without runs."""
    left, right = read(a), read(b)
    both = [key for key in left if key in right]
    lines = [f"# {a} against {b}", "", "## What differs in what they were told", ""]
    lines += _settings(a, b, left, right)
    lines += ["", "## What came of it", ""]
    if not both:
        return "\n".join([*lines, "No method and task is in both.", ""])
    lines += [f"| method | task | quantity | A: {a.name} | B: {b.name} | B against A |", "| --- | --- |" + " --- |" * 4]
    for key in both:
        for name, (path, points, on_device) in QUANTITIES.items():
            cells = _row(left[key], right[key], path, points, on_device)
            lines.append("| " + " | ".join(map(markdown_text, (key[0], task_title(key[1]), name, *cells))) + " |")
    lines += [
        "",
        "- Means over seeds. Scores in percent and their difference in points; else the ratio B / A. In brackets the "
        f"95 % interval over seeds (Welch), from {MIN_SEEDS} seeds on each side.",
        "- Time and energy are compared on one device alone.",
    ]
    return "\n".join([*lines, ""])


def _row(
    a: list[dict[str, Any]], b: list[dict[str, Any]], path: tuple[str, ...], points: bool, on_device: bool
) -> tuple[str, str, str]:
    """A's mean, B's mean, and what lies between."""
    left, right = ([_at(record["measurement"], path) for record in side] for side in (a, b))
    shown = [NA if None in side else _show(fmean(map(float, side)), points) for side in (left, right)]
    devices = {device_of(record) for record in (*a, *b)}
    if None in left or None in right or (on_device and len(devices) > 1):
        return shown[0], shown[1], NA
    if points:
        found, change = welch(left, right), fmean(right) - fmean(left)
        text = f"{100 * change:+.1f}" + (f" [{100 * found[0]:+.1f}, {100 * found[1]:+.1f}]" if found else "")
        return shown[0], shown[1], text
    found = welch([math.log(v) for v in left], [math.log(v) for v in right])
    ratio = math.exp(fmean(map(math.log, right)) - fmean(map(math.log, left)))
    text = f"{ratio:.2f}×" + (f" [{math.exp(found[0]):.2f}, {math.exp(found[1]):.2f}]" if found else "")
    return shown[0], shown[1], text


def _at(tree: dict[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _show(value: float, points: bool) -> str:
    return f"{100 * value:.1f}" if points else f"{value:,.4g}"


def _settings(a: Path, b: Path, left: Records, right: Records) -> list[str]:
    """A row for everything that the two were told differently; runs of a method and task by their first seed."""
    told = [_flat({"study": read_json(folder / "study.json")}) for folder in (a, b)]
    for side, records in zip(told, (left, right), strict=True):
        side["runs of"] = ", ".join(f"{method} on {task_title(task)}" for method, task in records)
        for method, task in (key for key in left if key in right):
            runs = records[method, task]
            run = runs[0]["run"]
            own = {name: run[name] for name in ("settings", "hyperparameters", "precision", "batching")}
            side |= _flat({f"{method} on {task_title(task)}": own | {"seeds": len(runs)}})
    for side, records in zip(told, (left, right), strict=True):
        places = [run["provenance"] for runs in records.values() for run in runs]
        side["commit"] = ", ".join(sorted({str(place["commit"])[:12] for place in places}))
        side["device"] = ", ".join(sorted({device_of(run) for runs in records.values() for run in runs}))
    names = [name for name in dict.fromkeys([*told[0], *told[1]]) if told[0].get(name) != told[1].get(name)]
    if not names:
        return ["Nothing."]
    rows = [(name, *(str(side.get(name, "not there")) for side in told)) for name in names]
    return [f"| | A: {a.name} | B: {b.name} |", "| --- | --- | --- |"] + [
        "| " + " | ".join(map(markdown_text, row)) + " |" for row in rows
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}{name}: ") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


if __name__ == "__main__":
    try:
        print(compare(*map(Path, sys.argv[1:3])))
    except (ValueError, OSError, TypeError) as error:
        raise SystemExit(f"{error} (usage: make compare A=results/one B=results/other)") from None
