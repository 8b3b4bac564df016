"""Every table and figure of a study, once: its title, its function, and what that function needs.

The rules, the page, the configuration's schema and docs/results_folder.py read this list. A new table or figure is its
function and one entry here. Importing this module is free: a function is imported when it is called for.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from lora_core.nearest import nearest

# Groups of files that a table or figure may read. The rules know their paths.
RECORDS = (
    "counts",  # counts.json, one file
    "gradients",  # gradients/{method}.json
    "scores",  # scores/{task}.csv
    "differences",  # scores/{task}_differences.csv
    "latency",  # latency/{task}/seed{seed}.csv
    "latency_records",  # the .json of each of those, in the same order
    "runs",  # run.json of every run
    "costs",  # energy/{task}.csv
    "curves",  # energy/{task}_curve.csv
    "traced_runs",  # run.json of the runs whose power is drawn
    "traced_power",  # power.csv of those, in the same order
    "loss_runs",  # run.json of the runs whose training loss is compared
    "loss_predictions",  # predictions.safetensors of those, in the same order
    "memory_scaling",  # scaling.json, one file
    "regimes",  # regimes.json, one file
    "measured_regimes",  # the same, in a study that asks for it or has it; else nothing, and it is not measured
)
RUN_RECORDS = frozenset({"runs", "scores", "differences", "costs", "curves", "traced_runs", "loss_runs"})
# What a table or figure may need from the configuration: the fields of `lora_core.reporting.inputs.DrawSettings`, and
# `batching`: the description of the study says how training batches were formed, and in which precision it trains.
SETTINGS = (
    "batching", "references", "comparable", "latency_margin", "precision", "methods", "hyperparameters", "swept",
)  # fmt: skip

DETAILS = "-details"  # ends the name of a table with what else is known than the paper's table holds

Requirement = Literal["", "sweep", "methods_equal_to_lora"]


@dataclass(frozen=True)
class Section:
    """A section of the page: its tables and figures follow from their entries, in the order of the catalogue.

    `measured_by` names the records whose provenance is printed in the section: the runs, the latency records, or none.
    """

    title: str
    measured_by: Literal["runs", "latency", ""] = "runs"


# In the order of the page, which is that of the paper's tables.
SECTIONS: dict[str, Section] = {
    "parameters": Section("Trainable parameters", ""),
    "scores": Section("Score"),
    "latency": Section("Inference latency", "latency"),
    "memory": Section("Memory during training"),
    "cost": Section("Cost at equal accuracy"),
    "hyperparameters": Section("Hyperparameters", ""),
    "convergence": Section("Convergence"),
    "sweep": Section("Sweep"),
    "regimes": Section("What a training step waits for", ""),
    "memory_scaling": Section("Memory against model size", ""),
}


@dataclass(frozen=True)
class Entry:
    """One table or figure.

    `draw` is "module:function" below lora_core.reporting; the function takes the files of `records` and the values of
    `settings`. An optional entry is made only if a study requests it; `requires` says which studies can.
    """

    name: str
    title: str
    section: str
    draw: str
    records: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    optional: bool = False
    requires: Requirement = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a section that the page does not have, where the entry would not be shown."""
        if self.section not in SECTIONS:
            raise ValueError(f"{self.name}: the page has no section {self.section!r}; use one of {', '.join(SECTIONS)}")

    @property
    def details(self) -> bool:
        """Whether this is what else is known than a table of the paper holds."""
        return self.name.endswith(DETAILS)

    @property
    def parent(self) -> str:
        """The name of the table whose details these are; its own name otherwise."""
        return self.name.removesuffix(DETAILS)

    @property
    def shows_runs(self) -> bool:
        """Whether it shows what training runs gave, so that runs that were kept are marked."""
        return not RUN_RECORDS.isdisjoint(self.records)

    @property
    def module(self) -> str:
        """The name of the module that draws this entry."""
        return f"lora_core.reporting.{self.draw.partition(':')[0]}"

    def function(self) -> Callable[..., Any]:
        """Import and return the function that draws this entry."""
        return getattr(import_module(self.module), self.draw.partition(":")[2])


