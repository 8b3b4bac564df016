"""Table 3: how long a pass over the validation set takes, and merged adapters relative to full fine-tuning."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.decimals import plain
from lora_core.evaluation.frames import LatencyRun, read_latency_runs
from lora_core.evaluation.latency_record import SCORE_CHANGE
from lora_core.evaluation.latency_summary import LEVEL, VARIANTS, Timing, summarize
from lora_core.reporting.digits import FIGURES, RATIO
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import (
    DISTURBED,
    devices_note,
    disturbed_cell,
    mean_cell,
    same_for_all_note,
    shared_device_note,
)
from lora_core.stats import Equivalence

TIME = "time of a pass"
PRECISIONS = {"fp32": "float32", "tf32": "TF32", "bf16": "bf16", "fp16": "fp16"}  # by the name in the configuration


@dataclass(frozen=True)
class TimedVariant:
    """One variant of one method on one task and device: its passes for each seed that was timed."""

    method: str
    variant: str
    task: str
    device: str  # empty if all passes were timed on the same one
    runs: list[LatencyRun]
    passes: list[Timing]

    def label(self, settings: DrawSettings) -> str:
        """Return what rows call the variant."""
        variant = "" if self.variant == "plain" else f", {self.variant}"
        return f"{settings.label(self.method)}{variant}" + (f" on {self.device}" if self.device else "")

    def cell(self, row: str, quantity: str, unit: str) -> Cell:
        """Return an empty cell in a row and in the column of the task."""
        variant = ", ".join(filter(None, [self.variant, self.device]))
        return Cell(row, task_title(self.task), method=self.method, variant=variant, task=self.task, quantity=quantity,
                    unit=unit)  # fmt: skip

    def marked(self, cell: Cell) -> Cell:
        """Return the cell with a mark if a process was suspended while it timed."""
        return disturbed_cell(cell) if any(run.suspended for run in self.runs) else cell


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 3 from each task's passes and the records about them."""
    runs = read_latency_runs(inputs["latency"], inputs["latency_records"])
    timed = timed_variants(runs, settings)
    cells = [one.marked(_time_cell(one, settings)) for one in timed]
    cells += [one.marked(cell) for one in timed if (cell := _ratio_cell(one, settings))]
    notes = [
        f"Seconds per pass over the validation set, median of {_rounds(timed)} rounds after warm-up; "
        f"{batches(runs)}. All variants are timed in one process, in an order shuffled for each round.",
        _precision_note({run.record.precision for run in runs}, settings.precision),
        *_merge_note(runs, settings),
        *comparison_notes(cells, settings),
        *_seed_notes(timed),
        *same_for_all_note(cells),
        *run_notes(runs, settings),
    ]
    return new_table("table3", "method (seconds per pass)", cells, notes)


def timed_variants(runs: Sequence[LatencyRun], settings: DrawSettings) -> list[TimedVariant]:
    """Every variant of every method that was timed, plain ones first, compared with full fine-tuning."""
    several_devices = len({run.device for run in runs}) > 1
    full = (settings.references.full, "plain") if settings.references.full else None
    timed: dict[tuple[str, str, str, str], TimedVariant] = {}
    for run in runs:
        device = run.device if several_devices else ""
        for timing in summarize(run.rows, "pass", settings.latency_margin, full):
            key = timing.method, timing.variant, run.task, device
            variant = timed.setdefault(key, TimedVariant(*key, runs=[], passes=[]))
            variant.runs.append(run)
            variant.passes.append(timing)
    return sorted(timed.values(), key=lambda one: VARIANTS.index(one.variant))


def _time_cell(one: TimedVariant, settings: DrawSettings) -> Cell:
    """The seconds of a pass: the median over rounds, and the mean over seeds if several were timed."""
    cell, seconds = one.cell(one.label(settings), TIME, "s"), [timing.p50_seconds for timing in one.passes]
    filled = mean_cell(cell, seconds, FIGURES)
    return replace(filled, n=one.passes[0].rounds) if len(seconds) == 1 else filled


def _ratio_cell(one: TimedVariant, settings: DrawSettings) -> Cell | None:
    """A merged variant, or a method that cannot merge, relative to full fine-tuning."""
    compared = [timing.comparison for timing in one.passes if timing.comparison]
    if one.variant == "unmerged" or len(compared) < len(one.passes):
        return None
    against = settings.label(settings.references.full or "")
    cell = one.cell(f"{one.label(settings)} / {against}", f"{TIME}, relative to {against}", "ratio")
    return equivalence_cell(cell, over_seeds(compared))


