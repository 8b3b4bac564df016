"""The records of the first version, which have no `format`, converted to the current format."""

from typing import Any

_METER_SETTINGS = ("meter", "simulated", "sample_seconds", "idle_seconds")  # what format 1 had flat in `run`
_PROOF_OF_PREDICTIONS = ("predictions", "changed_predictions", "scores")


def from_format_1(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of format 1 as the current format has it, without `format`.

    Its meter settings are flat in `run`, its energy lacks `simulated`, and what its data card says is named otherwise.
    """
    run, measurement = dict(record["run"]), dict(record["measurement"])
    settings = {name: run.pop(name) for name in _METER_SETTINGS if name in run}
    if run.get("batching") == "bucketed":
        run["batching"] = "length_grouped"
    if "data" in run:
        run["data"] = _from_card_of_format_1(run["data"])
    if "energy" in measurement:
        measurement["energy"] = measurement["energy"] | {"simulated": settings.get("simulated", False)}
    converted = {"run": run | {"measure": settings}, "measurement": measurement}
    return converted | {name: value for name, value in record.items() if name not in converted}


def latency_from_format_1(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record about timed passes of format 1 as the current format has it, without `format`.

    All passes were in float32. Whether the process was suspended was not noticed, and predictions were not compared.
    """
    absent = dict.fromkeys(_PROOF_OF_PREDICTIONS)
    merge = {method: absent | proof for method, proof in record.get("merge", {}).items()}
    return {"precision": "fp32", "suspended_seconds": 0.0} | record | {"merge": merge}


def _from_card_of_format_1(card: dict[str, Any]) -> dict[str, Any]:
    splits = {name: dict(card[name]) for name in ("train", "validation") if name in card}
    for split in splits.values():
        split["baseline_score"] = split.pop("constant_guess")
    source = {"source": "user"} if card["data"]["source"] == "own" else {}
    return card | splits | {"data": card["data"] | source}
