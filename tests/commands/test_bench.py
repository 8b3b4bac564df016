"""The benchmarks run, each at its smallest size; what they measure there means nothing."""

import json
import os
import subprocess
import sys

import pytest
from builders import ROOT

from bench.__main__ import BENCHMARKS
from bench.paired import Row, interleaved, ratio, table


def test_every_benchmark_runs_at_its_smallest_size(tmp_path):
    words = [sys.executable, "-m", "bench", "--quick", "--threads", "1", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "bench.json").read_text())
    assert list(record["benchmarks"]) == list(BENCHMARKS)
    assert all(part["quick"] and part["data"] == "mini-GLUE" for part in record["benchmarks"].values())
    rows = [row for part in record["benchmarks"].values() for row in part["rows"]]
    unmeasured = [row["what"] for row in rows if row["value"] is None]
    assert unmeasured == ["score of quick training"]
    assert done.stdout == (tmp_path / "bench.md").read_text()


def test_the_gpu_benchmark_runs_on_a_cpu_and_says_what_it_skips():
    words = [sys.executable, "-m", "bench.gpu"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    smoke = subprocess.run(
        [*words, "--smoke"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    record = json.loads(smoke[smoke.index("{\n") :])
    assert record["fused_gradient_error"] < 1e-5
    assert record["lora_peak_mb"] is None
    skipped = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert skipped.returncode == 1
    assert "skipped: torch sees no CUDA device" in skipped.stderr


def test_rounds_interleave_and_a_way_may_time_itself():
    calls = []
    ways = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b") or 2.0}
    seconds = interleaved(ways, rounds=8, warm_up=1)
    rounds = ["".join(calls[i : i + 2]) for i in range(0, 18, 2)]
    assert set(rounds) == {"ab", "ba"}
    assert seconds["b"] == [2.0] * 8
    assert len(seconds["a"]) == 8


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [(("<=", 2.0), "met"), (("<=", 1.9), "missed"), ((">=", 2.1), "missed"), (("+-", 0.5), "missed"), (None, "")],
)
def test_a_ratio_is_judged_by_its_goal(goal, verdict):
    row = ratio("this", "that", [2.0, 4.0, 8.0], [1.0, 2.0, 4.0], goal)
    assert (row.value, row.low, row.high) == pytest.approx((2.0, 2.0, 2.0))
    assert row.verdict == verdict


def test_what_was_not_measured_is_not_a_number():
    row = Row("this", "that", None, (">=", 1.0), note="no GPU")
    assert row.verdict == "n/a"
    assert "| this | that | n/a | ≥ 1 | n/a | no GPU |" in table([row])