def _by_name(*entries: Entry) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


TABLES = _by_name(
    Entry("table1", "Trainable parameters", "parameters", "tables.parameters:draw", ("counts",)),
    Entry(
        "table1-details", "Trainable parameters: details", "parameters", "tables.parameters:draw_details",
        ("counts", "gradients"),
    ),
    Entry(
        "table2", "Score on the validation split", "scores", "tables.scores:draw",
        ("scores", "differences"), ("batching", "references"),
    ),
    Entry(
        "table2-details", "Score on the validation split: details", "scores", "tables.scores:draw_details",
        ("scores", "differences"), ("batching", "references"),
    ),
    Entry(
        "table3", "Inference latency", "latency", "tables.latency:draw",
        ("latency", "latency_records"), ("batching", "references", "latency_margin", "precision"),
    ),
    Entry(
        "table3-details", "Inference latency: details", "latency", "tables.latency_details:draw",
        ("latency", "latency_records"), ("batching", "references", "latency_margin"),
    ),
    Entry("table4", "Average memory during training", "memory", "tables.memory:draw", ("runs",), ("batching",)),
    Entry(
        "table4-details", "Average memory during training: details", "memory", "tables.memory:draw_details",
        ("runs",), ("batching",),
    ),
    Entry(
        "table5", "Cost at equal accuracy: full fine-tuning", "cost", "tables.cost:draw_full",
        ("costs",), ("batching", "references", "methods"),
    ),
    Entry(
        "table5-details", "Cost at equal accuracy: full fine-tuning: details", "cost", "tables.cost_details:draw_full",
        ("costs",), ("batching", "references", "methods"),
    ),
    Entry(
        "table6", "Cost at equal accuracy: LoRA", "cost", "tables.cost:draw_adapters",
        ("costs",), ("batching", "references", "methods"),
    ),
    Entry(
        "table6-details", "Cost at equal accuracy: LoRA: details", "cost", "tables.cost_details:draw_adapters",
        ("costs", "measured_regimes"), ("batching", "references", "methods"),
    ),
    Entry(
        "table7", "Hyperparameters in use", "hyperparameters", "tables.hyperparameters:draw",
        (), ("batching", "hyperparameters"),
    ),
    Entry(
        "table7-details", "Hyperparameters in use: details", "hyperparameters", "tables.hyperparameters:draw_details",
        (), ("batching", "hyperparameters"),
    ),
    Entry(
        "convergence", "Convergence and training memory", "convergence", "tables.convergence:draw",
        ("costs", "runs"), ("batching", "references"), optional=True,
    ),
    Entry(
        "regimes", "Time of a training step, measured and predicted", "regimes", "tables.regimes:draw",
        ("regimes",), ("references",), optional=True,
    ),
    Entry(
        "regimes-details", "Time of a training step, measured and predicted: details", "regimes",
        "tables.regimes_details:draw", ("regimes",), ("references",), optional=True,
    ),
    Entry(
        "scaling", "Training memory against model size", "memory_scaling", "tables.memory_scaling:draw",
        ("memory_scaling",), optional=True,
    ),
    Entry(
        "sweep", "Sweep", "sweep", "tables.sweep:draw",
        ("counts", "scores", "costs"), ("batching", "swept"), optional=True, requires="sweep",
    ),
)  # fmt: skip

