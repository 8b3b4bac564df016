"""What is written to disk: records are read in the current format, and files are checked against their digests."""

from dataclasses import asdict

import pytest
from builders import ROOT, run_content, write_run
from pyarrow import csv

from lora_core.evaluation.collect_runs import collect_runs
from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.frames import PARTS
from lora_core.evaluation.latency_record import LatencyRecord
from lora_core.evaluation.run_record import RunRecord
from lora_core.records import (
    FORMAT,
    LATENCY_FORMAT,
    check_digests,
    read_json,
    read_latency_record,
    read_run_record,
    sha256,
    write_json,
)
from lora_core.sealed import seal

FORMAT_1 = ROOT / "tests" / "fixtures" / "run_format1.json"  # of a real run


def test_a_record_of_format_1_is_read_as_format_2():
    before, record = read_json(FORMAT_1), read_run_record(FORMAT_1)
    assert "format" not in before
    assert record["format"] == FORMAT == 2
    assert record["run"]["measure"] == {"meter": "nvml", "simulated": False, "sample_seconds": 0.5, "idle_seconds": 2.0}
    assert (before["run"]["batching"], record["run"]["batching"]) == ("bucketed", "length_grouped")
    assert record["measurement"]["energy"] == before["measurement"]["energy"] | {"simulated": False}
    for split in ("train", "validation"):
        guess = before["run"]["data"][split].pop("constant_guess")
        assert record["run"]["data"][split].pop("baseline_score") == guess
    moved = {"meter", "simulated", "sample_seconds", "idle_seconds", "batching"}
    assert {k: v for k, v in before["run"].items() if k not in moved} == {
        k: v for k, v in record["run"].items() if k not in {"measure", "batching"}
    }
    assert record["provenance"] == before["provenance"]
    assert record["files"] == before["files"]


def test_the_folder_of_a_user_is_named_as_such_in_a_record_of_format_1(tmp_path):
    content = read_json(FORMAT_1)
    content["run"]["data"]["data"] = {"source": "own"}
    write_json(tmp_path / "run.json", content)
    assert read_run_record(tmp_path / "run.json")["run"]["data"]["data"] == {"source": "user"}


def test_a_record_of_the_current_format_is_read_as_it_is(tmp_path):
    record = read_run_record(FORMAT_1)
    write_run(tmp_path / "run.json", record)
    assert read_run_record(tmp_path / "run.json") == record


def test_a_record_of_a_newer_format_is_refused(tmp_path):
    write_json(tmp_path / "run.json", {"format": FORMAT + 1})
    with pytest.raises(ValueError, match=r"has format 3, .* reads formats 1 to 2; update lora_core"):
        read_run_record(tmp_path / "run.json")


def test_timings_of_the_first_version_are_read_as_those_of_this_one(tmp_path):
    tokens, place = {"lora": {"longest": 512, "truncated": 0}}, read_json(FORMAT_1)["provenance"]
    proof = {"largest_logit": 18.5, "merged_minus_unmerged": 3.5e-05, "merged_minus_base": 19.0}
    first = {"merge": {"lora": proof}, "input_tokens": tokens, "provenance": place}
    write_json(tmp_path / "seed1.json", first)
    record = read_latency_record(tmp_path / "seed1.json")
    assert record["format"] == LATENCY_FORMAT == 2
    unknown = {"predictions": None, "changed_predictions": None, "scores": None}
    assert record["merge"] == {"lora": unknown | proof}
    assert (record["precision"], record["suspended_seconds"]) == ("fp32", 0.0)
    assert LatencyRecord.read(tmp_path / "seed1.json").merge["lora"].predictions is None
    # One that says more, and has a digest of what it says, but not yet its format.
    write_json(tmp_path / "seed1.json", seal(first | {"precision": "bf16", "suspended_seconds": 2.0}))
    assert LatencyRecord.read(tmp_path / "seed1.json").precision == "bf16"
    write_json(tmp_path / "seed1.json", read_json(tmp_path / "seed1.json") | {"precision": "fp32"})
    with pytest.raises(ValueError, match="was edited after it was written"):
        LatencyRecord.read(tmp_path / "seed1.json")


@pytest.mark.parametrize("version", [3, "2", None, [1]])
def test_timings_of_an_unknown_format_are_refused(tmp_path, version):
    write_json(tmp_path / "seed1.json", seal({"format": version, "merge": {}, "input_tokens": {}}))
    with pytest.raises(ValueError, match=r"seed1\.json has format .* reads formats 1 to 2; update lora_core"):
        LatencyRecord.read(tmp_path / "seed1.json")


