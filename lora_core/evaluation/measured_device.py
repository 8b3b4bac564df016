"""What regimes.json says of a device: the constants that predict a step, and how right the predictions were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lora_core.evaluation.regime_record import mean_seconds, total_seconds
from lora_core.evaluation.step_model import LaunchCosts
from lora_core.measuring.device_constants import DeviceConstants
from lora_core.provenance import ABSENT, Provenance
from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.typed_records import fill, name_damaged_file


@dataclass(frozen=True)
class MeasuredDevice:
    """A device as it trains a model.

    Attributes:
        model: The base model whose steps were measured, as records of runs name it; empty in older records.
        device_model: The device's name.
        precision: Of matrix products, as in `train.precision`.
        threads: Of the CPU.
        started: When it was measured, in UTC.
        constants: Measured between the steps.
        launches: In the execution that runs have, if steps could be measured in it.
        slowness: What measured steps took relative to their prediction; the median, 1 if none was measured.
        watts: The mean power during steps, the median over their sizes; None without a meter of energy.
    """

    model: str
    device_model: str
    precision: str | None
    threads: int
    started: str
    constants: DeviceConstants
    launches: LaunchCosts
    slowness: float
    watts: float | None


def read_measured_device(file: Path) -> MeasuredDevice | None:
    """Read regimes.json; None for an older record, whose constants are those of another count of operations.

    Raise ValueError that names the file if it is damaged.
    """
    with name_damaged_file(file):
        content = unseal(read_json(file), file)
        rows = [row for row in content["rows"] if row["rounds"]]
        known = dict.fromkeys(row["execution"] for row in rows)
        execution = content["execution"] if content["execution"] in known else "eager"
        rows = [row for row in rows if row["execution"] == execution]
        where = fill(Provenance, ABSENT | content["provenance"])
        constants = content["constants"]
        if "squares_per_second" not in constants:
            return None
        return MeasuredDevice(
            content.get("model", ""), where.device_model, where.precision, where.threads,
            where.started,
            fill(DeviceConstants, constants), fill(LaunchCosts, constants["launches"][execution]),
            _slowness(rows), _watts(rows),
        )  # fmt: skip


def _slowness(rows: Sequence[Mapping[str, Any]]) -> float:
    ratios = [mean_seconds(row) / total_seconds(row["predicted"]) for row in rows if row["predicted"]]
    return median(ratios) if ratios else 1.0


def _watts(rows: Sequence[Mapping[str, Any]]) -> float | None:
    watts = [row["joules"] / mean_seconds(row) for row in rows if row["joules"] is not None]
    return median(watts) if watts else None
