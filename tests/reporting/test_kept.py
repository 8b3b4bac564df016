"""Runs that were kept although other code made them: marked in tables, and named with the reason."""

from pathlib import Path

import pytest
from builders import DRAWN

from lora_core.config.description import StudyDescription
from lora_core.kept_runs import KeptRun, kept_runs, write_kept
from lora_core.records import sha256, write_json
from lora_core.reporting.claims_page import write_claims
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.kept import mark_kept
from lora_core.reporting.latex import latex
from lora_core.reporting.markdown import markdown
from lora_core.reporting.table import NA, Cell, Table

SETTINGS = DrawSettings(**DRAWN)
FULL, LORA = "Full fine-tuning", "LoRA (own)"


def kept(method="lora", task="cola", seed=1, because="only messages changed"):
    return KeptRun(method, task, seed, because, "2026-11-27T05:00:00+00:00", "a", "c0de", ["code: a.py"])


def cell(row, method, task="cola", text="1.0"):
    return Cell(row, task, 1.0, text, method=method, task=task)


TABLE = Table("table2", "Score", "method", [
    cell(FULL, "fft"), cell(LORA, "lora"), cell(LORA, "lora", "rte"), cell(f"{LORA} − {FULL}", "lora"),
    cell(f"LoRA (loralib) − {LORA}", "lora_ref"), cell(f"{LORA} / {FULL}", "lora", text=NA),
])  # fmt: skip


def test_the_figures_of_kept_runs_are_marked_and_those_compared_with_them():
    marked = [cell for cell in mark_kept(TABLE, [kept()], SETTINGS).cells if cell.text == "1.0 †"]
    assert [(cell.row, cell.task) for cell in marked] == [
        (LORA, "cola"), (f"{LORA} − {FULL}", "cola"), (f"LoRA (loralib) − {LORA}", "cola"),
    ]  # fmt: skip
    assert {cell.note for cell in marked} == {"kept"}
    of_full = mark_kept(TABLE, [kept("fft")], SETTINGS).cells
    assert [cell.row for cell in of_full if cell.text.endswith("†")] == [FULL, f"{LORA} − {FULL}"]
    for shown_nowhere in ([], [kept(task="mrpc")], [kept("vera")]):
        assert mark_kept(TABLE, shown_nowhere, SETTINGS) is TABLE


def test_notes_name_the_runs_with_the_same_reason_together():
    runs = [kept(), kept(seed=2), kept("fft", because="50 % <b>faster</b> | $x$")]
    first, second = mark_kept(TABLE, runs, SETTINGS).notes
    assert first == (
        "† Made before a change and kept (code: a.py), because “only messages changed”: "
        "LoRA (own) CoLA seed 1, LoRA (own) CoLA seed 2."
    )
    assert second.endswith("Full fine-tuning CoLA seed 1.")


def test_a_reason_is_text_in_every_format():
    table = mark_kept(TABLE, [kept(because="50 % <b>faster</b> | $x$")], SETTINGS)
    assert "50 % &lt;b&gt;faster&lt;/b&gt; \\| $x$" in markdown(table)
    assert r"50 \% \textless{}b\textgreater{}faster\textless{}/b\textgreater{} \textbar{} \$x\$" in latex(table)
    assert r"1.0~\dag{}" in latex(table)


def test_claims_say_which_runs_were_kept(tmp_path):
    study = StudyDescription("a model", "some data", "a protocol", [1], "random", False, [])
    notes = mark_kept(TABLE, [kept()], SETTINGS).notes
    write_claims([], study, tmp_path / "claims.md", tmp_path / "claims.csv", notes)
    assert f"\n{notes[0]}\n" in (tmp_path / "claims.md").read_text()


def test_a_decision_about_another_run_is_not_shown(tmp_path):
    record = tmp_path / "runs/lora/cola/seed1/run.json"
    write_json(record, {"format": 2})
    file = record.with_name("kept.json")
    for digest, shown in ((sha256(record), 1), ("0", 0)):
        write_kept(record, KeptRun(**vars(kept()) | {"run": digest}))
        assert len(kept_runs([file])) == shown
    record.unlink()
    assert kept_runs([file]) == []
    with pytest.raises(FileNotFoundError):
        sha256(Path(record))
