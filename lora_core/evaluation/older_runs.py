"""Runs whose records have no seal, as those of the first version: what shows them compares them with their files."""

from __future__ import annotations

from pathlib import Path

from lora_core.evaluation.run_history import read_history
from lora_core.evaluation.run_predictions import read_predictions
from lora_core.layout import HISTORY, POWER, PREDICTIONS
from lora_core.records import read_json
from lora_core.sealed import SEAL


def check_older_run(record_path: Path) -> None:
    """Compare a record without a seal with those of the run's files that are still next to it.

    A record with a seal is not compared. Raise ValueError that names the record and the first figure that is another.
    """
    if SEAL in read_json(record_path):
        return
    history, power, predictions = (record_path.with_name(name) for name in (HISTORY, POWER, PREDICTIONS))
    if history.exists() and power.exists():
        read_history(record_path, history, power)
    if predictions.exists():
        read_predictions(record_path, predictions)
