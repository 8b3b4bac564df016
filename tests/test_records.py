"""What is written to disk: records are read in the current format, and files are checked against their digests."""

import pytest
from builders import ROOT

from lora_core.evaluation.collect_runs import collect_runs
from lora_core.evaluation.run_record import RunRecord
from lora_core.records import FORMAT, check_digests, read_json, read_run_record, sha256, write_json

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
    write_json(tmp_path / "run.json", record)
    assert read_run_record(tmp_path / "run.json") == record


def test_a_record_of_a_newer_format_is_refused(tmp_path):
    write_json(tmp_path / "run.json", {"format": FORMAT + 1})
    with pytest.raises(ValueError, match=r"has format 3, .* reads formats 1 to 2; update lora_core"):
        read_run_record(tmp_path / "run.json")


def test_the_typed_view_has_what_the_record_has():
    record = RunRecord.read(FORMAT_1, {})
    content = read_json(FORMAT_1)
    assert (record.method, record.task, record.seed) == ("lora", "rte", 1)
    assert record.best_score == content["measurement"]["score"]["best"]
    assert record.baseline_score == content["run"]["data"]["validation"]["constant_guess"]
    assert record.energy.meter == "nvml"
    assert record.energy.simulated is False
    assert record.device == "NVIDIA H200"


def test_a_record_without_a_field_is_named(tmp_path):
    write_json(tmp_path / "run.json", {"format": FORMAT, "run": {}, "measurement": {}})
    with pytest.raises(ValueError, match=r"run\.json is damaged \(field 'score' is missing\)"):
        RunRecord.read(tmp_path / "run.json", {})


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
    write_json(tmp_path / "run.json", read_run_record(FORMAT_1))
    collect_runs([FORMAT_1], tmp_path / "old.csv")
    collect_runs([tmp_path / "run.json"], tmp_path / "new.csv")
    text = (tmp_path / "old.csv").read_text()
    assert text == (tmp_path / "new.csv").read_text()
    best = read_json(FORMAT_1)["measurement"]["score"]["best"]
    assert f"lora,rte,1,score.best,{best}\n" in text
    assert "lora,rte,1,energy.simulated,False\n" in text
