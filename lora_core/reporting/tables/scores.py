"""Table 2: the scores of the best epoch, and LoRA's difference from full fine-tuning; other epochs and differences."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from lora_core.data.metrics import METRICS
from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import read_differences, read_scores
from lora_core.reporting.digits import PERCENT, POINTS
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import (
    Group,
    available,
    groups,
    mean_cell,
    run_names,
    same_for_all_note,
    shared_device_note,
)
from lora_core.stats import MIN_SEEDS

DIFFERENCE = "score difference from"
BASELINE = "majority-class baseline"
CORNER = "method (score, %)"
COMPARED = (
    ("best", "seeds"), ("best", "examples"), ("last", "seeds"), ("cross_fitted", "seeds"),
    ("test", "seeds"), ("test", "examples"), ("test_last", "seeds"),
)  # fmt: skip
NO_OVERLAP = "without texts of the training split"
EPOCHS = {"best": "best epoch", "last": "last epoch", "cross_fitted": "cross-fitted"}
TEST = {"test": "test split", "test_last": "test split, last epoch"}
EQUAL_LENGTH_NOTE = (
    "Padding changes the logits of this model: every batch, in training and in evaluation, has inputs of one length."
)
# What an interval of a difference is taken over, and the columns of its bounds.
INTERVALS = {"seeds": ("low", "high"), "examples": ("examples_low", "examples_high")}


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 2 from each task's scores and differences."""
    runs, differences = read_scores(inputs["scores"]), read_differences(inputs["differences"])
    full, adapter = settings.references.full, settings.references.adapter
    over = "seeds" if runs["seed"].nunique() >= MIN_SEEDS else "examples"
    compared = differences[(differences["method"] == adapter) & (differences["against"] == full)]
    cells = [
        *(mean_cell(group.cell("", "score", "fraction", EPOCHS["best"]), list(group.runs["best"]), PERCENT)
          for group in _groups(runs, settings)),
        *_differences(compared, "best", over, settings),
        *_on_test(runs, "test", settings),
        *_differences(compared, "test", over, settings),
    ]  # fmt: skip
    for task, run in _first_runs(runs).items():
        value = run["baseline_score"]
        cells.append(Cell(BASELINE, task_title(task), value, PERCENT.one(value), task=task, quantity=BASELINE,
                          unit="fraction"))  # fmt: skip
    notes = [*_score_notes(runs), "Best epoch: chosen on the same split that is reported, as in the paper."]
    notes += _test_notes(runs)
    if runs["seed"].nunique() > 1:
        spread = "the standard deviation" if over == "examples" else "the 95 % t-interval of the mean"
        notes.append(f"Mean over seeds, with {spread}.")
    notes += [*same_for_all_note(cells), *_difference_notes(cells, runs), *_run_notes(runs, settings)]
    return new_table("table2", CORNER, cells, notes)


