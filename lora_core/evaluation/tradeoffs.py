"""The score of each method on each task, and what it costs: means over seeds."""

from collections.abc import Sequence

import pandas as pd

from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.frames import LatencyRun, per_device
from lora_core.evaluation.latency_summary import summarize

KEYS = ["method", "task", "seed"]
# The costs, and how axes call them.
COSTS = {
    "parameters": "trained parameters",
    "accounted_mb": "training memory (tensors), MB",
    "train_seconds": "training time, s",
    "train_energy_kilojoules": "training energy, kJ",
    "latency_seconds": "time of a pass, s",
}


def tradeoffs(evidence: Evidence) -> pd.DataFrame:
    """Return a row per method and task: `score` in percent, the COSTS, and whether a run was `disturbed`.

    A cost is not a number unless every run has it. `name` is the method's label, with the device if there are several.
    Latency is that of the merged model where there is one.
    """
    costs, counts = evidence.costs, evidence.counts.methods
    frame = evidence.scores.merge(evidence.memory[[*KEYS, "accounted_mb"]], on=KEYS).merge(
        costs[[*KEYS, "device", "disturbed", "train_seconds", "train_energy_joules"]], on=KEYS
    )
    joules = frame["train_energy_joules"].astype(float)
    frame["train_energy_kilojoules"] = float("nan") if evidence.simulated else joules / 1e3
    trained = {method: float(count.trainable) for method, count in counts.items()}
    frame["parameters"] = frame["method"].map(trained)
    frame["name"] = per_device(frame.assign(method=frame["method"].map(evidence.label)))["method"]
    groups = frame.groupby(["method", "name", "task"], sort=False)
    columns = ["best", "parameters", "accounted_mb", "train_seconds", "train_energy_kilojoules"]
    rows = groups[columns].agg(_mean_of_all)
    rows = rows.assign(disturbed=groups["disturbed"].any()).reset_index().rename(columns={"best": "score"})
    seconds = _latency(evidence.latency)
    keys = zip(rows["method"], rows["task"], strict=True)
    latency = [seconds.get(key, float("nan")) for key in keys]
    return rows.assign(score=100 * rows["score"], latency_seconds=latency)


def _mean_of_all(values: pd.Series) -> float:
    return float(values.astype(float).mean(skipna=False))


def _latency(runs: Sequence[LatencyRun]) -> dict[tuple[str, str], float]:
    """The median seconds of a pass by method and task, of the first timed seed."""
    seconds: dict[tuple[str, str], float] = {}
    for run in runs:
        timings = {(t.method, t.variant): t.p50_seconds for t in summarize(run.rows, "pass", 0.0, None)}
        for variant in ("merged", "plain", "unmerged"):
            for (method, timed), value in timings.items():
                if timed == variant:
                    seconds.setdefault((method, run.task), value)
    return seconds
