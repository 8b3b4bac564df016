"""The predictions on a task's test split: of the epoch that validation chooses, and of the last one."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from lora_core.data.batches import Examples
from lora_core.data.metrics import METRICS
from lora_core.records import HistoryRow
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.spec import RunSpec
from lora_core.training.steps import predict_logits


class PredictedTest:
    """Predicts a test split while a run trains.

    Which epoch is chosen is known at the end, and its weights are gone by then. So every epoch that is the best so far
    is predicted, and what the one before it predicted is dropped unread: no score of the test split is computed before
    training has ended.
    """

    def __init__(self, spec: RunSpec, examples: Examples, model: nn.Module) -> None:
        self.labels = examples.labels
        self._spec = spec
        self._split = DeviceExamples(examples, model)
        self._logits: dict[str, np.ndarray] = {}  # (examples, outputs) of the epochs "chosen" and "last"

    def after_epoch(self, model: nn.Module, history: Sequence[HistoryRow]) -> None:
        """Predict if the epoch that has just ended is the best so far or the last."""
        spec, epoch = self._spec, history[-1].epoch
        kinds = {"chosen": chosen_epoch(history), "last": spec.hyperparameters.epochs}
        if epoch in kinds.values():
            logits = predict_logits(model, self._split, spec.precision, spec.evaluation_batch_size)
            self._logits |= {kind: logits for kind, predicted in kinds.items() if predicted == epoch}

    def logits(self) -> np.ndarray:
        """Return the logits (2, examples, outputs) of the chosen epoch and of the last."""
        return np.stack([self._logits["chosen"], self._logits["last"]])

    def describe(self, metrics: Sequence[str], history: Sequence[HistoryRow]) -> dict[str, object]:
        """Return what run.json says of the test split; the first metric is the score."""
        chosen, last = (
            {name: METRICS[name].function(self.labels, logits) for name in metrics} for logits in self.logits()
        )
        return {
            "metric": metrics[0],
            "chosen": chosen[metrics[0]],
            "chosen_epoch": chosen_epoch(history),
            "last": last[metrics[0]],
            "chosen_metrics": chosen,
            "last_metrics": last,
            "examples": len(self.labels),
        }

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint keeps."""
        return {f"test.{kind}": torch.from_numpy(logits) for kind, logits in self._logits.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue from what `state` returned."""
        self._logits = {
            kind: tensors[f"test.{kind}"].numpy() for kind in ("chosen", "last") if f"test.{kind}" in tensors
        }


def chosen_epoch(history: Sequence[HistoryRow]) -> int:
    """Return the epoch with the best score on the validation split, the first of several."""
    return max(history, key=lambda row: row.score).epoch
