"""Table 1: trainable parameters, with the head counted separately."""

from lora_core.evaluation.counts import read_counts
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table

TRAINABLE, REDUCTION = "trainable parameters", "reduction vs. whole model"


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from counts.json."""
    counts = read_counts(inputs["counts"][0])
    cells = []
    for method, count in counts.methods.items():
        trainable, reduction = count.trainable, 1 - count.trainable / counts.full
        cells += [
            _cell(method, TRAINABLE, trainable, f"{trainable:,}"),
            _cell(method, "in millions", trainable / 1e6, f"{trainable / 1e6:.1f}", TRAINABLE, "million"),
            _cell(method, REDUCTION, reduction, f"{100 * reduction:.2f} %", unit="fraction"),
            _cell(method, "head", count.head, f"{count.head:,}", "parameters of the head"),
            _cell(method, "whole model", count.total, f"{count.total:,}", "parameters of the whole model"),
        ]
    notes = [
        "Counted on shapes for a head with two labels; no training is needed.",
        "As in the paper, the count of an adapter method excludes the head, which every method trains; the count of "
        "full fine-tuning is the whole model, including its head.",
    ]
    return new_table("table1", "method", cells, notes)


def _cell(method: str, column: str, value: float, text: str, quantity: str = "", unit: str = "parameters") -> Cell:
    return Cell(method, column, value, text, method=method, quantity=quantity or column, unit=unit)
