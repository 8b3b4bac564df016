"""A finished run with what it predicted on the validation split, and on the test split if its task has one."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lora_core.evaluation.recorded_scores import Score
from lora_core.evaluation.run_checks import check_scores, check_test
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import PREDICTIONS


@dataclass(frozen=True)
class RunPredictions:
    """A finished run with its predictions: logits (epochs, examples, outputs), labels (examples,).

    `test_logits` (2, examples, outputs) are those of the chosen and of the last epoch on the test split, `test_labels`
    its labels; None for a task without one.
    """

    record: RunRecord
    logits: np.ndarray
    labels: np.ndarray
    test_logits: np.ndarray | None = None
    test_labels: np.ndarray | None = None

    def on_test(self) -> "RunPredictions | None":
        """Return the run as if its test split were the validation split, of two epochs: the chosen one and the last."""
        record, test, card = self.record, self.record.test, self.record.data.test
        if test is None or card is None or self.test_logits is None or self.test_labels is None:
            return None
        score = Score(test.metric, test.chosen, 1, test.last, test.examples)
        data = replace(record.data, validation=card, overlap=None)
        return RunPredictions(replace(record, score=score, data=data), self.test_logits, self.test_labels)

    @property
    def best_logits(self) -> np.ndarray:
        """Logits (examples, outputs) of the epoch with the best score."""
        return self.logits[self.record.score.best_epoch - 1]

    @property
    def overlaps(self) -> np.ndarray | None:
        """Which examples share a text with a training example: (examples,); None if this was not counted."""
        overlap = self.record.data.overlap
        return None if overlap is None else overlap.shares_text(len(self.labels))


def read_predictions(record_path: Path, predictions: Path) -> RunPredictions:
    """Read a run's record and predictions.

    Raise ValueError if one of them is damaged, or if the predictions give other scores than the record says.
    """
    from safetensors.numpy import load_file

    record = RunRecord.read(record_path, {PREDICTIONS: predictions})
    arrays = load_file(predictions)
    test = arrays.get("test_logits"), arrays.get("test_labels")
    check_scores(record, record_path, arrays["logits"], arrays["labels"])
    check_test(record, record_path, *test)
    return RunPredictions(record, arrays["logits"], arrays["labels"], *test)
