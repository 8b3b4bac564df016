"""What docs/architecture.md says of extensions: the files that each one touches, and that it takes part everywhere."""

import csv
import hashlib
import textwrap
from pathlib import Path

import pytest
from project import Project

from lora_core.records import read_json

pytestmark = pytest.mark.slow

METHOD = '''
"""Layer norms: only their weights and biases are trained."""

from __future__ import annotations

from dataclasses import dataclass

from lora_core.methods.settings import MethodSettings


@dataclass(frozen=True)
class Settings(MethodSettings):
    """The layer norms are trained."""

    def can_merge(self) -> bool:
        """Return True: they replace the base model's."""
        return True


def apply(model, settings, generator):
    """Train the layer norms."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("LayerNorm" in name)
    return model
'''
TABLE = '''
"""Epochs of every run."""

from lora_core.evaluation.frames import read_costs
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from the costs of every task."""
    cells = [
        Cell(row["method"], "planned epochs", float(row["planned_epochs"]), f"{row['planned_epochs']}")
        for _, row in read_costs(inputs["costs"]).iterrows()
    ]
    return new_table("epochs", "method", cells, [])
'''
FIGURE = '''
"""Epochs of every run."""

from lora_core.evaluation.frames import read_costs
from lora_core.reporting.figures.canvas import panels, set_title
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw a bar per run."""
    costs = read_costs(inputs["costs"])
    figure, (panel,) = panels([""], narrow=settings.narrow)
    panel.barh(costs["method"], costs["planned_epochs"])
    set_title(figure, "Every run has its planned epochs.")
    return figure, costs
'''
METER = '''
class ConstantMeter(NoMeter):
    """A device that always takes 10 W."""

    name = "constant"
    boundary: str | None = "nothing at all"

    def __init__(self, device_type: str) -> None:
        super().__init__("", device_type)
        self.reason = None

    def read(self) -> Reading:
        """Read the constant."""
        return Reading(power_watts=10.0)


METERS = {
    "constant": MeterKind(lambda device: ConstantMeter(device.type)),
'''
METRIC = """
METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="error_rate",
            title="error rate",
            function=lambda labels, logits: 1 - _accuracy(labels, logits),
            hub_name="error_rate",
            baseline_score=lambda labels: 1 - _majority_share(labels),
            labels="classes",
        ),
"""
ENTRY = 'Entry("epochs", "Epochs", "cost", "{module}:draw", ("costs",)),'


def write(project: Project, file: str, content: str) -> None:
    (project.folder / file).write_text(content.lstrip())


def add_method(project):
    write(project, "lora_core/methods/norms.py", METHOD)


def add_table(project):
    write(project, "lora_core/reporting/tables/epochs.py", TABLE)
    entry = textwrap.indent(ENTRY.format(module="tables.epochs"), "    ")
    project.edit("lora_core/reporting/catalogue.py", "TABLES = _by_name(\n", f"TABLES = _by_name(\n{entry}\n")


def add_figure(project):
    write(project, "lora_core/reporting/figures/epochs.py", FIGURE)
    entry = textwrap.indent(ENTRY.format(module="figures.epochs"), "    ")
    project.edit("lora_core/reporting/catalogue.py", "FIGURES = _by_name(\n", f"FIGURES = _by_name(\n{entry}\n")


def add_metric(project):
    start = "\nMETRICS = {\n    metric.name: metric\n    for metric in (\n"
    project.edit("lora_core/data/metrics.py", start, METRIC)


def add_meter(project):
    project.edit("lora_core/measuring/meters.py", "\nMETERS = {\n", METER)


def add_hyperparameter(project):
    last = "    start_from: str | None = None\n"
    project.edit("lora_core/training/spec.py", last, f"{last}    amsgrad: bool = False\n")
    eps = "        eps=hyperparameters.adam_epsilon,\n"
    project.edit("lora_core/training/steps.py", eps, f"{eps}        amsgrad=hyperparameters.amsgrad,\n")


TOUCHED = {
    add_method: {"lora_core/methods/norms.py"},
    add_table: {"lora_core/reporting/tables/epochs.py", "lora_core/reporting/catalogue.py"},
    add_figure: {"lora_core/reporting/figures/epochs.py", "lora_core/reporting/catalogue.py"},
    add_metric: {"lora_core/data/metrics.py"},
    add_meter: {"lora_core/measuring/meters.py"},
    add_hyperparameter: {"lora_core/training/spec.py", "lora_core/training/steps.py"},
}


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> tuple[Project, dict[str, set[str]]]:
    """A project with one extension of each sort after it has run, and the files that each has touched."""
    project = Project(tmp_path_factory.mktemp("extending") / "project")
    touched = {}
    for add in TOUCHED:
        before = digests(project.folder)
        add(project)
        after = digests(project.folder)
        touched[add.__name__] = {name for name in after if after[name] != before.get(name)}
    data = project.folder / "reviews"
    data.mkdir()
    for split in ("train", "validation"):
        rows = [
            ("text", "label"),
            *((f"{word} film, {i}", label) for i in range(8) for word, label in (("A dull", 0), ("A fine", 1))),
        ]
        with (data / f"{split}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    project.configure(
        tasks=["reviews"],
        task_settings__reviews={"path": "reviews", "texts": ["text"], "labels": ["bad", "good"],
                                "metrics": ["accuracy", "error_rate"]},
        methods=["fft", "lora", "norms"],
        method_settings__norms={"kind": "norms", "hyperparameters": {"epochs": 2, "amsgrad": True}},
        seeds=[1],
        measure__meter="constant",
    )  # fmt: skip
    status, output = project.run("results/report.html")
    assert status == 0, output
    return project, touched


@pytest.mark.parametrize("add", TOUCHED, ids=lambda add: add.__name__)
def test_an_extension_touches_the_files_that_the_documentation_names(extended, add):
    assert extended[1][add.__name__] == TOUCHED[add]


def test_a_new_method_metric_meter_and_hyperparameter_take_part_in_a_run(extended):
    run = extended[0].folder / "results/runs/norms/reviews/seed1"
    record = read_json(run / "run.json")
    assert record["run"]["hyperparameters"]["amsgrad"] is True
    assert record["measurement"]["energy"]["meter"] == "constant"
    history = list(csv.DictReader((run / "history.csv").open()))
    assert len(history) == 2
    assert all(float(row["error_rate"]) == pytest.approx(1 - float(row["accuracy"])) for row in history)
    assert {float(row["power_watts"]) for row in csv.DictReader((run / "power.csv").open())} == {10.0}


def test_a_new_method_is_in_every_table_of_methods(extended):
    for name in ("table1", "table2", "table3", "table4", "table6", "table7", "epochs"):
        assert any("norms" in (cell["row"], cell["method"]) for cell in extended[0].table(name)), name


def test_a_new_table_and_figure_are_on_the_page(extended):
    page = (extended[0].folder / "results/report.html").read_text()
    assert 'data-table="epochs"' in page
    assert "figures/epochs.csv" in page
