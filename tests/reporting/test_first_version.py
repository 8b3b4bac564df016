"""A study that the first version (commit c80a298) recorded: today's tables have the figures that it drew then.

The fixture is its bundle without the lock: MPNet-base on an H200, one seed of full fine-tuning and LoRA on four tasks.
What no table needs is left out: the losses of steps, and of the logits of classes all but which is the largest.
"""

import re
import tempfile
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from builders import ROOT

from lora_core.commands import verify_bundle
from lora_core.commands.bundle_archive import RESULTS, open_archive
from lora_core.commands.compare import compare_studies
from lora_core.evaluation.cost_to_threshold import write_costs
from lora_core.evaluation.references import References
from lora_core.evaluation.run_history import read_history
from lora_core.evaluation.run_predictions import read_predictions
from lora_core.evaluation.scores import compare_scores
from lora_core.layout import Layout
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings

ARCHIVE = ROOT / "tests" / "fixtures" / "h200_study.zip"
TASKS = {"stsb": "STS-B", "mrpc": "MRPC", "rte": "RTE", "cola": "CoLA"}
METHODS, REFERENCES = ("fft", "lora"), References(full="fft", adapter="lora", library=None)
# Rows whose label is another now: as they are called today, and in the first version.
OF_SCORES = {"fft": "fft, best epoch", "lora": "lora, best epoch"}
RENAMED = {
    "majority-class baseline": "constant guess",
    "fft: mean above the baseline": "fft, less the baseline",
    "lora: mean above the baseline": "lora, less the baseline",
    "fft: peak above the baseline": "fft, peak less the baseline",
    "lora: peak above the baseline": "lora, peak less the baseline",
    "fft: tensors, peak": "fft: allocator's peak",
    "lora: tensors, peak": "lora: allocator's peak",
    "fft: held by the allocator, peak": "fft: allocator's reserved peak",
    "lora: held by the allocator, peak": "lora: allocator's reserved peak",
    "fft: optimizer state": "fft: optimiser state",
    "lora: optimizer state": "lora: optimiser state",
    "fft: sum of the four parts": "fft: sum of the four",
    "lora: sum of the four parts": "lora: sum of the four",
    "training time (s)": "train time (s)",
    "energy minus idle (kJ)": "energy less idle (kJ)",
    "epochs to the seed's own threshold": "epochs to its own seed's threshold",
    "threshold (%)": "threshold",
    "planned epochs": "epochs planned",
}
# How many figures each table has in common with what it was then; what differs in form is not compared.
COMPARED = {
    "table1": 6, "table2": 6, "table2-details": 8, "table3": 16, "table3-details": 40, "table4": 16,
    "table4-details": 80, "table5": 16, "table5-details": 16, "table6": 16, "table6-details": 16,
}  # fmt: skip
SCORED = ("mrpc", "rte")  # the others take seconds


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The results folder of the study, with its scores and costs computed today."""
    folder = tmp_path_factory.mktemp("first_version")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    results = folder / RESULTS
    for task in TASKS:
        runs = [results / Layout.run.format(method=method, task=task, seed=1) for method in METHODS]
        costs, curve = (results / pattern.format(task=task) for pattern in (Layout.costs, Layout.curve))
        write_costs([read_history(*_files(run, "history.csv", "power.csv")) for run in runs], REFERENCES, costs, curve)
        if task in SCORED:
            compare(results, task)
    return results


def compare(results, task):
    runs = [results / Layout.run.format(method=method, task=task, seed=1) for method in METHODS]
    scores, differences = (results / pattern.format(task=task) for pattern in (Layout.scores, Layout.differences))
    predictions = [read_predictions(*_files(run, "predictions.safetensors")) for run in runs]
    compare_scores(predictions, REFERENCES, scores, differences)


def _files(run, *names):
    return [run / name for name in ("run.json", *names)]


def drawn(results, name, tasks=tuple(TASKS)):
    """The cells of a table as today's code draws it from these records."""
    layout, entry = Layout(str(results)), catalogue.table(name)
    of_task = {
        "scores": layout.scores, "differences": layout.differences, "costs": layout.costs,
        "latency": layout.latency, "latency_records": layout.latency_record,
    }  # fmt: skip
    inputs = {key: [Path(pattern.format(task=task, seed=1)) for task in tasks] for key, pattern in of_task.items()}
    runs = [layout.run_record.format(method=m, task=task, seed=1) for m in METHODS for task in tasks]
    inputs |= {"counts": [Path(layout.counts)], "gradients": [], "measured_regimes": [], "runs": list(map(Path, runs))}
    shown = ("fft",) if name.startswith("table5") else ("lora",)
    settings = DrawSettings(REFERENCES, dict(zip(METHODS, METHODS, strict=True)), latency_margin=0.03, methods=shown)
    return entry.function()({key: inputs[key] for key in entry.records}, settings).cells


