"""The paper's tables from this study's records: what stands in each cell, and what must be said below."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation import latency_summary as timing
from lora_core.evaluation.cost_to_threshold import device_of
from lora_core.evaluation.frames import by_task, per_device, read_costs, read_differences, read_memory
from lora_core.records import FULL, OWN, LatencyRow, read_json, read_rows
from lora_core.reporting.rendering import NA, Cell, Table, number_text
from lora_core.stats import MIN_SEEDS, Equivalence, censored_median

# What the latency of a method that does not merge is held against as well.
MERGED_LORA = (OWN, "merged")
METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}


def mean_cell(row: str, column: str, values: Sequence[float | None], show: Callable[[float], str]) -> Cell:
    """Mean over runs, with the standard deviation from two runs on; not available where one value is."""
    known = [value for value in values if value is not None and not pd.isna(value)]
    if not known or len(known) < len(values):
        return Cell(row, column, None, NA, n=len(values))
    mean = sum(known) / len(known)
    if len(known) == 1:
        return Cell(row, column, mean, show(mean), n=1)
    sd = float(pd.Series(known).std(ddof=1))
    return Cell(row, column, mean, f"{show(mean)} ± {show(sd)}", sd, len(known))


def score_cell(row: str, column: str, values: Sequence[float | None]) -> Cell:
    """`mean_cell` in percent, from three runs on with the median in brackets: of two it is the mean."""
    cell = mean_cell(row, column, values, _percent)
    if cell.sd is None or len(values) < MIN_SEEDS:
        return cell
    return replace(cell, text=f"{cell.text} ({_percent(float(pd.Series(list(values), dtype=float).median()))})")


def same_cell(row: str, column: str, values: pd.Series, show: Callable[[float], str]) -> Cell:
    """What is the same for every run, and was not measured."""
    known = values.dropna().unique()
    return Cell(row, column, float(known[0]), show(known[0])) if len(known) else Cell(row, column, None, NA)


def median_cell(row: str, column: str, values: pd.Series, reached: pd.Series, show: Callable[[float], str]) -> Cell:
    """Median over runs, a run that never got there above all others; n/a where a run that did has no figure.

    Where it falls among those that never got there it is known from below alone. From three runs on, all of them
    there, the t-interval of the mean beside it.
    """
    there = values[reached.astype(bool)]
    if there.isna().any() or values.empty:
        return Cell(row, column, None, NA, n=len(values))
    found = censored_median(list(there), len(values))
    if found.value is None:
        text = "not reached" if found.at_least is None else f"≥ {show(found.at_least)}"
        return Cell(row, column, None, text, n=len(values), low=found.at_least)
    interval = found.interval
    if interval is None:
        return Cell(row, column, found.value, show(found.value), n=len(values))
    text = f"{show(found.value)} [{show(interval.low)}, {show(interval.high)}]"
    return Cell(row, column, found.value, text, n=len(values), low=interval.low, high=interval.high)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _mb(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _groups(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """`(method, column title, rows)` in the order of the records."""
    groups = frame.groupby(["method", "task"], sort=False)
    return [(str(method), task_title(str(task)), group) for (method, task), group in groups]


def shared_note(frame: pd.DataFrame) -> list[str]:
    """Names the runs whose device another process used."""
    if "shared" not in frame:
        return []
    found = frame[frame["shared"].astype(str) == "True"]
    names = [f"{r['method']} {task_title(r['task'])} seed {r['seed']}" for _, r in found.iterrows()]
    if not names:
        return []
    return [
        f"Shared: another process used the device during {', '.join(names)}; what was measured is not theirs alone."
    ]


def _devices(frame: pd.DataFrame) -> str:
    return f"Device: {'; '.join(frame['device'].unique())}."


def parameters(counts_file: Path) -> Table:
    """Table 1: trainable parameters, the head counted apart."""
    counts = read_json(counts_file)
    cells = []
    for method, count in counts["methods"].items():
        share = 1 - count["trainable"] / counts["full"]
        cells += [
            Cell(method, "trainable parameters", count["trainable"], f"{count['trainable']:,}"),
            Cell(method, "in millions", count["trainable"] / 1e6, f"{count['trainable'] / 1e6:.1f}"),
            Cell(method, "fewer than the whole model", share, f"{100 * share:.2f} %"),
            Cell(method, "head", count["head"], f"{count['head']:,}"),
            Cell(method, "whole model", count["total"], f"{count['total']:,}"),
        ]
    return Table(
        "table1", "Trainable parameters", "method", cells,
        [
            "Counted on shapes for a head with two labels; no training is needed.",
            "As in the paper, what an adapter method trains is counted without the head, which every method trains; "
            "full fine-tuning counts the whole model, its head included.",
        ],
    )  # fmt: skip


def scores(score_files: Sequence[str | Path]) -> Table:
    """Table 2: the score of the best, the last and the cross-fitted epoch, and the differences to FFT and own LoRA."""
    runs, differences = by_task(score_files), read_differences(score_files)
    cells = []
    for label, quantity in (("best epoch", "best"), ("last epoch", "last"), ("cross-fitted", "cross_fitted")):
        cells += [score_cell(f"{m}, {label}", t, list(g[quantity])) for m, t, g in _groups(runs)]
    against = differences[differences["against"].isin((FULL, OWN)) & (differences["quantity"] == "best")]
    for label, low, high in (
        ("95% over seeds", "low", "high"),
        ("95% over examples", "examples_low", "examples_high"),
    ):
        cells += [
            _difference_cell(f"{m} - {other}, {label}", t, g.iloc[0], low, high)
            for other, held in against.groupby("against", sort=False)
            for m, t, g in _groups(held)
        ]
    firsts = [(task_title(str(task)), group.iloc[0]) for task, group in runs.groupby("task", sort=False)]
    cells += [Cell("constant guess", t, f["constant_guess"], _percent(f["constant_guess"])) for t, f in firsts]
    sizes = [
        f"{t}: {f['examples']}" + (f" (one is {100 / f['examples']:.2f} points)" if f["metric"] == "accuracy" else "")
        for t, f in firsts
    ]
    metrics = [f"{t}: {METRIC_NAMES[f['metric']]}" for t, f in firsts]
    notes = [
        f"In percent, on the validation split. {'; '.join(metrics)}.",
        f"Validation examples: {'; '.join(sizes)}.",
        "Best epoch: chosen on the split that is reported, as in the paper. Cross-fitted: chosen on one half of it, "
        "scored on the other, both ways. Last: not chosen.",
    ]
    if runs["seed"].nunique() > 1:
        notes.append(f"Mean ± standard deviation over seeds; from {MIN_SEEDS} seeds on the median in brackets.")
    if len(against):
        notes.append(
            "Differences in points, of the best epoch, paired by seed: a t-interval over seeds, and a bootstrap of the "
            "validation examples, the same for all seeds and both methods."
        )
    if runs["seed"].nunique() < MIN_SEEDS:
        notes.append(f"Fewer than {MIN_SEEDS} seeds: no interval and no verdict across seeds.")
    constant = runs[runs["collapsed"]]
    if len(constant):
        names = [f"{r['method']} {task_title(r['task'])} seed {r['seed']}" for _, r in constant.iterrows()]
        notes.append(f"The same answer to everything in the last epoch, counted in: {', '.join(names)}.")
    return Table("table2", "Score on the validation split", "method", cells, notes + shared_note(runs))


def _difference_cell(row: str, column: str, found: pd.Series, low: str, high: str) -> Cell:
    if pd.isna(found[low]):
        return Cell(row, column, None, NA)
    text = f"{_points(found['difference'])} [{_points(found[low])}, {_points(found[high])}]"
    return Cell(row, column, found["difference"], text, n=int(found["seeds"]), low=found[low], high=found[high])


def latency(csv_files: Iterable[str | Path], margin: float) -> Table:
    """Table 3: how long a pass over the validation set takes, against FFT, and one example alone."""
    files = [Path(file) for file in csv_files]
    records = [read_json(file.with_suffix(".json")) for file in files]
    about = pd.DataFrame(
        {
            "method": "latency",
            "task": [file.parent.name for file in files],
            "seed": [file.stem.removeprefix("seed") for file in files],
            "device": [device_of(record) for record in records],
            "shared": [record["provenance"]["shared"] for record in records],
        }
    )
    suffixes = pd.Series("", about.index)
    if about["seed"].nunique() > 1:
        suffixes += ", seed " + about["seed"]
    if about["device"].nunique() > 1:
        suffixes += " on " + about["device"]
    blocks: list[list[Cell | None]] = []
    rounds: list[int] = []
    batch_sizes: set[int] = set()
    for file, record, task, suffix in zip(files, records, about["task"], suffixes, strict=True):
        rows = read_rows(file, LatencyRow)
        batch_sizes |= {row.batch_size for row in rows if row.mode == "pass"}
        passes = timing.summarize(rows, "pass", margin)
        rounds += [found.rounds for found in passes]
        columns = [
            passes,
            timing.summarize(rows, "single", margin),
            timing.summarize(rows, "pass", margin, MERGED_LORA),
            timing.summarize(rows, "single", margin, MERGED_LORA),
        ]
        variants = zip(*columns, strict=True)
        for found in sorted(variants, key=lambda timings: timing.VARIANTS.index(timings[0].variant)):
            method, variant = found[0].method, found[0].variant
            name = (method if variant == "plain" else f"{method}, {variant}") + suffix
            blocks.append(
                [
                    *_timing_cells(name, task_title(task), *found),
                    *_input_cells(method + suffix, task_title(task), record["input_tokens"], method, variant),
                ]
            )
    cells = [cell for group in zip(*blocks, strict=True) for cell in group if cell]
    notes = [
        f"Median seconds of a pass over the validation set in batches of {', '.join(map(str, sorted(batch_sizes)))} "
        f"sorted by length and padded to the longest; {_span(rounds)} rounds after warm-up, the "
        "variants in one process, in an order shuffled per round. One example: alone and unpadded, median (95th "
        "percentile).",
    ]
    if any(cell.low is not None for cell in cells):
        notes.append(
            f"Against FFT: the ratio of times in the same round with its 90% interval. Equivalent: inside ±"
            f"{100 * margin:g}%; slower, faster: outside; undecided when the time was up, with the smallest difference "
            "that so many rounds find."
        )
    if any(cell.row.endswith("are cut") for cell in cells):
        notes.append(
            "Longest input: tokens that the position embeddings have room for, less what the method takes of them. "
            "What is longer is cut: in so many validation examples."
        )
    notes.append(_devices(about))
    return Table("table3", "Inference latency", "method", cells, notes + shared_note(about))


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _timing_cells(
    name: str,
    column: str,
    found: timing.Timing,
    single: timing.Timing,
    beside_lora: timing.Timing,
    single_beside_lora: timing.Timing,
) -> list[Cell | None]:
    """The rows of one variant, the same number for each; None where there is nothing to say.

    A method that does not merge is held against merged LoRA too, in batches and one example at a time.
    """
    p50, p95, rate, against = found.p50_seconds, found.p95_seconds, found.examples_per_second, found.against
    alone = f"{1e3 * single.p50_seconds:.1f} ({1e3 * single.p95_seconds:.1f})"
    cells: list[Cell | None] = [
        Cell(name, column, p50, f"{p50:.3f}", n=found.rounds),
        Cell(f"{name}: 95th percentile", column, p95, f"{p95:.3f}", n=found.rounds),
        Cell(f"{name}: examples/s", column, rate, f"{rate:.0f}", n=found.rounds),
        Cell(f"{name}: one example, ms", column, 1e3 * single.p50_seconds, alone, n=single.rounds),
        _ratio_cell(f"{name} / {FULL}", column, against),
        None,
    ]
    if against:
        detectable = against.detectable_percent
        row = f"{name} / {FULL}: smallest difference found"
        cells[-1] = Cell(row, column, detectable / 100, f"{detectable:.1f} %")
    stays = found.variant == "plain" and found.method != FULL
    row = f"{name} / {OWN}, merged"
    return [
        *cells,
        _ratio_cell(row, column, beside_lora.against if stays else None),
        _ratio_cell(f"{row}: one example", column, single_beside_lora.against if stays else None),
    ]


def _input_cells(
    name: str, column: str, inputs: dict[str, dict[str, int]], method: str, variant: str
) -> list[Cell | None]:
    """Where methods take inputs of unequal length: the longest, and how many examples it cuts; once a method."""
    if variant == "unmerged" or len({tokens["longest"] for tokens in inputs.values()}) == 1:
        return [None, None]
    words = {"longest": "longest input, tokens", "truncated": "examples that are cut"}
    return [Cell(f"{name}: {words[key]}", column, value, str(value)) for key, value in inputs[method].items()]


def _ratio_cell(row: str, column: str, found: Equivalence | None) -> Cell | None:
    if found is None:
        return None
    text = f"{found.ratio:.3f} [{found.low:.3f}, {found.high:.3f}] {found.verdict}"
    return Cell(row, column, found.ratio, text, n=found.rounds, low=found.low, high=found.high)


MEMORY_ROWS = (
    ("{m}", "mean_mb"),
    ("{m}, less the baseline", "added_mb"),
    ("{m}, peak less the baseline", "peak_added_mb"),
    ("{m}: allocator's peak", "peak_allocated_mb"),
    ("{m}: allocator's reserved peak", "peak_reserved_mb"),
    ("{m}: weights", "weights_mb"),
    ("{m}: gradients", "gradients_mb"),
    ("{m}: optimiser state", "optimizer_mb"),
    ("{m}: saved for backward", "saved_for_backward_mb"),
    ("{m}: sum of the four", "accounted_mb"),
    ("{m}: saved for backward, predicted", "predicted_saved_mb"),
    ("{m}: sum, predicted", "predicted_mb"),
)
ON_PAPER = {"weights_mb", "gradients_mb", "optimizer_mb"}  # follow from the parameters: nothing to average


def memory(run_files: Iterable[str | Path]) -> Table:
    """Table 4: memory during training, measured, accounted for, and predicted from shapes."""
    runs = per_device(read_memory(run_files))
    shown = [(label, column) for label, column in MEMORY_ROWS if runs[column].notna().any() or column == "mean_mb"]
    cells = [
        same_cell(label.format(m=method), task, group[column], _mb)
        if column in ON_PAPER
        else mean_cell(label.format(m=method), task, list(group[column]), _mb)
        for label, column in shown
        for method, task, group in _groups(runs)
    ]
    kinds = set(runs["kind"])
    notes = ["MB (10^6 bytes). The first rows: the mean over the samples taken while training."]
    if "resident" in kinds:
        notes.append(
            "On a CPU: the resident memory of the whole process, and the same less what it held before the model was "
            "loaded. It is not GPU memory and decides nothing about it."
        )
    if "device" in kinds:
        notes.append("On a GPU: the memory in use on the device, as NVML tells it.")
    notes += [
        "Weights, gradients and AdamW's state follow from the parameters, in the type each is held in. "
        "Saved for backward: what autograd kept in the largest batch, each storage once, without parameters, whatever "
        "the device's allocator does.",
        "Predicted: from shapes alone, by the same count.",
        "Gradients are freed before the next forward pass, so they and what is saved for backward need not be there at "
        "the same time: but for buffers of the moment, and the layer that gradient checkpointing computes again, "
        "the sum bounds the peak from above.",
        _devices(runs),
    ]
    return Table("table4", "Average memory during training", "method", cells, notes + shared_note(runs))


def _count(row: str, column: str, group: pd.DataFrame) -> Cell:
    known = group["reached"].dropna().astype(bool)
    if known.empty:
        return Cell(row, column, None, NA)
    return Cell(row, column, float(known.mean()), f"{known.sum()} of {len(known)}", n=len(known))


# Label, column, how it is shown, and the column whose emptiness says that a run never got there.
COST_ROWS: tuple[tuple[str, str, Callable[[float], str], str | None], ...] = (
    ("power (W)", "power", lambda v: f"{v:.1f}", "epochs_to_threshold"),
    ("train time (s)", "seconds_to_threshold", lambda v: f"{v:.1f}", "epochs_to_threshold"),
    ("epochs", "epochs_to_threshold", lambda v: f"{v:.3g}", "epochs_to_threshold"),
    ("energy (kJ)", "energy", lambda v: f"{v:.3g}", "epochs_to_threshold"),
    ("energy less idle (kJ)", "net_energy", lambda v: f"{v:.3g}", "epochs_to_threshold"),
    ("epochs to its own seed's threshold", "epochs_to_seed_threshold", "{:.3g}".format, "epochs_to_seed_threshold"),
    ("seconds an epoch", "seconds_per_epoch", lambda v: f"{v:.2f}", None),
)


def cost(name: str, csv_files: Iterable[str | Path], methods: list[str]) -> Table:
    """Tables 5 and 6: power, time, epochs and energy up to the task's threshold."""
    frame = read_costs(csv_files)
    frame = per_device(frame[frame["method"].isin(methods)])
    several = frame["method"].nunique() > 1
    cells: list[Cell] = []
    for method, task, group in _groups(frame):
        prefix = f"{method}: " if several else ""
        no_threshold = group["threshold"].isna().all()
        for label, column, show, there in COST_ROWS:
            if there and no_threshold:
                cells.append(Cell(f"{prefix}{label}", task, None, NA))
                continue
            reached = group[there].notna() if there else group["seed"].notna()
            cells.append(median_cell(f"{prefix}{label}", task, group[column], reached, show))
        cells.append(_count(f"{prefix}seeds that got there", task, group))
        cells.append(same_cell(f"{prefix}threshold", task, group["threshold"], _percent))
        cells.append(same_cell(f"{prefix}epochs planned", task, group["planned_epochs"], lambda v: f"{v:g}"))
    notes = [
        "Up to the first epoch whose score reaches the task's threshold, min(mean FFT, mean LoRA) - 0.5 points of the "
        f"best scores; medians over seeds, from {MIN_SEEDS} seeds on with the 95% t-interval of the mean where all got "
        "there. Training alone, without evaluation, loading and saving.",
        "The schedule decays over the epochs planned: how many are planned moves the epochs to a threshold as well.",
    ]
    first = frame.dropna(subset="start_from").drop_duplicates(["method", "task"])
    if len(first):
        names = [f"{r['method']} {task_title(r['task'])} ({task_title(r['start_from'])})" for _, r in first.iterrows()]
        notes.append(f"Started from another task's run, whose cost is not in here: {', '.join(names)}.")
    if frame.empty:
        notes.append("No method of this kind in the study.")
    elif frame["threshold"].isna().all():
        notes.append("No threshold: it needs both `fft` and `lora` in the study.")
    elif not frame["reached"].astype(bool).all():
        notes.append(
            "A run that never gets there is censored: dearer than all that do, by how much is not known. A median that "
            "falls on one is known from below (≥), or not at all (not reached)."
        )
    vague = [task_title(str(t)) for t, g in frame.groupby("task", sort=False) if not g["threshold_meaningful"].all()]
    if vague and not frame["threshold"].isna().all():
        notes.append(f"Threshold not meaningful (within 2 points of the constant guess): {', '.join(vague)}.")
    if len(sources := set(frame["energy_source"].dropna())):
        words = {"counter": "the device's energy counter", "trapezoid": "power samples alone (no energy counter here)"}
        boundary = "; ".join(sorted(set(frame["energy_boundary"].dropna())))
        notes.append(f"Energy from {' and '.join(words[s] for s in sorted(sources))}; it covers {boundary}.")
    measured = frame["energy_source"].notna() & frame["epochs_to_threshold"].notna()
    if (measured & frame["energy"].isna() & frame["meter_reason"].isna()).any():
        notes.append("Energy of less than 2 s of training is n/a: no meter says that.")
    reasons = sorted(set(frame["meter_reason"].dropna()))
    if reasons:
        notes.append(f"No power and energy (n/a): {'; '.join(reasons)}.")
    if not frame.empty:
        notes.append(_devices(frame))
    what = "full fine-tuning" if name == "table5" else "LoRA"
    return Table(name, f"Cost at equal accuracy: {what}", "quantity", cells, notes + shared_note(frame))


def hyperparameters(resolved: dict[str, dict[str, dict[str, Any]]]) -> Table:
    """Table 7 from `{method: {task: {name: {value, source}}}}`."""
    cells: list[Cell] = []
    sources: dict[str, dict[str, None]] = {}
    for method, tasks in resolved.items():
        for task, values in tasks.items():
            for name, entry in values.items():
                row = f"{method}: {name.replace('_', ' ')}"
                value = entry["value"]
                text = "as in the model" if (name, value) == ("dropout", None) else number_text(value)
                cells.append(Cell(row, task_title(task), text if isinstance(value, list) else value, text))
                sources.setdefault(row, {})[entry["source"]] = None
    cells += [Cell(row, "source", text, text) for row, found in sources.items() for text in ["; ".join(found)]]
    return Table("table7", "Hyperparameters in use", "hyperparameter", cells, ["Read from the resolved configuration."])