FIGURES = _by_name(
    Entry(
        "scores", "Best score by method and task", "scores", "figures.scores:draw",
        ("scores",), ("references", "comparable"),
    ),
    Entry(
        "score_over_epochs", "Score after each epoch", "scores", "figures.curves:draw_over_epochs",
        ("curves", "costs"), ("references",),
    ),
    Entry(
        "score_over_time", "Score against training time", "cost", "figures.curves:draw_over_time",
        ("curves", "costs"), ("references",),
    ),
    Entry(
        "score_over_energy", "Score against training energy", "cost", "figures.curves:draw_over_energy",
        ("curves", "costs"), ("references",),
    ),
    Entry(
        "time_to_threshold", "Training time to equal accuracy", "cost", "figures.cost:draw_time",
        ("costs",), ("references",),
    ),
    Entry(
        "energy_to_threshold", "Training energy to equal accuracy", "cost", "figures.cost:draw_energy",
        ("costs",), ("references",),
    ),
    Entry(
        "memory", "Training memory by its parts", "memory", "figures.memory:draw", ("runs",), ("references",),
    ),
    Entry(
        "latency", "Every timed pass over the validation set", "latency", "figures.latency:draw",
        ("latency", "latency_records"), ("references", "latency_margin"),
    ),
    Entry(
        "pareto", "Score against trained parameters, memory, time, energy and latency", "parameters",
        "figures.pareto:draw", ("scores", "counts", "runs", "costs", "latency", "latency_records"), ("references",),
    ),
    Entry("power", "Power of single training runs", "cost", "figures.power:draw", ("traced_runs", "traced_power")),
    Entry(
        "loss_curves", "Training loss of LoRA and of the methods that compute the same, step by step", "scores",
        "figures.loss_curves:draw", ("loss_runs", "loss_predictions"), requires="methods_equal_to_lora",
    ),
    Entry(
        "regimes", "Time and energy of LoRA's steps by tokens per step", "regimes", "figures.regimes:draw",
        ("regimes",), ("references",), optional=True,
    ),
    Entry(
        "scaling", "Training memory that LoRA saves against model size", "memory_scaling",
        "figures.memory_scaling:draw", ("memory_scaling",), optional=True,
    ),
    Entry(
        "sweep", "Score and time of a sweep against trained parameters", "sweep", "figures.sweep:draw",
        ("counts", "scores", "costs"), ("references", "swept"), optional=True, requires="sweep",
    ),
)  # fmt: skip

# Names that `more_tables` may have; the details of a table come with it.
OPTIONAL_TABLES = tuple(name for name, entry in TABLES.items() if entry.optional and not entry.details)


def table(name: str) -> Entry:
    """Return a table's entry. Raise ValueError, with the nearest name, if there is none."""
    return _entry(TABLES, name, "table")


def figure(name: str) -> Entry:
    """Return a figure's entry. Raise ValueError, with the nearest name, if there is none."""
    return _entry(FIGURES, name, "figure")


def _entry(entries: Mapping[str, Entry], name: str, kind: str) -> Entry:
    if name in entries:
        return entries[name]
    raise ValueError(f"there is no {kind} '{name}'{nearest(name, entries)}")


def available_tables(*, sweep: bool) -> list[str]:
    """The tables that a study can be asked for by name; `sweep`: whether it sweeps a method's settings."""
    return _available(TABLES, {"sweep"} if sweep else set())


def available_figures(*, sweep: bool, methods_equal_to_lora: bool) -> list[str]:
    """The figures that a study can be asked for; `methods_equal_to_lora`: whether it has any (`Study`'s property)."""
    met = {name for name, holds in (("sweep", sweep), ("methods_equal_to_lora", methods_equal_to_lora)) if holds}
    return _available(FIGURES, met)


def _available(entries: Mapping[str, Entry], met: Collection[str]) -> list[str]:
    return [name for name, entry in entries.items() if not entry.requires or entry.requires in met]


def default_tables(more_tables: Iterable[str] = ()) -> list[str]:
    """The tables that a study makes: the paper's, and the optional ones that its configuration names, with details."""
    asked = [table(name).name for name in more_tables]
    return [name for name, entry in TABLES.items() if not entry.optional] + [
        name for parent in asked for name, entry in TABLES.items() if entry.parent == parent
    ]


def default_figures(*, methods_equal_to_lora: bool, more_tables: Iterable[str] = ()) -> list[str]:
    """The figures that a study makes; an optional one where an optional table of its section is made."""
    sections = {table(name).section for name in more_tables}
    return [
        name
        for name in available_figures(sweep=True, methods_equal_to_lora=methods_equal_to_lora)
        if not FIGURES[name].optional or FIGURES[name].section in sections
    ]
