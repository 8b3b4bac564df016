"""A study for TensorBoard: a folder of events for each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_core.reporting.exports.runs import ExportedRun


def write(runs: Sequence[ExportedRun], folder: Path) -> None:
    """Write the series, and the hyperparameters with the results of the whole run, of each run."""
    from torch.utils.tensorboard import SummaryWriter

    for run in runs:
        with SummaryWriter(str(folder / run.name)) as writer:
            # In the folder of the run itself: by default it would be a second run, named after the time.
            writer.add_hparams(run.parameters, run.results, run_name=".")
            for point in run.points():
                writer.add_scalar(point.name, point.value, point.step, walltime=point.time.timestamp())
