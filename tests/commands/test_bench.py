"""The benchmarks run, each at its smallest size; what they measure there means nothing."""

import json
import os
import subprocess
import sys

import pytest
from builders import ROOT

from bench.__main__ import BENCHMARKS, read_results
from bench.paired import Goal, Row, interleaved, ratio, table


@pytest.mark.slow
def test_every_benchmark_runs_at_its_smallest_size(tmp_path):
    command = [sys.executable, "-m", "bench", "--quick", "--threads", "1", "--out", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    record = json.loads((tmp_path / "bench.json").read_text())
    assert list(record["benchmarks"]) == list(BENCHMARKS)
    assert all(part["quick"] and part["data"] == "mini-GLUE" for part in record["benchmarks"].values())
    rows = [row for part in record["benchmarks"].values() for row in part["rows"]]
    unmeasured = [row["what"] for row in rows if row["value"] is None]
    assert unmeasured == ["score of optimized training"]
    assert result.stdout == (tmp_path / "bench.md").read_text()


def test_the_gpu_benchmark_runs_on_a_cpu_and_says_what_it_skips(tmp_path):
    command = [sys.executable, "-m", "bench.gpu"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    smoke = subprocess.run(
        [*command, "--smoke", "--out", tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert smoke == (tmp_path / "gpu.md").read_text()
    assert record["smoke"]
    assert [case["loop"] for case in record["cases"]] == ["graphs", "trainer"]
    for case in record["cases"]:
        assert case["epoch_seconds"] > 0
        assert case["share_of_peak"] > 0
        assert case["used_mb"] is None
    assert record["cases"][0]["execution"] == "eager"
    reason = "ValueError: compiling takes too long for a smoke run"
    assert record["skipped"] == {"rte lora fp32 compiled trainer": reason}
    assert record["handover"]["between_seconds"] > 0
    assert {check["details"].partition(";")[0] for check in record["checks"]} == {
        "needs a GPU", "takes too long for a smoke run",
    }  # fmt: skip
    skipped = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert skipped.returncode == 1
    assert skipped.stderr.startswith("skipped: there is no CUDA device here")


def test_the_table_has_the_header_of_the_page_on_speed():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert f"\n{table([])}| " in page


def test_rounds_interleave_and_a_variant_may_measure_its_own_time():
    calls = []
    variants = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b") or 2.0}
    seconds = interleaved(variants, rounds=8, warm_up=1)
    rounds = ["".join(calls[i : i + 2]) for i in range(0, 18, 2)]
    assert set(rounds) == {"ab", "ba"}
    assert seconds["b"] == [2.0] * 8
    assert len(seconds["a"]) == 8


@pytest.mark.parametrize(
    ("goal", "result"),
    [
        (Goal("<=", 2.0), "met"),
        (Goal("<=", 1.9), "missed"),
        (Goal(">=", 2.1), "missed"),
        (Goal("+-", 0.5), "missed"),
        (None, ""),
    ],
)
def test_a_ratio_is_judged_by_its_goal(goal, result):
    row = ratio("this", "that", [2.0, 4.0, 8.0], [1.0, 2.0, 4.0], goal)
    assert (row.value, row.low, row.high) == pytest.approx((2.0, 2.0, 2.0))
    assert row.result == result


def test_milliseconds_have_no_exponent():
    assert ratio("this", "that", [1.6, 1.6, 1.61], [0.1, 0.1, 0.1]).details == "1600 / 100 ms"


def test_a_row_without_a_measurement_shows_no_number():
    row = Row("this", "that", None, Goal(">=", 1.0), details="no GPU")
    assert row.result == "n/a"
    assert "| this | that | n/a | ≥ 1 | n/a | no GPU |" in table([row])


def test_results_of_another_version_are_not_mixed_with_new_ones(tmp_path):
    file = tmp_path / "bench.json"
    assert read_results(file) == {}
    file.write_text('{"benchmarks": {"padding": {"rows": [{"what": "x", "against": "y"}]}}}')
    with pytest.raises(SystemExit, match="written by another version"):
        read_results(file)
