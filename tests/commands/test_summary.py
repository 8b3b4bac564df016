"""`lora-core summary`: what `make tables` ends with."""

import re

import pandas as pd
from builders import METHOD_LABELS, Made, changed

from lora_core.commands.studies import load_study
from lora_core.commands.summary import format_summary, summary_lines
from lora_core.evaluation.answer import read_answer
from lora_core.evaluation.claim_evidence import ClaimRecords, read_evidence
from lora_core.evaluation.references import References

FILES = ("differences", "latency", "latency_records", "runs", "costs")
TITLES = ["score", "trained parameters", "time per epoch", "training memory"]


def lines(made):
    """The lines by what they are about."""
    records = ClaimRecords(made.counts, **{name: made.inputs[name] for name in FILES})
    answer = read_answer(read_evidence(records, References(full="fft", adapter="lora"), 0.03, METHOD_LABELS))
    return dict(re.split(r":\s+", line, maxsplit=1) for line in summary_lines(answer))


def test_each_quantity_has_its_relative_value_both_numbers_and_how_sure_that_is(tmp_path):
    made = Made(tmp_path)
    multiply(made.costs, "lora", "median_epoch_seconds", (0.25, 0.64))
    found = lines(made)
    assert list(found) == TITLES
    assert found["score"].startswith("LoRA (own) ")
    assert " against full fine-tuning (" in found["score"]
    assert (
        found["trained parameters"]
        == "LoRA (own) 100 % of full fine-tuning (100 / 100; a count, exact; decided: counted)"
    )
    # The square root of 0.25 * 0.64, and the means of 10.67 s and 0.445 times as much.
    assert found["time per epoch"].startswith("LoRA (own) 0.40 of full fine-tuning (4.75 / 10.7 s; [")
    assert found["training memory"].startswith("not measured: needs a GPU")


def multiply(files, method, column, factors):
    """Multiply a column of a method in the CSV file of each task."""
    for file, factor in zip(files, factors, strict=True):
        frame = pd.read_csv(file)
        frame[column] = frame[column].where(frame["method"] != method, frame[column] * factor)
        frame.to_csv(file, index=False)


def test_a_figure_of_disturbed_runs_is_undecided(tmp_path):
    made = Made(tmp_path, disturbed={("lora", "rte", 2)})
    assert "undecided: 1 of 12 runs was disturbed" in lines(made)["time per epoch"]


def study(folder, **changes):
    return load_study(changed(results_dir=str(folder), tasks=["cola"], methods=["fft", "lora"], seeds=[1], **changes))


def test_a_study_without_references_or_with_missing_runs_ends_with_one_sentence(tmp_path):
    sentence = "LoRA (own) and full fine-tuning cannot be compared"
    absent = format_summary(study(tmp_path, references={"adapter": "lora"}))
    assert absent == f"{sentence} here: this study has no method that stands for full fine-tuning."
    yet = f"{sentence} yet: {tmp_path}/counts.json is missing, and 7 more; run the study again."
    assert format_summary(study(tmp_path)) == yet
