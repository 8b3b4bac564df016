"""LaTeX of tables: every character is printed or replaced, and every table fits on the page and says what it holds."""

import re
from dataclasses import replace
from pathlib import Path

import embedded_study
import pandas as pd
import pytest
import yaml
from builders import (
    FFT,
    MERGED,
    ROOT,
    UNMERGED,
    Made,
    changed,
    draw_table,
    latency_inputs,
    needs_latex,
    printed_words,
    score_inputs,
    scored,
    timed,
)

from lora_core.config import params
from lora_core.config.description import StudyDescription
from lora_core.config.study import load
from lora_core.layout import Layout
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.latex import latex, latex_text
from lora_core.reporting.table import Cell, Table, new_table

CLASSES = ["", "twocolumn"]  # options of the class article
GPU = Layout(str(ROOT / "docs/records/h200"))
GPU_TASKS, GPU_METHODS = ("stsb", "mrpc", "rte", "cola"), ("fft", "lora")
STUDY = StudyDescription("a model", "some data", "a protocol", [1, 2], "length_grouped", False, ["model: other"])


def test_every_symbol_of_tables_has_its_latex():
    """A lower bound must not be printed as a value because its sign is missing."""
    sources = [
        file
        for folder in ("reporting", "evaluation", "config", "data")
        for file in (ROOT / "lora_core" / folder).rglob("*.py")
        if file.name != "latex.py"
    ]
    used = set(re.findall("[^ -~\\n]", "".join(file.read_text() for file in sources)))
    assert "≥" in used
    assert {symbol for symbol in used if "[U+" in latex_text(symbol)} <= {"ᵀ", "⁹"}  # of docstrings
    assert latex_text("≥ 3 ± 1") == r"$\geq$ 3 $\pm$ 1"
    assert latex_text("評") == "[U+8A55]"


def test_two_hyphens_and_a_bracket_at_the_beginning_of_a_row_are_printed_as_they_are():
    assert latex_text("a--b – c") == "a-{}-b -- c"
    rows = [Cell(row, "column", 1.0, text) for row, text in (("[x] y", "1.0"), ("* z", "0.91 [0.46, 1.80] undecided"))]
    body = latex(Table("table3", "Title", "method", rows))
    assert r"\\ [" not in body.replace(r"\\[2pt]", "")
    assert "\n[" not in body
    assert "\n*" not in body


def printed(folder, *tables, options=""):
    """The words of tables as pdflatex prints them."""
    return printed_words(folder, *map(latex, tables), options=options)


def assert_printed(words, table):
    """Every word of labels, heads and figures is among those printed, those of figures as often as in the table."""
    expected = [word for line in table.grid().lines for text in line for word in text.split()]
    missing = {word for word in expected if words.count(word) < expected.count(word)}
    assert not missing, f"{table.name}: {sorted(missing)}"


@needs_latex
def test_every_character_that_is_not_replaced_is_compiled(tmp_path):
    ranges = ((0x20, 0x7F), (0xA0, 0x250), (0x370, 0x400), (0x2010, 0x2030), (0x2190, 0x2300))
    characters = [chr(code) for start, end in ranges for code in range(start, end)]
    kept = "".join(c for c in characters if "[U+" not in latex_text(c))
    assert {"é", "β", "≥", "ü", "|", "\\"} <= set(kept)
    cells = [Cell(f"x{kept[at : at + 10]}x", "column", 1.0, "1.0") for at in range(0, len(kept), 10)]
    words = printed(tmp_path, Table("table1", "ąЖ評", "method", cells))
    assert {"[U+0105][U+0416][U+8A55]."} <= set(words)  # pdflatex's default fonts lack them


@needs_latex
@pytest.mark.parametrize("options", CLASSES)
def test_short_wide_and_long_tables_fit_on_the_page(options, tmp_path):
    odd = "100 % of a_b & {c} ~ ^ \\ $ # <d> ≥ 1 ≤ 2 × 3 β é — 評"
    tables = []
    for high, wide in ((3, 2), (6, 12), (90, 2), (60, 5), (2, 0)):
        cells = [
            Cell(f"{odd if high < 40 else 'LoRA (own), unmerged / Full fine-tuning a_b %'} {r}", f"a long head a_b {c}",
                 1.0, f"{r}.{c} [0.957, 1.016] undecided") for r in range(high) for c in range(wide)
        ]  # fmt: skip
        cells += [Cell(f"{'x.y' * 50} {odd}", "c" * 90, "a " * 90, f"{'(.*)' * 40} {odd}")]
        table = replace(new_table("table2", "corner", cells, [odd, "a note", "long " * 300]), title=odd)
        tables.append(table.with_study(replace(STUDY, model=odd)))
    words = printed(tmp_path, *tables, options=options)
    for word in ("89.1", "5.11", "undecided", "1.016]", "≥", "×"):
        assert word in words