def test_the_typed_view_has_what_the_record_has():
    record = RunRecord.read(FORMAT_1)
    content = read_json(FORMAT_1)
    assert (record.method, record.task, record.seed) == ("lora", "rte", 1)
    assert record.score.best == content["measurement"]["score"]["best"]
    assert record.data.validation.baseline_score == content["run"]["data"]["validation"]["constant_guess"]
    assert (record.energy.meter, record.energy.simulated) == ("nvml", False)
    assert record.energy.train_joules == content["measurement"]["energy"]["train_joules"]
    memory = content["measurement"]["memory"]
    assert record.memory.parts.sum_mb == sum(memory[part] for part in PARTS)
    assert record.memory.predicted.sum_mb == sum(memory["predicted"][part] for part in PARTS)
    assert record.memory.above_baseline(record.memory.mean_mb) == memory["mean_mb"] - memory["baseline_mb"]
    assert (record.kind, record.settings["rank"], record.start_from) == ("lora", 8, None)
    said_later = ("code", "code_files", "allocator", "precision", "cuda", "cudnn")  # by newer records only
    assert asdict(record.provenance) == dict.fromkeys(said_later) | content["provenance"]
    assert record.device == "NVIDIA H200"
    assert record.execution is None  # older records do not say it


def test_a_record_says_how_its_steps_were_executed():
    for execution in ("graphs", "eager"):
        assert RunRecord.from_json(run_content(measurement={"execution": execution})).execution == execution


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"format": FORMAT, "run": {}, "measurement": {}}, "field 'memory' is missing"),
        ({"format": FORMAT, "run": {}, "measurement": []}, "list indices must be"),
        ({"measurement": {}}, "field 'run' is missing"),  # of format 1
        (run_content(run={"data": None}), "'NoneType' object is not subscriptable"),
        ([], "not a JSON object"),
    ],
)
def test_a_damaged_record_is_named_in_one_sentence(content, problem, tmp_path):
    write_run(tmp_path / "run.json", content)
    with pytest.raises(ValueError, match=rf"run\.json is damaged \({problem}.*\); delete it and run again$"):
        RunRecord.read(tmp_path / "run.json")


@pytest.mark.parametrize("read", [read_counts, LatencyRecord.read])
def test_damaged_counts_and_records_of_timed_passes_are_named_too(read, tmp_path):
    for content in ({}, {"methods": [], "input_tokens": []}, {"methods": {"m": {}}, "input_tokens": {"m": {}}}):
        write_json(tmp_path / "any.json", content)
        with pytest.raises(ValueError, match=r"any\.json is damaged \(.*\); delete it and run again$"):
            read(tmp_path / "any.json")


def test_digests_are_those_of_the_files_that_are_passed(tmp_path):
    file, record_path = tmp_path / "anything.csv", tmp_path / "folder" / "run.json"
    file.write_text("a,b\n")
    record = {"files": {"history.csv": sha256(file)}}
    check_digests(record, record_path, {"history.csv": file, "not listed": tmp_path / "none"})
    file.write_text("a,c\n")
    with pytest.raises(ValueError, match=r"anything\.csv is damaged .*delete the folder .*folder and run again"):
        check_digests(record, record_path, {"history.csv": file})
    with pytest.raises(ValueError, match=r"nothing\.csv is missing"):
        check_digests(record, record_path, {"history.csv": tmp_path / "nothing.csv"})


def test_all_figures_of_a_run_are_collected_from_either_format(tmp_path):
    write_run(tmp_path / "run.json", read_run_record(FORMAT_1))
    collect_runs([FORMAT_1], tmp_path / "old.csv")
    collect_runs([tmp_path / "run.json"], tmp_path / "new.csv")
    text = (tmp_path / "old.csv").read_text()
    assert text == (tmp_path / "new.csv").read_text()
    best = read_json(FORMAT_1)["measurement"]["score"]["best"]
    assert f"lora,rte,1,score.best,{best},," in text
    assert "lora,rte,1,energy.simulated,,False," in text


def test_every_program_reads_the_values_of_all_runs_as_numbers(tmp_path):
    collect_runs([FORMAT_1], tmp_path / "runs.csv")
    options = csv.ConvertOptions(strings_can_be_null=True)
    table = csv.read_csv(tmp_path / "runs.csv", convert_options=options)
    assert str(table.schema.field("value").type) == "double"
    rows = {row["quantity"]: row for row in table.to_pylist()}
    measurement = read_json(FORMAT_1)["measurement"]
    assert rows["score.best"]["value"] == measurement["score"]["best"]
    assert (rows["score.metric"]["value"], rows["score.metric"]["text"]) == (None, measurement["score"]["metric"])
    both = [row for row in rows.values() if row["value"] is not None and row["text"] is not None]
    assert both == []