def published_then(results, name):
    """The figures of the table that the first version drew, by row and column; the first block is the study's own."""
    text = (results / "tables" / f"{name.removesuffix('-details')}.md").read_text(encoding="utf-8")
    lines = [line.strip("| ").split(" | ") for line in text.partition("## Published")[0].splitlines() if "|" in line]
    (_, *columns), _, *rows = lines
    return {(row[0], column): value for row in rows for column, value in zip(columns, row[1:], strict=True)}


def number(text):
    """The first number of a text, to the digits that it has, and their last place."""
    match = re.match(r"[−-]?[\d,]+(\.\d+)?", text)
    return match and (float(match[0].replace(",", "").replace("−", "-")), 10.0 ** -len((match[1] or ".")[1:]))


def compared(results, name, tasks):
    """Pairs of figures: as today's code draws them, and as the first version did."""
    then, pairs = published_then(results, name), {}
    renamed = RENAMED | (OF_SCORES if name.startswith("table2") else {})
    for cell in drawn(results, name, tasks):
        row = cell.row.partition(": ")[2] if name.startswith(("table5", "table6")) else cell.row
        row = row.replace(" percentile (s)", " percentile").replace(" example (ms)", " example, ms")
        now, earlier = number(cell.text), number(then.get((renamed.get(row, row), cell.column), ""))
        if now and earlier:
            pairs[cell.row, cell.column] = now, earlier
    return pairs


def agree(now, then):
    """Whether two figures are the same to the digits that both have."""
    (value, unit), (earlier, earlier_unit) = now, then
    rounding = 0.5001 * max(unit, earlier_unit) if unit != earlier_unit else 1e-9
    return abs(value - earlier) <= rounding


@pytest.mark.parametrize("name", COMPARED)
def test_tables_of_the_first_versions_records_have_its_figures(results, name):
    pairs = compared(results, name, SCORED if name.startswith("table2") else tuple(TASKS))
    assert {place: pair for place, pair in pairs.items() if not agree(*pair)} == {}
    assert len(pairs) == COMPARED[name]


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(TASKS.keys() - set(SCORED)))
def test_scores_of_the_first_versions_larger_tasks_are_those_that_it_drew(results, task):
    compare(results, task)
    pairs = compared(results, "table2", [task])
    assert {place: pair for place, pair in pairs.items() if not agree(*pair)} == {}
    assert len(pairs) == 3


def test_a_study_of_the_first_version_is_compared(results):
    text = compare_studies(results, results)
    assert "Left out" not in text
    assert "| lora | RTE | best score (%) | 71.5 | 71.5 |" in text


# The first version timed in float32, whatever it trained in; every other record is of its configuration.
OUTDATED = dict.fromkeys(
    (f"{RESULTS}/{Layout.latency_record.format(task=task, seed=1)}" for task in TASKS),
    "is not of its configuration: settings differ (precision fp32 -> bf16)",
)


def test_a_bundle_of_the_first_version_is_read_and_laid_out_for_drawing(tmp_path):
    with open_archive(ARCHIVE) as archive:
        study = verify_bundle._read_study(ARCHIVE, archive)
        verify_bundle._lay_out(archive, study, tmp_path)
    assert verify_bundle._outdated(tmp_path, study) == OUTDATED
    assert verify_bundle.is_of_first_version(ARCHIVE)
    assert (study.methods, study.train.batching) == (METHODS, "length_grouped")


@pytest.mark.slow
def test_a_bundle_of_the_first_version_is_drawn_again_with_its_report(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda: nullcontext(str(tmp_path)))  # to look at what is drawn
    differences = verify_bundle.verify(ARCHIVE)
    # The tables that the fixture has are those in Markdown, whose form has changed; it lacks everything else drawn.
    tables = {f"{RESULTS}/{Layout.table.format(table=f'table{number}')}.md": "differs" for number in range(1, 7)}
    others = {name: how for name, how in differences.items() if name not in OUTDATED | tables}
    assert {name: differences[name] for name in differences.keys() - others.keys()} == OUTDATED | tables
    assert set(others.values()) == {"is not in the bundle"}
    assert {f"{RESULTS}/{Layout.report}", f"{RESULTS}/{Layout.runs}", f"{RESULTS}/{Layout.claims}.csv"} <= others.keys()
    report = (tmp_path / RESULTS / Layout.report).read_text(encoding="utf-8")
    assert all(f"{score}" in report for score in ("71.5", *TASKS.values()))  # LoRA's best score on RTE
