"""A study as the results of PEFT's method_comparison: a folder for each task, a JSON file for each run.

PEFT's package has no writer for them. The names are those of its MetaMathQA benchmark; what a run did not measure is
null, and what that benchmark does not have is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from lora_core.evaluation.run_record import RunRecord
from lora_core.records import read_json, write_json
from lora_core.reporting.exports.runs import ExportedRun

BYTES_PER_MB = 1_000_000
ADAPTER_CONFIG = "adapter_config.json"
HYPERPARAMETERS = {  # ours by PEFT's names; the others keep their own
    "max_grad_norm": "grad_norm_clip",
    "gradient_checkpointing": "use_gc",
    "schedule": "lr_scheduler",
    "optimizer": "optimizer_type",
}


def write(runs: Sequence[ExportedRun], folder: Path) -> None:
    """Write the runs of each task."""
    for run in runs:
        record = run.record
        file = folder / record.task / f"{record.method}--{record.task}-seed{record.seed}.json"
        write_json(file, {"run_info": _run_info(run), "train_info": _train_info(run), "meta_info": _meta_info(record)})


def _run_info(run: ExportedRun) -> dict[str, object]:
    record = run.record
    prepared = record.preparation.seconds
    return {
        "created_at": record.provenance.started,
        "total_time": None if prepared is None else prepared + record.train_seconds + record.eval_seconds,
        "experiment_name": f"{record.method}/{record.task}-seed{record.seed}",
        "peft_branch": None,
        "peft_worktree_is_dirty": None,
        "train_config": {
            "model_id": record.base_model if record.base_model.count("/") <= 1 else record.model,
            "max_seq_length": record.data.max_length,
            "seed": record.seed,
            "precision": record.precision,
            # Whose scores "test ..." are. The labels of GLUE's test splits are not public.
            "test_split": "validation" if record.test is None else "test",
            **{HYPERPARAMETERS.get(name, name): value for name, value in record.hyperparameters.items()},
        },
        "peft_config": _peft_config(run),
        "error_msg": "",
    }


def _peft_config(run: ExportedRun) -> Mapping[str, Any] | None:
    """Return the adapter's own configuration, else the settings of the method; None for full fine-tuning."""
    if (saved := run.weights / ADAPTER_CONFIG).is_file():
        return read_json(saved)
    return None if run.record.kind == "full" else {"peft_type": run.record.kind.upper()} | dict(run.record.settings)


def _train_info(run: ExportedRun) -> dict[str, object]:
    record = run.record
    held = [value for row in run.epochs() if (value := _bytes(row["peak_reserved_mb"])) is not None]
    weights = list(run.weights.glob("*.safetensors"))
    return {
        "accelerator_memory_reserved_avg": round(float(np.mean(held))) if held else None,
        "accelerator_memory_max": _bytes(record.memory.peak_reserved_mb),
        "accelerator_memory_reserved_99th": round(float(np.percentile(held, 99))) if held else None,
        "train_time": record.train_seconds,
        "file_size": sum(file.stat().st_size for file in weights) if weights else None,
        "num_trainable_params": record.parameters.trained_with_head,
        "num_total_params": record.parameters.total,
        "status": "success",
        "metrics": _metrics(run),
    }


def _metrics(run: ExportedRun) -> list[dict[str, object]]:
    """Return a row for each epoch, and one with the scores of the saved weights at the end."""
    data, epochs = run.record.data, run.epochs()
    steps = accumulate(row["steps"] for row in epochs)
    rows = [
        {
            "step": step,
            **{f"valid {name}": row[name] for name in data.metrics},
            "train loss": row["train_loss"],
            "train samples": data.train.examples * row["epoch"],
            "train time": row["train_seconds"],
            "eval time": row["eval_seconds"],
            "tokens / sec": row["tokens_real"] / row["train_seconds"],
            "mem reserved avg": _bytes(row["peak_reserved_mb"]),
        }
        for step, row in zip(steps, epochs, strict=True)
    ]
    scores = epochs[-1] if run.record.test is None else run.record.test.last_metrics
    last = {
        **{name: rows[-1][name] for name in ("step", "train loss", "train samples")},
        **{f"test {name}": scores[name] for name in data.metrics},
        "train total tokens": sum(row["tokens_real"] for row in epochs),
        "forgetting": None,  # without the key, PEFT's reader takes 123 for it
    }
    return [*rows, last]


def _meta_info(record: RunRecord) -> dict[str, object]:
    place = record.provenance
    system, _, machine = place.system.partition(" ")
    packages = ("transformers", "peft", "datasets", "bitsandbytes", "torch")
    unknown = {"sha": None, "created_at": None}
    return {
        "model_info": unknown,
        "dataset_info": {record.task: unknown},
        "package_info": {f"{name}-version": place.packages.get(name) for name in packages},
        "system_info": {
            "system": system,
            "machine": machine,
            "accelerator": None if place.device == "cpu" else place.device_model,
        },
    }


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else round(megabytes * BYTES_PER_MB)
