"""The results: gpu.json and gpu.md, written after each part, with the ratios that the goals are about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from bench.gpu.cases import Case, Measurement
from bench.gpu.check import Check
from bench.gpu.handover import Handover
from bench.paired import Goal, Row, table
from lora_core import provenance
from lora_core.data.tasks import task_title
from lora_core.records import write_json

FORMAT = 1  # of gpu.json
# The goals of this project's loop, with graphs: seconds of an epoch.
EPOCH_GOALS = {("sst2", "lora", "bf16"): 12.0, ("sst2", "full", "bf16"): 22.0, ("rte", "lora", "bf16"): 1.0}
# How many times as long HF Trainer + PEFT takes for an epoch of LoRA on SST-2 in bf16.
LOOP_GOALS = {"trainer": Goal(">=", 10.0), "compiled trainer": Goal(">=", 4.0)}
METHOD_TITLES = {"lora": "LoRA", "full": "FFT"}
COLUMNS = (
    "how it is trained", "s an epoch", "J an epoch", "tokens a second", "share of the peak", "used MB", "held MB",
    "before, s", "remark",
)  # fmt: skip


@dataclass
class Results:
    """What was measured so far.

    Attributes:
        folder: Where gpu.json and gpu.md are written.
        quick: The figures mean nothing.
        peaks: Operations per second of products of large matrices, by precision.
        flops: Operations of an epoch without padding, by task and method.
        cases: In the order of measurement.
        skipped: Why parts were not measured, by their names.
    """

    folder: Path
    device: torch.device
    threads: int
    quick: bool
    handover: Handover | None = None
    peaks: dict[str, float] = field(default_factory=dict)
    flops: dict[tuple[str, str], float] = field(default_factory=dict)
    cases: dict[Case, Measurement] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def write(self) -> None:
        """Write everything that was measured so far."""
        record = {
            "format": FORMAT,
            "smoke": self.quick,
            "provenance": asdict(provenance.collect(self.device, self.threads)),
            "handover": None if self.handover is None else asdict(self.handover),
            "peak_flops": self.peaks,
            "cases": [
                asdict(case) | asdict(measured) | {"share_of_peak": self.share_of_peak(case, measured)}
                for case, measured in self.cases.items()
            ],
            "skipped": self.skipped,
            "comparisons": [asdict(row) | {"result": row.result} for row in self.comparisons()],
            "checks": [asdict(check) for check in self.checks],
        }
        write_json(self.folder / "gpu.json", record)
        (self.folder / "gpu.md").write_text(self.page(), encoding="utf-8")

    def share_of_peak(self, case: Case, measured: Measurement) -> float | None:
        """Return the share of the device's products of matrices in the same precision that training reached."""
        flops, peak = self.flops.get((case.task, case.method)), self.peaks.get(case.precision)
        return None if flops is None or peak is None else flops / measured.epoch_seconds / peak

    def page(self) -> str:
        """Return the tables as Markdown."""
        tables = []
        if self.cases:
            cells = (self._cells(case, measured) for case, measured in self.cases.items())
            tables += [_table(COLUMNS, cells), table(self.comparisons())]
        if self.skipped:
            tables.append(_table(("not measured", "reason"), self.skipped.items()))
        if self.checks:
            results = [(check.name, check.result, check.details) for check in self.checks]
            tables.append(_table(("check", "result", "details"), results))
        return "\n".join(tables)

    def _cells(self, case: Case, measured: Measurement) -> list[str]:
        execution = f", {measured.execution}" if measured.execution else ""
        return [
            case.name,
            f"{measured.epoch_seconds:.4g}",
            number(measured.epoch_joules, "{:.4g}"),
            f"{measured.tokens_per_second:,.0f}",
            number(self.share_of_peak(case, measured), "{:.1%}"),
            number(measured.used_mb, "{:,.0f}"),
            number(measured.held_mb, "{:,.0f}"),
            number(measured.preparation_seconds, "{:.3g}"),
            f"{measured.steps} steps{execution}",
        ]

    def comparisons(self) -> list[Row]:
        """Return the ratios, and the figures that have a goal."""
        by_name = {case.name: measured for case, measured in self.cases.items()}
        rows = [] if self.handover is None else [_handover_row(self.handover)]
        for case, measured in self.cases.items():
            if not case.is_trainer:
                rows += _own_rows(case, measured)
            if case.loop == "graphs":
                rows += _ratio_rows(case, measured, by_name)
        return rows


def number(value: float | None, form: str) -> str:
    """Return a number as text, "n/a" for what was not measured."""
    return "n/a" if value is None else form.format(value)


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; many columns are of numbers."""
    align = " --- |" if len(columns) < 4 else " ---: |"
    rows = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([f"| {' | '.join(columns)} |", "| --- |" + align * (len(columns) - 1), *rows]) + "\n"


def _handover_row(handover: Handover) -> Row:
    details = f"from the start of a process to its first step {handover.start_seconds:.1f} s"
    what = "seconds from the last step of a run to the first of the next"
    return Row(what, "", handover.between_seconds, Goal("<=", 5.0), details=details)


def _own_rows(case: Case, measured: Measurement) -> Iterator[Row]:
    """Yield what is judged in one case alone."""
    bound = EPOCH_GOALS.get((case.task, case.method, case.precision)) if case.loop == "graphs" else None
    if bound is not None:
        yield Row(f"seconds an epoch, {case.name}", "", measured.epoch_seconds, Goal("<=", bound))
    if measured.first_epoch_seconds is not None and case.epochs > 2:
        first = measured.first_epoch_seconds / measured.epoch_seconds
        yield Row(f"first epoch, {case.name}", "median epoch", first, Goal("+-", 0.02))
    if measured.held_mb is not None and measured.used_mb is not None:
        yield Row(f"memory held, {case.name}", "used", measured.held_mb / measured.used_mb, Goal("<=", 1.15))


def _ratio_rows(case: Case, measured: Measurement, others: Mapping[str, Measurement]) -> Iterator[Row]:
    """Yield how many times as long other ways take as a case with graphs, and LoRA's time relative to full's."""
    title = f"{METHOD_TITLES[case.method]} epoch, {task_title(case.task)}, {case.precision}"
    goals = LOOP_GOALS if (case.task, case.method, case.precision) == ("sst2", "lora", "bf16") else {}
    labels = {
        "trainer": "HF Trainer" + (" + PEFT" if case.method == "lora" else ""),
        "compiled trainer": "the same, compiled, grouped by length",
        "eager": "without CUDA graphs",
    }
    for loop, label in labels.items():
        other = others.get(f"{case.task} {case.method} {case.precision} {loop}")
        if other is not None:
            yield _ratio(title, label, other, measured, goals.get(loop))
    full = others.get(f"{case.task} full {case.precision} graphs")
    if case.method == "lora" and full is not None:
        goal = Goal("<=", 0.6) if (case.task, case.precision) == ("sst2", "bf16") else None
        yield _ratio(title, "full fine-tuning", measured, full, goal)


def _ratio(what: str, compared_with: str, a: Measurement, b: Measurement, goal: Goal | None) -> Row:
    details = f"{a.epoch_seconds:.4g} / {b.epoch_seconds:.4g} s"
    return Row(what, compared_with, a.epoch_seconds / b.epoch_seconds, goal, details=details)
