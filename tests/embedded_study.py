"""A study of the size of the embedded one, which was never run: its records, and every table, figure and claim."""

import csv
from functools import cache
from pathlib import Path

import yaml
from builders import (
    DRAWN,
    MERGED,
    METHOD_LABELS,
    NO_METER,
    REFERENCES,
    ROOT,
    UNMERGED,
    Made,
    draw_figure,
    draw_table,
    metered_run,
    timed,
    write_counts,
)

from lora_core.config import params
from lora_core.config.description import StudyDescription
from lora_core.config.study import load
from lora_core.evaluation import claims
from lora_core.evaluation.claim_evidence import ClaimRecords
from lora_core.evaluation.collect_runs import COLUMNS
from lora_core.evaluation.scores import DIFFERENCE_COLUMNS
from lora_core.layout import Layout, place
from lora_core.records import write_json
from lora_core.reporting import catalogue
from lora_core.reporting.claims_page import write_claims
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.page.report import ReportInputs
from lora_core.reporting.rendering import TableFiles, write_table
from lora_core.sealed import seal

METHODS, TASKS, SEEDS = tuple(METHOD_LABELS), ("sst2", "mrpc", "cola", "rte", "stsb"), (1, 2)
MARGIN = 0.03
# Seconds of two rounds by method and variant: LoRA's merged model is as fast as full fine-tuning.
PASSES = {
    ("fft", "plain"): [0.50, 0.60, 0.55], MERGED: [0.50, 0.61, 0.55], UNMERGED: [0.55, 0.66, 0.60],
    ("lora_ref", "merged"): [0.50, 0.60, 0.551], ("lora_ref", "unmerged"): [0.56, 0.67, 0.60],
}  # fmt: skip
STUDY = StudyDescription(
    "a small model", "generated data", "embedded", list(SEEDS), "length_grouped", False,
    ["model: a small model", "data: generated data", "seeds: 2"],
)  # fmt: skip
RUNS = Layout(str(ROOT / "docs/records/embedded"))  # of which the losses are drawn
LOSSES = [{"method": method, "task": task, "seed": 1} for task in ("cola", "rte", "stsb") for method in METHODS[1:]]


def draw_settings():
    """What the page is made with."""
    return DrawSettings(**DRAWN, latency_margin=MARGIN)


@cache
def _of_tables():
    """By the table of the paper, the settings that it is drawn with."""
    study = load(yaml.safe_load((ROOT / "config.yaml").read_text()))
    plain = {"hyperparameters": params.hyperparameter_params(study)}
    return {
        "table3": {"latency_margin": MARGIN}, "table5": {"methods": ("fft",)}, "table6": {"methods": METHODS[1:]},
        "table7": {"hyperparameters": DrawSettings.from_params(plain).hyperparameters},
    }  # fmt: skip


def _differences(file):
    """Write the differences of scores of a task, whose every seed has the same."""
    rows = [
        [
            *pair,
            "best",
            len(SEEDS),
            difference,
            *[""] * 3,
            difference - 0.02,
            difference + 0.02,
            0,
            identical,
            False,
            False,
        ]
        for pair, difference, identical in ((("lora", "fft"), -0.012, 0), (("lora_ref", "lora"), 0.0, len(SEEDS)))
    ]
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([DIFFERENCE_COLUMNS, *rows])


def _gradients(results, method):
    """The record of a method whose every parameter got a gradient."""
    file = Path(Layout(str(results)).gradients.format(method=method))
    content = {"outputs": [1, 2], "without": {}, "read_instead": []}
    write_json(file, seal(content, place(Layout.gradients, file)))
    return file


def records(folder, energy=None):
    """The files of the study by the names that the catalogue uses; without an `energy` there is no meter."""
    made = Made(folder, energy=energy, tasks=TASKS, seeds=SEEDS, methods=METHODS)
    made.latency = [timed(folder / "timed", PASSES, task) for task in TASKS]
    write_counts(made.counts, {"fft": 100, "lora": 1, "lora_ref": 1})
    files = made.inputs
    for file in files["differences"]:
        _differences(file)
    measured = {} if energy else {"measurement": {"energy": {"meter": "none", "source": None, "reason": NO_METER}}}
    traced = [metered_run(folder / "traced", method, "cola", **measured) for method in METHODS]
    return files | {
        "gradients": [_gradients(folder, method) for method in METHODS],
        "traced_runs": [run / "run.json" for run in traced],
        "traced_power": [run / "power.csv" for run in traced],
        "loss_runs": [Path(RUNS.run_record.format(**run)) for run in LOSSES],
        "loss_predictions": [Path(RUNS.predictions.format(**run)) for run in LOSSES],
    }


def draw_tables(files):
    """Every table that the study has."""
    for name in catalogue.default_tables():
        yield draw_table(name, files, **_of_tables().get(catalogue.table(name).parent, {}))


def write_runs(file, methods, tasks, seeds, metered=METHODS):
    """Write runs.csv, in which some methods have an energy."""
    rows = [",".join(COLUMNS)]
    for m in methods:
        for t in tasks:
            for s in seeds:
                rows += [f"{m},{t},{s},score.best,0.8{s},", f"{m},{t},{s},train_seconds,{10 + s},"]
                if m in metered:
                    rows.append(f"{m},{t},{s},energy.train_joules,{1000 * (2 if m == 'lora' else 4)},")
    file.write_text("\n".join(rows) + "\n")


def report_inputs(folder, energy=None):
    """The files of the study's page: all tables and figures in both widths, and the verdicts on all claims."""
    files = records(folder, energy)
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    for table in draw_tables(files):
        write_table(table, STUDY, TableFiles.at(folder / "tables" / table.name))
    for name in catalogue.default_figures(methods_equal_to_lora=True):
        draw_figure(name, files, folder / "figures", latency_margin=MARGIN)
    groups = ("differences", "latency", "latency_records", "runs", "costs")
    evidence = ClaimRecords(counts=files["counts"][0], **{group: files[group] for group in groups})
    verdicts = claims.judge(evidence, REFERENCES, MARGIN, METHOD_LABELS)
    write_claims(verdicts, STUDY, folder / "claims.md", folder / "claims.csv")
    write_runs(folder / "runs.csv", METHODS, TASKS, SEEDS, METHODS if energy else ())
    return ReportInputs(
        tables=sorted((folder / "tables").glob("*.json")), figures=sorted((folder / "figures").glob("*.svg")),
        claims=folder / "claims.csv", collected=folder / "runs.csv", curves=files["curves"],
        counts=evidence.counts, **{group: files[group] for group in groups},
    )  # fmt: skip
