"""`lora-core compare` (`make compare`): two studies next to each other, first their settings, then their results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, geometric_mean, variance
from typing import Any

from lora_core.commands.environment import describe
from lora_core.config.labels import distinct_labels, setting_text
from lora_core.config.results_folder import obstacle
from lora_core.data.tasks import task_title
from lora_core.data.titles import run_title
from lora_core.evaluation.comparison import points
from lora_core.evaluation.older_runs import check_older_run
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import Layout
from lora_core.records import read_json
from lora_core.reporting.markdown import markdown_text
from lora_core.reporting.model_card import card_label
from lora_core.reporting.table import NA
from lora_core.stats import MIN_SEEDS, TIE
from lora_core.typed_records import name_damaged_file

RunKey = tuple[str, str]  # method and task
Runs = dict[RunKey, list[RunRecord]]  # the records of its seeds


@dataclass(frozen=True)
class Quantity:
    """What is compared of two sets of runs.

    Attributes:
        name: What the table calls it, with its unit.
        of: Its value in a run's record; None if it was not measured.
        is_score: Shown as the mean and compared as a difference in points; else as geometric mean and ratio B / A.
        depends_on_device: Compared only if all runs used one device.
        is_optional: Left out where no run has it.
    """

    name: str
    of: Callable[[RunRecord], float | None]
    is_score: bool = False
    depends_on_device: bool = False
    is_optional: bool = False


def _unless_suspended(run: RunRecord, cost: float | None) -> float | None:
    return None if run.energy.suspended_seconds else cost


QUANTITIES = (
    Quantity("best score (%)", lambda run: run.score.best, is_score=True),
    Quantity("last score (%)", lambda run: run.score.last, is_score=True),
    Quantity("test score (%)", lambda run: run.test.chosen if run.test else None, is_score=True, is_optional=True),
    Quantity("training time (s)", lambda run: _unless_suspended(run, run.train_seconds), depends_on_device=True),
    Quantity("saved for backward (MB)", lambda run: run.memory.parts.saved_for_backward_mb),
    Quantity(
        "energy of training (J)", lambda run: _unless_suspended(run, run.energy.train_joules), depends_on_device=True
    ),
)


@dataclass(frozen=True)
class Results:
    """What a results folder holds.

    Attributes:
        identity: Its study.json; empty if that cannot be read.
        labels: What people call the methods, by their names.
        problems: A sentence for each record that cannot be read.
    """

    folder: Path
    identity: Mapping[str, Any]
    runs: Runs
    labels: Mapping[str, str]
    problems: Sequence[str]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read a results folder. Raise ValueError if it has no runs, or none that can be read."""
        if reason := obstacle(folder):
            raise ValueError(reason)
        runs: Runs = {}
        labels: dict[str, str] = {}
        problems: list[str] = []
        for file in sorted(folder.glob(Layout.run_record.format(method="*", task="*", seed="*"))):
            try:
                run = _read_run(file)
            except (ValueError, OSError) as error:
                problems.append(describe(error))
            else:
                runs.setdefault((run.method, run.task), []).append(run)
                labels[run.method] = card_label(file.with_name(Path(Layout.model_card).name), run)
        if not runs:
            no_runs = f"{folder} has no run.json under runs/; name the results folder of a study that has run"
            raise ValueError(problems[0] if problems else no_runs)
        identity: Mapping[str, Any] = {}
        try:
            identity = read_json(folder / Layout.study)
        except (ValueError, OSError) as error:
            problems.append(describe(error))
        return cls(folder, identity, runs, labels, problems)


def _read_run(file: Path) -> RunRecord:
    """Read the record of a run. Raise ValueError if it was edited, or if a value that is compared is no number."""
    run = RunRecord.read(file)
    check_older_run(file)
    with name_damaged_file(file):
        for quantity in QUANTITIES:
            value = quantity.of(run)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{quantity.name} is {value}")
        names = (run.method, run.task, run.device)
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"method, task and device are {names}")
    return run