def over_seeds(compared: Sequence[Equivalence]) -> Equivalence:
    """Return the comparison of several seeds: the geometric mean, the widest bounds, and a verdict that all have."""
    ratios = [one.ratio for one in compared]
    verdicts = {one.verdict for one in compared}
    return Equivalence(
        ratio=math.exp(sum(map(math.log, ratios)) / len(ratios)),
        low=min(one.low for one in compared),
        high=max(one.high for one in compared),
        detectable_percent=max(one.detectable_percent for one in compared),
        verdict=verdicts.pop() if len(verdicts) == 1 else "undecided",
        rounds=sum(one.rounds for one in compared),
    )


def equivalence_cell(cell: Cell, result: Equivalence) -> Cell:
    """Fill a cell with a ratio, its interval and what follows."""
    text = f"{RATIO.with_bounds(result.ratio, result.low, result.high)} {result.verdict}"
    return replace(cell, value=result.ratio, text=text, n=result.rounds, low=result.low, high=result.high,
                   note=result.verdict)  # fmt: skip


def batches(runs: Sequence[LatencyRun]) -> str:
    """Say how the examples of a pass are batched."""
    sizes = {row.batch_size for run in runs for row in run.rows if row.mode == "pass"}
    return f"in batches of {', '.join(map(str, sorted(sizes)))} sorted by length and padded to the longest example"


def comparison_notes(cells: Sequence[Cell], settings: DrawSettings) -> list[str]:
    """Explain the ratios, or say why there are none."""
    notes = []
    if any(cell.unit == "ratio" for cell in cells):
        notes.append(
            f"Ratios: of times within a round, with their {100 * LEVEL:g} % interval. Equivalent: the interval is "
            f"inside ±{100 * settings.latency_margin:g} %; slower, faster: outside; undecided: the time limit was "
            "reached first."
        )
    if missing := settings.references.missing("full"):
        notes.append(f"No comparison with full fine-tuning: {missing}.")
    return notes


def run_notes(runs: Sequence[LatencyRun], settings: DrawSettings) -> list[str]:
    """Name the devices, and the passes that were disturbed."""
    timed = pd.DataFrame(
        [{"method": "latency", "task": run.task, "seed": run.seed, "device": run.device,
          "shared": run.record.provenance.shared} for run in runs]
    )  # fmt: skip
    notes = []
    if suspended := [run.suspended for run in runs if run.suspended]:
        notes.append(
            f"{DISTURBED} Suspended while timed: {', '.join(suspended)}. Its times are not those of the methods alone, "
            "and decide no claim."
        )
    return [*notes, devices_note(timed), *shared_device_note(timed, settings)]


def _seed_notes(timed: Sequence[TimedVariant]) -> list[str]:
    seeds = max(len(one.runs) for one in timed)
    if seeds == 1:
        return []
    return [
        f"Over {seeds} seeds: the mean of times; of ratios the geometric mean, the widest bounds, and the verdict if "
        "it is the same for all seeds. The details have each seed."
    ]


def _precision_note(timed: Collection[str], trained: str) -> str:
    """Name the precision of the passes, and that of training if it is another."""
    note = f"Timed in {' and '.join(PRECISIONS[name] for name in sorted(timed))}"
    if not trained or set(timed) == {trained}:
        return f"{note}."
    return f"{note}, although the study trains in {PRECISIONS[trained]}: in that precision the times are others."


def _merge_note(runs: Iterable[LatencyRun], settings: DrawSettings) -> list[str]:
    """Count the predictions that merging changed; no note for older records, which did not count them."""
    proofs = {
        f"{settings.label(method)} on {task_title(run.task)} seed {run.seed}": proof
        for run in runs
        for method, proof in run.record.merge.items()
        if proof.predictions is not None
    }
    if not proofs:
        return []
    changed = [
        f"{proof.changed_predictions:,} of {proof.predictions:,} {'scores' if proof.scores else 'classes'} of {name}"
        for name, proof in proofs.items()
        if proof.changed_predictions
    ]
    compared = sum(proof.predictions or 0 for proof in proofs.values())
    change = max(proof.largest_logit and proof.merged_minus_unmerged / proof.largest_logit for proof in proofs.values())
    most = plain(change, 1)
    return [
        f"Predictions that merging changed (another class, or a score that moved by more than {SCORE_CHANGE:g}): "
        f"{', '.join(changed) or f'none of {compared:,}'}. No logit changed by more than {most} of the largest."
    ]


def _rounds(timed: Iterable[TimedVariant]) -> str:
    counts = {timing.rounds for one in timed for timing in one.passes}
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
