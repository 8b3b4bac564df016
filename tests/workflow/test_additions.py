"""To add X, touch Y (docs/architecture.md): one of each is added to a copy of the project, and the study uses it."""

from pathlib import Path

import pytest
from builders import ROOT
from project import Project

from lora_core.records import read_json

METHOD = '''"""Only the head is trained, with one bias beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from lora_core.methods.settings import MethodSettings

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Settings(MethodSettings):
    """One bias is trained."""

    layer: Annotated[int, Gt(0)] = 1


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Train the last bias of a layer."""
    names = [n for n, _ in model.named_parameters() if f"layer.{settings.layer}." in n and n.endswith("bias")]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == names[-1])
    return model
'''
TABLE = '''"""How many parameters every method trains."""

from lora_core.records import read_json
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table."""
    counts = read_json(inputs["counts"][0])["methods"]
    cells = [Cell(m, "trainable", c["trainable"], str(c["trainable"]), method=m) for m, c in counts.items()]
    return new_table("counts", "method", cells)
'''
FIGURE = '''"""How many parameters every method trains."""

import pandas as pd

from lora_core.records import read_json
from lora_core.reporting.figures.style import Drawing, panels
from lora_core.reporting.inputs import DrawSettings, Inputs


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure."""
    counts = read_json(inputs["counts"][0])["methods"]
    frame = pd.DataFrame({"method": list(counts), "trainable": [c["trainable"] for c in counts.values()]})
    figure, (axes,) = panels(["trainable parameters"])
    axes.barh(frame["method"], frame["trainable"])
    return figure, frame
'''
METERS = "METERS = {\n"
METER = '''class ConstantMeter(NoMeter):
    """A meter that always reads 7 W."""

    def __init__(self, device_type: str) -> None:
        super().__init__("a stand-in", device_type)
        self.name = "constant"


METERS = {
    "constant": MeterKind(lambda device, simulated: ConstantMeter(device.type)),
'''


@pytest.fixture
def project(tmp_path) -> Project:
    project = Project(tmp_path / "project")
    project.configure(seeds=[1], methods=["lora"])
    return project


def changed_files(project: Project) -> set[str]:
    """The files of the package that differ from the original, and those that are new."""
    copies = {f.relative_to(project.folder): f for f in (project.folder / "lora_core").rglob("*") if f.is_file()}
    return {
        str(name)
        for name, file in copies.items()
        if "__pycache__" not in name.parts
        and not ((ROOT / name).exists() and (ROOT / name).read_bytes() == file.read_bytes())
    }


def write(project: Project, name: str, text: str) -> None:
    Path(project.folder, name).write_text(text)


def run(project: Project, *targets: str) -> None:
    status, output = project.run(*(f"results/{target}" for target in targets))
    assert status == 0, output


def test_a_method_is_one_file_and_one_entry(project):
    write(project, "lora_core/methods/lastbias.py", METHOD)
    project.configure(
        seeds=[1], methods=["mine"],
        method_settings={"mine": {"kind": "lastbias", "layer": 1, "hyperparameters": {"epochs": 1}}},
    )  # fmt: skip
    run(project, "tables/table1.md", "runs/mine/cola/seed1/README.md", "scores/cola.csv")
    assert read_json(project.folder / "results/counts.json")["methods"]["mine"]["trainable"] == 32
    assert changed_files(project) == {"lora_core/methods/lastbias.py"}


def test_a_table_and_a_figure_are_one_function_and_one_entry_each(project):
    write(project, "lora_core/reporting/tables/counts.py", TABLE)
    write(project, "lora_core/reporting/figures/counts.py", FIGURE)
    catalogue = "lora_core/reporting/catalogue.py"
    for kind in ("TABLE", "FIGURE"):
        entry = f'    Entry("counts", "Counts", "parameters", "{kind.lower()}s.counts:draw", ("counts",)),\n'
        project.edit(catalogue, f"{kind}S = _by_name(\n", f"{kind}S = _by_name(\n{entry}")
    run(project, "tables/counts.md", "figures/counts.svg")
    assert "| lora |" in (project.folder / "results/tables/counts.md").read_text()
    assert {"render_table table=counts", "draw_figure figure=counts"} <= project.plan("--forcerun", "count_parameters")
    assert changed_files(project) == {
        catalogue, "lora_core/reporting/tables/counts.py", "lora_core/reporting/figures/counts.py",
    }  # fmt: skip


def test_a_metric_and_a_meter_are_one_file_each(project):
    metric = """        Metric(
            name="error",
            title="error",
            function=lambda labels, logits: 1 - _accuracy(labels, logits),
            hub_name="error",
            baseline_score=lambda labels: 1 - _majority_share(labels),
            labels="classes",
        ),
"""
    metrics, meters = "lora_core/data/metrics.py", "lora_core/measuring/meters.py"
    text = (project.folder / metrics).read_text()
    start = text.index("        Metric(\n")
    write(project, metrics, text[:start] + metric + text[start:])
    project.edit(meters, METERS, METER)
    folder = project.folder / "mine"
    folder.mkdir()
    for split in ("train", "validation"):
        (folder / f"{split}.csv").write_text("text,label\n" + "good,yes\nbad,no\n" * 8)
    task = {"path": "mine", "texts": ["text"], "labels": ["no", "yes"], "metrics": ["error"]}
    project.configure(
        seeds=[1], methods=["lora"], tasks=["mine"], task_settings={"mine": task}, measure__meter="constant",
        method_settings__lora__hyperparameters={"epochs": 1},
    )  # fmt: skip
    run(project, "tables/table2.md", "runs/lora/mine/seed1/README.md")
    measurement = read_json(project.folder / "results/runs/lora/mine/seed1/run.json")["measurement"]
    assert (measurement["score"]["metric"], measurement["energy"]["meter"]) == ("error", "constant")
    assert changed_files(project) == {metrics, meters}


def test_a_hyperparameter_is_two_files_and_the_protocols_that_set_it(project):
    spec, steps = "lora_core/training/spec.py", "lora_core/training/steps.py"
    protocols = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "lora_core" / "config" / "protocols").glob("*.yaml"))
        if "loraplus_lr_ratio:" in file.read_text()
    ]
    project.edit(spec, "    gradient_checkpointing: bool\n", "    gradient_checkpointing: bool\n    amsgrad: bool\n")
    project.edit(
        steps,
        "torch.optim.AdamW(\n        groups,\n",
        "torch.optim.AdamW(\n        groups,\n        amsgrad=hyperparameters.amsgrad,\n",
    )
    for protocol in protocols:
        text = (project.folder / protocol).read_text()
        line = next(line for line in text.splitlines() if line.startswith("  loraplus_lr_ratio:"))
        source = line.partition("source: ")[2].rstrip("}")
        write(project, protocol, text.replace(line, f"{line}\n  amsgrad: {{value: false, source: {source}}}"))
    hyperparameters = {"epochs": 1, "amsgrad": True}
    project.configure(seeds=[1], methods=["lora"], method_settings__lora__hyperparameters=hyperparameters)
    run(project, "runs/lora/cola/seed1/run.json", "tables/table7.md")
    record = read_json(project.folder / "results/runs/lora/cola/seed1/run.json")
    assert record["run"]["hyperparameters"]["amsgrad"] is True
    assert "amsgrad" in (project.folder / "results/tables/table7.md").read_text()
    assert changed_files(project) == {spec, steps, *protocols}
