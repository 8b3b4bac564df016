"""Published figures, each block with its source. They are printed next to those of a study, never mixed with them."""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_core.config.labels import setting_text
from lora_core.data.tasks import PAPER_TASKS, task_title
from lora_core.reporting.table import Cell, Published


@dataclass(frozen=True)
class PublishedRow:
    """A printed row: its label, its values in the order of the columns, and what they are.

    `scale` turns a printed number into the unit of this study's tables (0.01 for percent to fraction).
    """

    label: str
    values: tuple[float, ...]
    method: str
    quantity: str
    unit: str = ""
    scale: float = 1.0


@dataclass(frozen=True)
class PublishedTable:
    """Printed rows under the names of their columns: the tasks of the paper, or one quantity."""

    source: str
    columns: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    of_study: bool = True  # whether they are of the paper's study

    def row(self, label: str) -> PublishedRow:
        """Return the row with this label. Raise ValueError if there is none."""
        for row in self.rows:
            if row.label == label:
                return row
        raise ValueError(f"{self.source} has no row '{label}'")

    def value(self, label: str, column: str) -> float:
        """Return the number as it was printed."""
        return self.row(label).values[self.columns.index(column)]

    def block(self) -> Published:
        """Return the rows as cells that a table prints below its own."""
        return Published(
            self.source,
            [
                Cell(
                    row.label, task_title(column), value if row.scale == 1 else round(value * row.scale, 9),
                    setting_text(value), method=row.method, variant="published",
                    task=column if column in PAPER_TASKS else "", quantity=row.quantity, unit=row.unit,
                    note=self.source,
                )
                for row in self.rows
                for column, value in zip(self.columns, row.values, strict=True)
            ],
            self.of_study,
        )  # fmt: skip


def _methods(
    quantity: str, unit: str, rows: Mapping[str, tuple[float, ...]], scale: float = 1.0
) -> tuple[PublishedRow, ...]:
    """One quantity, a row for each method."""
    return tuple(PublishedRow(method, values, method, quantity, unit, scale) for method, values in rows.items())


def _quantities(method: str, rows: Mapping[tuple[str, str], tuple[float, ...]]) -> tuple[PublishedRow, ...]:
    """One method, a row for each quantity and its unit."""
    return tuple(
        PublishedRow(f"{quantity} ({unit})" if unit else quantity, values, method, quantity, unit)
        for (quantity, unit), values in rows.items()
    )


def _settings(rows: Mapping[tuple[str, str], tuple[float, ...]]) -> tuple[PublishedRow, ...]:
    """A row for each method and hyperparameter."""
    return tuple(PublishedRow(f"{method}: {name}", values, method, name) for (method, name), values in rows.items())


_PAPER = "Tiny Reproduction: LoRA (RoBERTa-base, GLUE, RTX 3080 Ti)"

TABLES = {
    "table1": PublishedTable(
        f"{_PAPER}, Table 1", ("trainable parameters (M)",),
        _methods("trainable parameters", "million", {"FFT": (124.6,), "LoRA (paper)": (0.3,), "LoRA": (0.3,)}),
    ),
    "table2": PublishedTable(
        f"{_PAPER}, Table 2; scores in percent", PAPER_TASKS,
        _methods("score", "fraction", {
            "FFT": (94.4, 90.2, 62.1, 75.5, 90.7),
            "LoRA (paper)": (95.1, 89.7, 63.4, 86.6, 91.5),
            "LoRA (ref)": (94.3, 88.5, 63.4, 77.6, 90.2),
            "LoRA": (94.4, 88.2, 62.6, 76.5, 89.9),
        }, scale=0.01),
    ),
    "table3": PublishedTable(
        f"{_PAPER}, Table 3; seconds per pass", PAPER_TASKS,
        _methods("time of a pass", "s", {
            "FFT": (0.62, 0.47, 0.36, 0.67, 1.10),
            "LoRA (merged)": (0.63, 0.46, 0.36, 0.65, 1.09),
        }),
    ),
    "table4": PublishedTable(
        f"{_PAPER}, Table 4; GPU memory in MB", PAPER_TASKS,
        _methods("mean memory", "MB", {
            "FFT": (3161.7, 3539.0, 3437.4, 10564.1, 3702.3),
            "LoRA": (1809.6, 2072.5, 1981.5, 6684.0, 2704.8),
        }),
    ),
    "table5": PublishedTable(
        f"{_PAPER}, Table 5 (full fine-tuning)", PAPER_TASKS,
        _quantities("FFT", {
            ("power", "W"): (327.9, 290.7, 299.6, 321.0, 316.3),
            ("train time", "s"): (644.9, 53.8, 112.5, 194.2, 64.8),
            ("epochs", ""): (4, 3, 8, 10, 3),
            ("energy", "kJ"): (191.0, 14.2, 30.5, 56.5, 18.6),
        }),
    ),
    "table6": PublishedTable(
        f"{_PAPER}, Table 6 (LoRA)", PAPER_TASKS,
        _quantities("LoRA", {
            ("power", "W"): (334.7, 325.8, 325.2, 325.0, 327.0),
            ("train time", "s"): (756.0, 60.6, 433.2, 128.1, 95.6),
            ("epochs", ""): (8, 6, 56, 9, 7),
            ("energy", "kJ"): (227.9, 18.0, 127.5, 37.8, 28.4),
        }),
    ),
    "table7": PublishedTable(
        f"{_PAPER}, Table 7", PAPER_TASKS,
        _settings({
            ("FFT", "batch size"): (16, 16, 32, 32, 16),
            ("FFT", "epochs"): (5, 5, 10, 10, 10),
            ("FFT", "learning rate"): (2e-5, 3e-5, 3e-5, 3e-5, 3e-5),
            ("FFT", "weight decay"): (0.01, 0.01, 0.01, 0.01, 0.01),
            ("LoRA", "batch size"): (16, 16, 32, 32, 16),
            ("LoRA", "epochs"): (60, 30, 80, 80, 40),
            ("LoRA", "learning rate"): (5e-4, 4e-4, 4e-4, 5e-4, 4e-4),
            ("LoRA", "weight decay"): (0.06, 0.06, 0.06, 0.06, 0.06),
            ("LoRA", "rank of query and value"): (8, 8, 8, 8, 8),
            ("LoRA", "alpha"): (8, 8, 8, 8, 8),
            ("LoRA", "maximum sequence length"): (512, 512, 512, 512, 512),
        }),
    ),
    "scaling": PublishedTable(
        "Tiny Reproduction: LoRA, Section 5 (mean over its tasks), and Hu et al. 2021 as quoted there",
        ("saved by LoRA (%)",),
        tuple(
            PublishedRow(model, (percent,), "LoRA", f"memory saved, {model}", "fraction", 0.01)
            for model, percent in (("RoBERTa-base", 38.0), ("GPT-3 175B", 66.0))
        ),
        of_study=False,
    ),
}  # fmt: skip
