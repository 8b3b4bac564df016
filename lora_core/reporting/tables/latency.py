"""Table 3: how long a pass over the validation set takes, compared with full fine-tuning, and one example alone."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import LatencyRun, read_latency_runs
from lora_core.evaluation.latency_record import SCORE_CHANGE
from lora_core.evaluation.latency_summary import LEVEL, VARIANTS, Timing, summarize
from lora_core.evaluation.references import References
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import DISTURBED, devices_note, shared_device_note
from lora_core.stats import Equivalence

TIME, SINGLE_TIME = "time of a pass", "time of one example"
PRECISIONS = {"fp32": "float32", "tf32": "TF32", "bf16": "bf16", "fp16": "fp16"}  # by the name in the configuration
# What the record of a task says about the inputs of a method, and what a row calls it.
INPUT_LABELS = (("longest input, tokens", "tokens"), ("truncated examples", "examples"))


@dataclass(frozen=True)
class Timings:
    """The timings of one variant of one method, over the validation set and of one example.

    The first two are compared with full fine-tuning, the last two with the merged LoRA under test.
    """

    passes: Timing
    single: Timing
    passes_to_merged: Timing
    single_to_merged: Timing


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from each task's passes and the records about them."""
    runs = read_latency_runs(inputs["latency"], inputs["latency_records"])
    references, margin = settings.references, settings.latency_margin
    several_seeds, several_devices = (
        len(set(values)) > 1 for values in zip(*((r.seed, r.device) for r in runs), strict=True)
    )
    blocks: list[list[Cell | None]] = []
    for run in runs:
        suffix = (f", seed {run.seed}" if several_seeds else "") + (f" on {run.device}" if several_devices else "")
        for timings in _timings(run, references, margin):
            rows = _Rows(run, timings.passes, suffix)
            timed = _timing_cells(rows, timings, references)
            if run.suspended:
                timed = [cell and replace(cell, text=f"{cell.text} {DISTURBED}") for cell in timed]
            blocks.append([*timed, *_input_cells(rows)])
    # Row by row: the first kind of cell of every block, then the second, and so on.
    cells = [cell for same_kind in zip(*blocks, strict=True) for cell in same_kind if cell]
    return new_table("table3", "method", cells, _notes(runs, cells, settings))


def _timings(run: LatencyRun, references: References, margin: float) -> list[Timings]:
    """Every variant of every method that was timed, plain ones first."""
    full = (references.full, "plain") if references.full else None
    merged = (references.adapter, "merged") if references.adapter else None
    parts = [summarize(run.rows, mode, margin, against) for against in (full, merged) for mode in ("pass", "single")]
    timings = [Timings(*four) for four in zip(*parts, strict=True)]
    return sorted(timings, key=lambda one: VARIANTS.index(one.passes.variant))


@dataclass(frozen=True)
class _Rows:
    """Makes the cells of one variant of one method on one task."""

    run: LatencyRun
    timing: Timing
    suffix: str  # the seed and the device, if there are several

    @property
    def label(self) -> str:
        """What rows call the variant."""
        variant = "" if self.timing.variant == "plain" else f", {self.timing.variant}"
        return f"{self.timing.method}{variant}{self.suffix}"

    def cell(self, row: str, quantity: str, unit: str) -> Cell:
        """Return an empty cell in a row and in the column of the task."""
        return Cell(
            row, task_title(self.run.task), method=self.timing.method, variant=f"{self.timing.variant}{self.suffix}",
            task=self.run.task, quantity=quantity, unit=unit,
        )  # fmt: skip

    def filled(self, row: str, quantity: str, unit: str, value: float, text: str) -> Cell:
        """Return a cell with a value over all rounds."""
        return replace(self.cell(row, quantity, unit), value=value, text=text, n=self.timing.rounds)

    def ratio(self, row: str, quantity: str, equivalence: Equivalence | None) -> Cell | None:
        """Return a cell with a ratio, its interval and what follows; None without a comparison."""
        if equivalence is None:
            return None
        ratio, low, high = equivalence.ratio, equivalence.low, equivalence.high
        text = f"{ratio:.3f} [{low:.3f}, {high:.3f}] {equivalence.verdict}"
        return replace(
            self.cell(row, quantity, "ratio"), value=ratio, text=text, n=equivalence.rounds, low=low, high=high
        )