def draw_details(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the scores of other epochs, and every method's differences from the references."""
    runs, differences = read_scores(inputs["scores"]), read_differences(inputs["differences"])
    references = [name for name in (settings.references.full, settings.references.adapter) if name]
    compared = differences[differences["against"].isin(references)]
    cells = [
        *_medians(runs, settings),
        *(mean_cell(group.cell(f", {label}", "score", "fraction", label), list(group.runs[column]), PERCENT)
          for column, label in EPOCHS.items() if column != "best" for group in _groups(runs, settings)),
    ]  # fmt: skip
    cells += [*_without_overlap(runs, settings), *_on_test(runs, "test_last", settings)]
    for against in references:
        rows = compared[compared["against"] == against]
        for quantity, over in COMPARED:
            cells += available(_differences(rows, quantity, over, settings))
    notes = [
        *_score_notes(runs),
        "Cross-fitted: the epoch is chosen on one half of the split and scored on the other, both ways. Last epoch: no "
        "choice is made.",
        *_overlap_notes(runs),
        *_test_notes(runs),
        *same_for_all_note(cells),
        *_difference_notes(cells, runs),
        *_run_notes(runs, settings),
    ]
    return new_table("table2-details", CORNER, cells, notes)


def _groups(runs: pd.DataFrame, settings: DrawSettings) -> list[Group]:
    """The runs of each method and task: scores of several devices are averaged."""
    return groups(runs.drop(columns="device", errors="ignore"), settings)


def _first_runs(runs: pd.DataFrame) -> dict[str, pd.Series]:
    return {str(task): group.iloc[0] for task, group in runs.groupby("task", sort=False)}


def _medians(runs: pd.DataFrame, settings: DrawSettings) -> Iterator[Cell]:
    """The median of the best scores, of at least three seeds: of two it is the mean."""
    for group in _groups(runs, settings):
        scores = group.runs["best"]
        if len(scores) >= MIN_SEEDS:
            cell = group.cell(f", {EPOCHS['best']}: median", "median score", "fraction", EPOCHS["best"])
            median = scores.median()
            yield (
                cell
                if scores.isna().any()
                else replace(cell, value=float(median), text=PERCENT.one(median), n=len(scores))
            )


def _without_overlap(runs: pd.DataFrame, settings: DrawSettings) -> Iterator[Cell]:
    """The best epoch's score without the examples that overlap; none if the study has no such example."""
    if not runs.get("overlapping", pd.Series(dtype=float)).any():
        return
    for group in _groups(runs, settings):
        cell = group.cell(f", {EPOCHS['best']}, {NO_OVERLAP}", "score without overlap", "fraction", EPOCHS["best"])
        yield mean_cell(cell, list(group.runs["without_overlap"]), PERCENT)


def _on_test(runs: pd.DataFrame, quantity: str, settings: DrawSettings) -> Iterator[Cell]:
    """The scores on the test split of each task that has one."""
    if quantity not in runs:
        return
    for group in _groups(runs[runs[quantity].notna() | runs["test_examples"].notna()], settings):
        cell = group.cell(f", {TEST[quantity]}", "score", "fraction", TEST[quantity])
        yield mean_cell(cell, list(group.runs[quantity]), PERCENT)
    if quantity == "test":
        for task, run in _first_runs(runs[runs["test_examples"].notna()]).items():
            value, name = run["test_baseline_score"], f"{BASELINE}, {TEST[quantity]}"
            yield Cell(name, task_title(task), value, PERCENT.one(value), task=task, quantity=name, unit="fraction")


def _has_test(runs: pd.DataFrame) -> bool:
    return "test_examples" in runs and bool(runs["test_examples"].notna().any())


def _test_notes(runs: pd.DataFrame) -> Iterator[str]:
    if not _has_test(runs):
        return
    tested = _first_runs(runs[runs["test_examples"].notna()])
    sizes = "; ".join(f"{task_title(task)}: {int(run['test_examples'])}" for task, run in tested.items())
    yield (
        "Test split: predicted at the epoch that is best on the validation split, and at the last; it decides nothing, "
        f"so its scores have no optimism of a choice. The answer uses it. Test examples: {sizes}."
    )


def _overlap_notes(runs: pd.DataFrame) -> Iterator[str]:
    """How many examples of each task overlap; none for a task that was tokenized before they were counted."""
    counts = {task: run.get("overlapping") for task, run in _first_runs(runs).items()}
    known = [
        f"{task_title(task)}: {int(count)} of {examples}"
        for task, count in counts.items()
        for examples in [_first_runs(runs)[task]["examples"]]
        if count is not None and not pd.isna(count)
    ]
    if known:
        yield (
            f"Validation examples that share a text with a training example, without case and punctuation: "
            f"{'; '.join(known)}."
        )


def _differences(compared: pd.DataFrame, quantity: str, over: str, settings: DrawSettings) -> Iterator[Cell]:
    """The differences of one quantity from one reference; without an interval over seeds where there are too few."""
    low, high = INTERVALS[over]
    rows = compared[compared["quantity"] == quantity]
    interval = f", 95 % over {over}" if over == "examples" or rows[low].notna().any() else ""
    if quantity in ("best", "test") and not interval:
        return
    names = EPOCHS | TEST
    epoch = "" if quantity == "best" else f", {names[quantity]}"
    for group in groups(rows, settings):
        row = group.runs.iloc[0]
        against = settings.label(row["against"])
        name = f"{DIFFERENCE} {against}" + (f", interval over {over}" if interval else "")
        cell = group.cell(f" − {against}{epoch}{interval}", name, "fraction", names[quantity])
        yield _difference_cell(cell, row, low, high, bool(interval))


def _difference_cell(cell: Cell, row: pd.Series, low: str, high: str, has_interval: bool) -> Cell:
    """Fill a cell with a difference; identical predictions are said, even where there is no interval."""
    identical = (
        row["quantity"] in ("best", "test") and row["seeds"] and row.get("identical_predictions") == row["seeds"]
    )
    no_interval = pd.isna(row[low])
    if pd.isna(row["difference"]) or (has_interval and no_interval and not identical):
        return cell
    filled = replace(cell, value=row["difference"], text=POINTS.one(row["difference"]), n=int(row["seeds"]))
    if has_interval and not no_interval:
        text = POINTS.with_bounds(row["difference"], row[low], row[high])
        filled = replace(filled, text=text, low=row[low], high=row[high])
    return replace(filled, text="identical", note="identical predictions") if identical else filled


def _score_notes(runs: pd.DataFrame) -> list[str]:
    sizes, metrics = [], []
    for task, run in _first_runs(runs).items():
        one = f" (one example is {100 / run['examples']:.2f} points)" if run["metric"] == "accuracy" else ""
        sizes.append(f"{task_title(task)}: {run['examples']}{one}")
        metrics.append(f"{task_title(task)}: {METRICS[run['metric']].title}")
    on_test = ", or on the test split where a row says so" if _has_test(runs) else ""
    return [
        f"In percent, on the validation split{on_test}. {'; '.join(metrics)}.",
        f"Validation examples: {'; '.join(sizes)}.",
    ]


def _difference_notes(cells: Sequence[Cell], runs: pd.DataFrame) -> Iterator[str]:
    few = runs["seed"].nunique() < MIN_SEEDS
    if any(cell.quantity.startswith(DIFFERENCE) for cell in cells):
        examples = "examples of the split" if _has_test(runs) else "validation examples"
        yield (
            "Differences are in points, paired by seed. Over seeds: a t-interval. Over examples: a bootstrap over the "
            f"{examples} that uses the same resamples for all seeds and both methods."
            + (f" Fewer than {MIN_SEEDS} seeds: no interval and no verdict across seeds." if few else "")
        )
        if any(cell.text == "identical" for cell in cells):
            yield "Identical: both methods make the same predictions with every seed."
    elif few:
        yield f"Fewer than {MIN_SEEDS} seeds: no interval and no verdict across seeds."


def _run_notes(runs: pd.DataFrame, settings: DrawSettings) -> Iterator[str]:
    collapsed = runs[runs["collapsed"]]
    if len(collapsed):
        names = run_names(collapsed, settings)
        yield f"Predicts the same answer for every example in the last epoch (included above): {names}."
    if runs["equal_length_batches"].any():
        yield EQUAL_LENGTH_NOTE
    yield from shared_device_note(runs, settings)
