"""`lora-core summary`: what `make tables` ends with."""

import re
from pathlib import Path

import pandas as pd
import pytest
from builders import Made, changed, record

from lora_core.commands.studies import load_study
from lora_core.commands.summary import SummaryRecords, format_summary, summary_lines
from lora_core.evaluation.references import References
from lora_core.layout import Layout

REFERENCES = References(full="fft", adapter="lora")


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def lines(made):
    """The lines by what they are about."""
    records = SummaryRecords(made.counts, made.scores, made.costs, made.runs)
    return dict(re.split(r":\s+", line, maxsplit=1) for line in summary_lines(records, REFERENCES))


def multiply(files, method, column, factors):
    """Multiply a column of a method in the CSV file of each task."""
    for file, factor in zip(files, factors, strict=True):
        frame = pd.read_csv(file)
        frame[column] = frame[column].where(frame["method"] != method, frame[column] * factor)
        frame.to_csv(file, index=False)


def test_each_quantity_has_its_relative_value_and_both_numbers(made, tmp_path):
    multiply(made.costs, "lora", "median_epoch_seconds", (0.25, 0.64))
    multiply(made.scores, "lora", "best", (0.95, 0.95))
    made.runs = [
        record(tmp_path, m, s, task=t, kind="device", memory=memory)
        for m, memory in (("fft", 1600.4), ("lora", 1000.3))
        for t in ("cola", "rte")
        for s in (1, 2, 3)
    ]
    found = lines(made)
    assert list(found) == ["best score", "trained parameters", "time per epoch", "training memory"]
    assert found["best score"] == "LoRA 4.1 points below full fine-tuning (77.9 % against 82.0 %)"
    assert found["trained parameters"] == "LoRA 1e+02 % of full fine-tuning (100 and the head, against 100)"
    # The square root of 0.25 * 0.64, and the means of 10.67 s and 0.445 times as much.
    expected = "LoRA 0.40 of full fine-tuning (4.75 s against 10.7 s; ratio: geometric mean over 2 tasks)"
    assert found["time per epoch"] == expected
    assert found["training memory"].startswith("LoRA 0.63 of full fine-tuning (1,000 MB against 1,600 MB; ratio: ")


def test_a_cpus_memory_is_called_that_of_the_process_and_a_missing_value_is_not_available(made, tmp_path):
    assert lines(made)["training memory"].endswith("; of the whole process on a CPU)")
    record(tmp_path, "lora", 2, task="rte", memory=None)
    reason = "1 of 12 runs have the memory of a process on a CPU only: lora RTE seed 2"
    assert lines(made)["training memory"] == f"n/a, because {reason}"


def test_times_of_two_devices_have_no_ratio_and_disturbed_runs_are_named(tmp_path):
    made = Made(tmp_path, disturbed={("lora", "rte", 2)})
    assert lines(made)["time per epoch"].endswith("; 1 of 12 runs were disturbed: lora RTE seed 2)")
    frame = pd.read_csv(made.costs[0])
    frame.loc[0, "device"] = "another CPU"
    frame.to_csv(made.costs[0], index=False)
    assert lines(made)["time per epoch"].startswith("n/a, because ")
    assert "measured on several devices" in lines(made)["time per epoch"]


def study(folder, **changes):
    return load_study(changed(results_dir=str(folder), tasks=["cola"], methods=["fft", "lora"], seeds=[1], **changes))


def test_a_study_without_references_or_with_missing_runs_ends_with_one_sentence(tmp_path):
    sentence = "LoRA and full fine-tuning cannot be compared"
    absent = format_summary(study(tmp_path, references={"adapter": "lora"}))
    assert absent == f"{sentence} here: no method of this study is references.full."
    assert format_summary(study(tmp_path)) == f"{sentence} yet: 2 of their 2 runs are missing."
    for method in ("fft", "lora"):
        run = Path(Layout(str(tmp_path)).run_record.format(method=method, task="cola", seed=1))
        run.parent.mkdir(parents=True)
        run.touch()
    assert format_summary(study(tmp_path)) == f"{sentence} yet: {tmp_path}/counts.json is missing; run the study again."