def made_tables(folder):
    """Tables of a study with three seeds, censored runs and intervals of every kind; hyperparameters of config.yaml."""
    made = Made(folder, energy=5000.0)
    for file in made.costs:
        frame = pd.read_csv(file)
        late = (frame["method"] == "lora") & (frame["seed"] > 1)
        costs = ["epochs_to_threshold", "seconds_to_threshold", "energy_to_threshold_joules"]
        frame.loc[late, costs] = None
        frame.loc[late, "reached"] = False
        frame.to_csv(file, index=False)
    pair = ("lora", "fft", "best", 3, -0.012, -0.03, 0.006, 0.02, -0.025, 0.001, 0, 0, False, False)
    runs = [(m, s, 0.8 + 0.01 * s, 0.8, 0.8, False) for m in ("fft", "lora") for s in (1, 2, 3)]
    (folder / "differences").mkdir()
    scores = score_inputs(scored(folder / "differences", *runs, differences=[pair]))
    medians = {FFT: 0.5, MERGED: 0.5, UNMERGED: 0.6, ("vera", "merged"): 0.4}
    times = {variant: [seconds, seconds, seconds + 0.01] for variant, seconds in medians.items()}
    passes = latency_inputs(*(timed(folder / "timed", times, task) for task in ("cola", "rte")))
    study = load(yaml.safe_load((ROOT / "config.yaml").read_text()))
    hyperparameters = DrawSettings.from_params({"hyperparameters": params.hyperparameter_params(study)}).hyperparameters
    settings = {"table5": {"methods": ["fft"]}, "table6": {"methods": ["lora", "vera"]}}
    for entry in catalogue.TABLES.values():
        if entry.name.startswith("table"):
            more = settings.get(entry.parent, {}) | {"latency_margin": 0.03, "hyperparameters": hyperparameters}
            yield draw_table(entry.name, made.inputs | scores | passes, **more)


def gpu_tables():
    """Tables of the study in docs/records/h200, as a study of the paper's model and data that trains in bf16."""
    files = {
        **{
            record: [pattern.format(task=task, seed=1) for task in GPU_TASKS]
            for record, pattern in (
                ("scores", GPU.scores), ("differences", GPU.differences), ("latency", GPU.latency),
                ("latency_records", GPU.latency_record), ("costs", GPU.costs),
            )
        },
        "runs": [GPU.run_record.format(method=m, task=t, seed=1) for m in GPU_METHODS for t in GPU_TASKS],
        "counts": [GPU.counts],
    }  # fmt: skip
    study = load(changed(methods=list(GPU_METHODS), tasks=list(GPU_TASKS), protocol="table7", references__library=None))
    hyperparameters = DrawSettings.from_params({"hyperparameters": params.hyperparameter_params(study)}).hyperparameters
    inputs = {record: [Path(name) for name in names] for record, names in files.items()}
    for entry in catalogue.TABLES.values():
        if entry.name.startswith("table"):
            yield draw_table(
                entry.name, inputs, latency_margin=0.03, precision="bf16", hyperparameters=hyperparameters,
                methods=["fft"] if entry.parent == "table5" else ["lora"],
            )  # fmt: skip


def embedded_tables(folder):
    """Tables of three methods on five tasks, as large as those of the embedded study."""
    return embedded_study.draw_tables(embedded_study.records(folder))


@needs_latex
@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("kind", ["made", "gpu", "embedded"])
def test_tables_of_a_study_say_in_the_pdf_what_they_hold(kind, options, tmp_path):
    tables = {"made": lambda: made_tables(tmp_path), "gpu": gpu_tables, "embedded": lambda: embedded_tables(tmp_path)}
    tables = [*tables[kind]()]
    study = replace(STUDY, differences=["precision: bf16"] if kind == "gpu" else STUDY.differences)
    tables = [table.with_study(study) for table in tables]
    assert len(tables) == 14
    words = printed(tmp_path, *tables, options=options)
    for table in tables:
        assert_printed(words, table)
    signs = {"made": {"≥", "[", "%", "−"}, "gpu": {"*", "−", "["}, "embedded": {"±", "[", "n/a"}}[kind]
    shown = "".join(words)
    assert all(sign in shown for sign in signs)
    assert ("Published," in words) == (kind == "gpu")
    paper = [table for table in tables if not catalogue.table(table.name).details]
    assert all(len(table.grid().rows) <= 12 for table in paper)