def welch_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of mean(b) - mean(a) with unequal variances (Welch).

    None below MIN_SEEDS values on either side, and without any spread between seeds, which tells nothing.
    """
    from scipy.special import stdtrit

    if min(len(a), len(b)) < MIN_SEEDS:
        return None
    parts = [variance(values) / len(values) for values in (a, b)]
    difference, standard_error = fmean(b) - fmean(a), math.sqrt(sum(parts))
    if standard_error <= TIE:
        return None
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (a, b), strict=True))
    reach = float(stdtrit(freedom, 0.975)) * standard_error
    return difference - reach, difference + reach


def compare_studies(a: Path, b: Path) -> str:
    """Compare two results folders and return Markdown. Raise ValueError for a folder without runs."""
    results_a, results_b = Results.read(a), Results.read(b)
    runs_a, runs_b = results_a.runs, results_b.runs
    shared = [key for key in runs_a if key in runs_b]
    lines = [f"# {a} and {b}", ""]
    if problems := [*results_a.problems, *results_b.problems]:
        lines += ["Left out, because they cannot be read:", "", *(f"- {problem}" for problem in problems), ""]
    lines += ["## Settings that differ", ""]
    labels = distinct_labels({**results_b.labels, **results_a.labels})
    lines += _settings_table(a, b, *(_all_settings(results, shared, labels) for results in (results_a, results_b)))
    lines += ["", "## Results", ""]
    if not shared:
        return "\n".join([*lines, "The studies share no method and task.", ""])
    lines += [
        f"| method | task | quantity | A: {a.name} | B: {b.name} | B compared with A |",
        "| --- | --- |" + " --- |" * 4,
    ]
    for method, task in shared:
        for quantity in QUANTITIES:
            sides = runs_a[method, task], runs_b[method, task]
            if quantity.is_optional and all(quantity.of(run) is None for side in sides for run in side):
                continue
            cells = _result_cells(quantity, *sides)
            lines.append(_markdown_row(labels[method], task_title(task), quantity.name, *cells))
    lines += [
        "",
        "- Scores: means over seeds in percent, and their difference in points. All else: geometric means over seeds, "
        "and their ratio B / A. In brackets is the 95 % interval over seeds (Welch, of the logarithms for a ratio), if "
        f"each side has at least {MIN_SEEDS} seeds.",
        "- Time and energy are compared only between runs on the same device, and are n/a if a run was suspended.",
    ]
    return "\n".join([*lines, ""])


def _result_cells(quantity: Quantity, a: Sequence[RunRecord], b: Sequence[RunRecord]) -> tuple[str, str, str]:
    """Return A's mean, B's mean, and how they compare."""
    values_a, values_b = ([quantity.of(run) for run in side] for side in (a, b))
    measured_a, measured_b = (
        [v for v in side if v is not None and (v > 0 or quantity.is_score)] for side in (values_a, values_b)
    )
    complete = [len(m) == len(v) for m, v in ((measured_a, values_a), (measured_b, values_b))]
    means = [
        _mean(measured, quantity) if whole else NA
        for measured, whole in zip((measured_a, measured_b), complete, strict=True)
    ]
    devices = {run.device for run in (*a, *b)}
    if not all(complete) or (quantity.depends_on_device and len(devices) > 1):
        return means[0], means[1], NA
    compared = _points(measured_a, measured_b) if quantity.is_score else _ratio(measured_a, measured_b)
    return means[0], means[1], compared


def _points(a: Sequence[float], b: Sequence[float]) -> str:
    interval = welch_interval(a, b)
    text = points(100 * (fmean(b) - fmean(a)))
    return text + (f" [{points(100 * interval[0])}, {points(100 * interval[1])}]" if interval else "")


def _ratio(a: Sequence[float], b: Sequence[float]) -> str:
    """Return the ratio of geometric means, with the interval of the logarithms."""
    logs_a, logs_b = [math.log(v) for v in a], [math.log(v) for v in b]
    interval = welch_interval(logs_a, logs_b)
    text = f"{math.exp(fmean(logs_b) - fmean(logs_a)):.2f}×"
    return text + (f" [{math.exp(interval[0]):.2f}, {math.exp(interval[1]):.2f}]" if interval else "")


def _mean(values: Sequence[float], quantity: Quantity) -> str:
    return f"{100 * fmean(values):.1f}" if quantity.is_score else f"{geometric_mean(values):,.4g}"


def _all_settings(results: Results, shared: Sequence[RunKey], labels: Mapping[str, str]) -> dict[str, str]:
    """Return every setting of a study by its name in the table; of shared runs, those of the first seed."""
    runs = results.runs
    settings = _flatten({"study": results.identity})
    alone = [run_title(labels, method, task) for method, task in runs if (method, task) not in shared]
    settings["runs that the other study lacks"] = ", ".join(alone) or "none"
    for method, task in shared:
        records = runs[method, task]
        run = records[0]
        parts = {
            "settings": run.settings,
            "hyperparameters": run.hyperparameters,
            "precision": run.precision,
            "batching": run.batching,
            "execution": run.execution,
        }
        settings |= _flatten({run_title(labels, method, task): parts | {"seeds": len(records)}})
    all_runs = [run for records in runs.values() for run in records]
    settings["commit"] = ", ".join(sorted({str(run.provenance.commit)[:12] for run in all_runs}))
    settings["device"] = ", ".join(sorted({run.device for run in all_runs}))
    return settings


def _settings_table(a: Path, b: Path, settings_a: Mapping[str, str], settings_b: Mapping[str, str]) -> list[str]:
    names = [n for n in dict.fromkeys([*settings_a, *settings_b]) if settings_a.get(n) != settings_b.get(n)]
    if not names:
        return ["None."]
    rows = [_markdown_row(name, settings_a.get(name, "absent"), settings_b.get(name, "absent")) for name in names]
    return [f"| | A: {a.name} | B: {b.name} |", "| --- | --- | --- |", *rows]


def _markdown_row(*cells: str) -> str:
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the values of a tree as text, each by the names that lead to it."""
    values: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            values |= _flatten(value, f"{prefix}{name}: ")
        else:
            values[f"{prefix}{name}"] = "absent" if value is None else setting_text(value)
    return values