def _timing_cells(rows: _Rows, timings: Timings, references: References) -> list[Cell | None]:
    """The cells of one variant: the same number for each; None if there is nothing to say.

    A method that cannot merge is compared with the merged LoRA under test as well.
    """
    timing, single, name = timings.passes, timings.single, rows.label
    milliseconds = 1e3 * single.p50_seconds
    single_text = f"{milliseconds:.1f} ({1e3 * single.p95_seconds:.1f})"
    to_full, to_merged = f"{name} / {references.full}", f"{name} / {references.adapter}, merged"
    cells: list[Cell | None] = [
        rows.filled(name, TIME, "s", timing.p50_seconds, f"{timing.p50_seconds:.3f}"),
        rows.filled(f"{name}: 95th percentile", f"{TIME}, 95th percentile", "s", timing.p95_seconds,
                    f"{timing.p95_seconds:.3f}"),
        rows.filled(f"{name}: examples/s", "throughput", "examples/s", timing.examples_per_second,
                    f"{timing.examples_per_second:.0f}"),
        replace(rows.filled(f"{name}: one example, ms", SINGLE_TIME, "ms", milliseconds, single_text), n=single.rounds),
        rows.ratio(to_full, f"{TIME}, relative to {references.full}", timing.comparison),
        None,
    ]  # fmt: skip
    if timing.comparison:
        detectable = timing.comparison.detectable_percent
        cell = rows.cell(
            f"{to_full}: smallest detectable difference",
            f"{TIME}, relative to {references.full}: smallest detectable difference", "fraction",
        )  # fmt: skip
        cells[-1] = replace(cell, value=detectable / 100, text=f"{detectable:.1f} %")
    cannot_merge = timing.variant == "plain" and timing.method != references.full
    for row, quantity, compared in (
        (to_merged, TIME, timings.passes_to_merged),
        (f"{to_merged}: one example", SINGLE_TIME, timings.single_to_merged),
    ):
        quantity = f"{quantity}, relative to merged {references.adapter}"
        cells.append(rows.ratio(row, quantity, compared.comparison if cannot_merge else None))
    return cells


def _input_cells(rows: _Rows) -> list[Cell | None]:
    """The longest input of a method and how many examples it truncates, once per method, if methods differ in it."""
    inputs = rows.run.record.input_tokens
    if rows.timing.variant == "unmerged" or len({tokens.longest for tokens in inputs.values()}) == 1:
        return [None] * len(INPUT_LABELS)
    method = rows.timing.method
    cells = []
    values = inputs[method].longest, inputs[method].truncated
    for (label, unit), value in zip(INPUT_LABELS, values, strict=True):
        cell = rows.cell(f"{method}{rows.suffix}: {label}", label.removesuffix(f", {unit}"), unit)
        cells.append(replace(cell, value=value, text=str(value)))
    return [*cells]


def _notes(runs: Sequence[LatencyRun], cells: Sequence[Cell], settings: DrawSettings) -> list[str]:
    timed = pd.DataFrame(
        [{"method": "latency", "task": run.task, "seed": run.seed, "device": run.device,
          "shared": run.record.provenance.shared} for run in runs]
    )  # fmt: skip
    passes = [row for run in runs for row in run.rows if row.mode == "pass"]
    batch_sizes = ", ".join(map(str, sorted({row.batch_size for row in passes})))
    notes = [
        f"Median seconds per pass over the validation set, in batches of {batch_sizes} sorted by length and padded to "
        f"the longest example; {_rounds(runs)} rounds after warm-up, all variants in one process, in an order shuffled "
        "for each round. One example: a single example without padding, median (95th percentile).",
        _precision_note({run.record.precision for run in runs}, settings.precision),
        *_merge_note(runs),
    ]
    if any(cell.low is not None for cell in cells):
        notes.append(
            f"Compared with FFT: the ratio of times within a round, with its {100 * LEVEL:g}% interval. "
            f"Equivalent: the interval is inside ±{100 * settings.latency_margin:g}%; slower, faster: outside; "
            "undecided: the time limit was reached first. Smallest detectable difference: for this number of rounds."
        )
    if missing := settings.references.missing("full"):
        notes.append(f"No comparison with full fine-tuning: {missing}.")
    if suspended := [run.suspended for run in runs if run.suspended]:
        notes.append(
            f"{DISTURBED} Suspended while timed: {', '.join(suspended)}. Its times are not those of the methods alone, "
            "and decide no claim."
        )
    if any(cell.unit == "tokens" for cell in cells):
        notes.append(
            "Longest input: the number of position embeddings minus those that the method occupies, in tokens. Longer "
            "examples are truncated; the table counts the validation examples affected."
        )
    return [*notes, devices_note(timed), *shared_device_note(timed)]


def _precision_note(timed: Collection[str], trained: str) -> str:
    """Name the precision of the passes, and that of training if it is another."""
    note = f"Timed in {' and '.join(PRECISIONS[name] for name in sorted(timed))}"
    if not trained or set(timed) == {trained}:
        return f"{note}."
    return f"{note}, although the study trains in {PRECISIONS[trained]}: in that precision the times are others."


def _merge_note(runs: Iterable[LatencyRun]) -> list[str]:
    """Count the predictions that merging changed; no note for older records, which did not count them."""
    proofs = {
        f"{method} on {task_title(run.task)} seed {run.seed}": proof
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
    return [
        f"Predictions that merging changed (another class, or a score that moved by more than {SCORE_CHANGE:g}): "
        f"{', '.join(changed) or f'none of {compared:,}'}. No logit changed by more than {change:.1g} of the largest."
    ]


def _rounds(runs: Iterable[LatencyRun]) -> str:
    counts = {timing.rounds for run in runs for timing in summarize(run.rows, "pass", 0.0, None)}
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
