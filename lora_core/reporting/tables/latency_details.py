"""The details of table 3, for each seed: tails, one example alone, other comparisons, and the longest input."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import LatencyRun, read_latency_runs
from lora_core.evaluation.latency_summary import VARIANTS, Timing, summarize
from lora_core.reporting.digits import FIGURES
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import disturbed_cell
from lora_core.reporting.tables.latency import TIME, batches, comparison_notes, equivalence_cell, run_notes
from lora_core.reporting.tables.switching import switching_cells, switching_notes
from lora_core.stats import Equivalence

SINGLE_TIME = "time of one example"


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
    """Draw the details from each task's passes and the records about them."""
    runs = read_latency_runs(inputs["latency"], inputs["latency_records"])
    seeds, devices = {run.seed for run in runs}, {run.device for run in runs}
    cells: list[tuple[int, Cell | None]] = []  # with the place of the row's kind
    for run in runs:
        suffix = (f", seed {run.seed}" if len(seeds) > 1 else "") + (f" on {run.device}" if len(devices) > 1 else "")
        for timings in _timings(run, settings):
            cells += enumerate(_Variant(run, timings, suffix, settings).cells(every_seed=len(seeds) > 1))
    shown = [cell for _, cell in sorted(cells, key=lambda one: one[0]) if cell]
    shown += switching_cells(runs, settings)
    notes = [
        f"A pass over the validation set is {batches(runs)}; one example is a single one without padding. Median and "
        "95th percentile over rounds. Smallest detectable difference: for this number of rounds.",
        *comparison_notes(shown, settings),
    ]
    if any(cell.unit == "tokens" for cell in shown):
        notes.append(
            "Longest input: the number of position embeddings minus those that the method occupies, in tokens. Longer "
            "examples are truncated; the table counts the validation examples affected."
        )
    notes += switching_notes(runs)
    return new_table("table3-details", "method", shown, [*notes, *run_notes(runs, settings)])


def _timings(run: LatencyRun, settings: DrawSettings) -> list[Timings]:
    """Every variant of every method that was timed, plain ones first."""
    full = (settings.references.full, "plain") if settings.references.full else None
    merged = (settings.references.adapter, "merged") if settings.references.adapter else None
    margin = settings.latency_margin
    parts = [summarize(run.rows, mode, margin, against) for against in (full, merged) for mode in ("pass", "single")]
    timings = [Timings(*four) for four in zip(*parts, strict=True)]
    return sorted(timings, key=lambda one: VARIANTS.index(one.passes.variant))


@dataclass(frozen=True)
class _Variant:
    """Makes the cells of one variant of one method on one task; the same number of them for each."""

    run: LatencyRun
    timings: Timings
    suffix: str  # the seed and the device, if there are several
    settings: DrawSettings

    @property
    def method(self) -> str:
        return self.timings.passes.method

    @property
    def variant(self) -> str:
        return self.timings.passes.variant

    @property
    def label(self) -> str:
        """What rows call the variant."""
        variant = "" if self.variant == "plain" else f", {self.variant}"
        return f"{self.settings.label(self.method)}{variant}"

    def cells(self, *, every_seed: bool) -> Iterator[Cell | None]:
        """Yield the cells; None where there is nothing to say, or table 3 says it."""
        for cell in self._timed(every_seed=every_seed):
            yield disturbed_cell(cell) if cell and self.run.suspended else cell
        yield from self._input()

    def _timed(self, *, every_seed: bool) -> Iterator[Cell | None]:
        passes, single = self.timings.passes, self.timings.single
        yield self._filled("time of a pass (s)", TIME, "s", passes.p50_seconds) if every_seed else None
        tail = "95th percentile"
        yield self._filled(f"{tail} (s)", f"{TIME}, {tail}", "s", passes.p95_seconds)
        yield self._filled("examples/s", "throughput", "examples/s", passes.examples_per_second)
        for name, quantity, seconds in (
            ("one example (ms)", SINGLE_TIME, single.p50_seconds),
            (f"one example, {tail} (ms)", f"{SINGLE_TIME}, {tail}", single.p95_seconds),
        ):
            yield replace(self._filled(name, quantity, "ms", 1e3 * seconds), n=single.rounds)
        yield from self._compared_with_full(every_seed=every_seed)
        yield from self._compared_with_merged()

    def _compared_with_full(self, *, every_seed: bool) -> Iterator[Cell | None]:
        full, comparison = self.settings.references.full, self.timings.passes.comparison
        if full is None or comparison is None:
            yield from (None, None)
            return
        against = self.settings.label(full)
        row, quantity = f"{self.label} / {against}{self.suffix}", f"{TIME}, relative to {against}"
        yield self._ratio(row, quantity, comparison) if every_seed or self.variant == "unmerged" else None
        detectable = comparison.detectable_percent
        cell = self._cell(f"{row}: smallest detectable difference (%)",
                          f"{quantity}: smallest detectable difference", "fraction")  # fmt: skip
        yield replace(cell, value=detectable / 100, text=FIGURES.one(detectable))

    def _compared_with_merged(self) -> Iterator[Cell | None]:
        """A method that cannot merge is compared with the merged LoRA under test as well."""
        references, timings = self.settings.references, self.timings
        cannot_merge = self.variant == "plain" and self.method != references.full
        adapter = self.settings.label(references.adapter or "")
        row = f"{self.label} / {adapter}, merged{self.suffix}"
        for suffix, quantity, timing in (
            ("", TIME, timings.passes_to_merged), (": one example", SINGLE_TIME, timings.single_to_merged),
        ):  # fmt: skip
            compared = timing.comparison if cannot_merge else None
            quantity = f"{quantity}, relative to merged {adapter}"
            yield self._ratio(f"{row}{suffix}", quantity, compared) if compared else None

    def _input(self) -> Iterator[Cell | None]:
        """The longest input of a method and how many examples it truncates, once per method, if methods differ."""
        inputs = self.run.record.input_tokens
        if self.variant == "unmerged" or len({tokens.longest for tokens in inputs.values()}) <= 1:
            yield from (None, None)
            return
        name, tokens = self.settings.label(self.method), inputs[self.method]
        for row, quantity, unit, value in (
            ("longest input (tokens)", "longest input", "tokens", tokens.longest),
            ("truncated examples", "truncated examples", "examples", tokens.truncated),
        ):
            yield replace(self._cell(f"{name}{self.suffix}: {row}", quantity, unit), value=value, text=str(value))

    def _cell(self, row: str, quantity: str, unit: str) -> Cell:
        return Cell(row, task_title(self.run.task), method=self.method, variant=f"{self.variant}{self.suffix}",
                    task=self.run.task, quantity=quantity, unit=unit)  # fmt: skip

    def _filled(self, name: str, quantity: str, unit: str, value: float) -> Cell:
        """Return a cell with a value over all rounds."""
        cell = self._cell(f"{self.label}{self.suffix}: {name}", quantity, unit)
        return replace(cell, value=value, text=FIGURES.one(value), n=self.timings.passes.rounds)

    def _ratio(self, row: str, quantity: str, compared: Equivalence) -> Cell:
        return equivalence_cell(self._cell(row, quantity, "ratio"), compared)
