"""The catalogue: every entry can be drawn, is on the page and in the documentation; no other name is accepted."""

import re
import subprocess
import sys
from dataclasses import fields

import pandas as pd
import pytest
from builders import (
    FFT,
    MERGED,
    METHOD_LABELS,
    REFERENCES,
    ROOT,
    Made,
    draw_figure,
    draw_table,
    latency_inputs,
    timed,
    write_run,
)

from lora_core.evaluation.references import References
from lora_core.records import read_json
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings

ENTRIES = [*catalogue.TABLES.values(), *catalogue.FIGURES.values()]
# Costs up to each seed's own threshold, which `Made` leaves out.
SEED_COSTS = {"seconds_to_seed_threshold": 20.0, "energy_to_seed_threshold_joules": 100.0}
RENAMED = {"fft": "everything", "lora": "adapter_a", "vera": "zeta"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.section}/{entry.name}")
def test_an_entry_names_a_function_and_known_records_and_settings(entry):
    assert callable(entry.function())
    assert set(entry.records) <= set(catalogue.RECORDS)
    assert set(entry.settings) <= set(catalogue.SETTINGS)
    assert entry.title


def test_an_entry_of_a_section_that_the_page_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"epochs: the page has no section 'time'; use one of parameters, scores, "):
        catalogue.Entry("epochs", "Epochs", "time", "tables.epochs:draw")


def test_settings_are_the_fields_of_draw_settings():
    of_every_entry = {"labels", "narrow"}
    assert {*catalogue.SETTINGS} - {"batching"} == {field.name for field in fields(DrawSettings)} - of_every_entry


@pytest.mark.parametrize("find", [catalogue.table, catalogue.figure])
def test_an_unlisted_name_is_refused_with_the_nearest_name(find):
    known = "table2" if find is catalogue.table else "score_over_time"
    with pytest.raises(ValueError, match=f"did you mean '{known}'"):
        find(known.replace("e", "E", 1))
    with pytest.raises(ValueError, match="valid: "):
        find("???")


def test_what_a_study_makes_follows_from_what_it_asks_for_and_has():
    assert "loss_curves" in catalogue.default_figures(methods_equal_to_lora=True)
    assert "loss_curves" not in catalogue.default_figures(methods_equal_to_lora=False)
    assert not set(catalogue.OPTIONAL_TABLES) & set(catalogue.default_tables())
    assert catalogue.default_tables(["sweep"])[-1] == "sweep"
    paper = [f"table{number}" for number in range(1, 8)]
    assert catalogue.default_tables() == [name for table in paper for name in (table, f"{table}-details")]
    assert "sweep" not in catalogue.available_tables(sweep=False)
    assert "sweep" in catalogue.available_figures(sweep=True, methods_equal_to_lora=False)
    assert "scaling" not in catalogue.default_figures(methods_equal_to_lora=True, more_tables=["convergence"])
    assert "scaling" in catalogue.default_figures(methods_equal_to_lora=True, more_tables=["scaling"])
    with pytest.raises(ValueError, match="did you mean 'scaling'"):
        catalogue.default_tables(["scalling"])


def test_importing_the_catalogue_loads_no_heavy_library():
    heavy = ("torch", "pandas", "numpy", "yaml", "matplotlib")
    code = f"import sys, lora_core.reporting.catalogue; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def renamed_files(folder, study):
    """The same records with other names of the entries."""
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix in (".csv", ".json"):
            text = file.read_text()
            for name, other in RENAMED.items():
                text = re.sub(rf"(?<![\w.]){name}(?![\w])", other, text)
            file.write_text(text)
            if file.suffix == ".json":
                write_run(file, read_json(file))
    return study.inputs


@pytest.mark.parametrize("name", ["table2", "table3", "table4", "table5", "table6-details", "convergence"])
def test_renamed_entries_give_the_same_table(name, tmp_path):
    tables = []
    for references, rename in ((REFERENCES, False), (References("everything", "adapter_a"), True)):
        folder = tmp_path / str(rename)
        folder.mkdir()
        study = Made(folder, energy=5000.0)
        costs = [pd.read_csv(file).assign(**SEED_COSTS) for file in study.costs]
        for frame, file in zip(costs, study.costs, strict=True):
            frame.to_csv(file, index=False)
        passes = [timed(folder / "timed", {FFT: [0.5, 0.6], MERGED: [0.5, 0.7]}, task) for task in ("cola", "rte")]
        inputs = (renamed_files(folder, study) if rename else study.inputs) | latency_inputs(*passes)
        methods = [RENAMED["fft"] if rename else "fft"]
        labels = {RENAMED.get(method, method) if rename else method: label for method, label in METHOD_LABELS.items()}
        tables.append(
            draw_table(name, inputs, references=references, methods=methods, latency_margin=0.03, labels=labels)
        )
    first, second = tables
    assert [(c.value, c.text, c.low, c.high, c.n, c.task, c.unit) for c in first.cells] == [
        (c.value, c.text, c.low, c.high, c.n, c.task, c.unit) for c in second.cells
    ]
    named = str(first.to_json())
    for old, new in RENAMED.items():
        named = re.sub(rf"(?<![\w.]){old}(?![\w])", new, named)
    assert named == str(second.to_json())


def test_renamed_entries_keep_the_marks_of_the_references(tmp_path):
    plain, other = Made(subfolder(tmp_path, "a"), energy=5000.0), Made(subfolder(tmp_path, "b"), energy=5000.0)
    inputs = renamed_files(tmp_path / "b", other)
    references = References("everything", "adapter_a")
    for name in ("scores", "score_over_time"):
        before = draw_figure(name, plain.inputs, tmp_path / "a").read_text()
        after = draw_figure(name, inputs, tmp_path / "b", references=references).read_text()
        assert before.count("<path") == after.count("<path")
        assert before.count("published") == after.count("published")
        assert before.count("stroke-width: 2") == after.count("stroke-width: 2")


def subfolder(folder, name):
    (folder / name).mkdir()
    return folder / name
