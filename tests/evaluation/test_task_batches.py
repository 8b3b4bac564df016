"""The mean batch of a task is that of the batches that training forms."""

import numpy as np
import pytest
from builders import FULL, spec

from lora_core.data.batches import Examples
from lora_core.evaluation.regime_record import Size
from lora_core.evaluation.task_batches import task_batches
from lora_core.models.model import max_input_length
from lora_core.training import device_batches
from lora_core.training.run import build_model


def built(bert):
    return build_model(spec(FULL), bert, ["0", "1"], np.zeros(1, np.int64))


@pytest.fixture
def mean_batch(bert):
    """The mean batch of examples of these lengths, and the steps of an epoch."""

    def of(lengths, equal_length=False, **changes):
        model = built(bert)
        model.config.equal_length_batches = equal_length
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        examples = Examples(np.zeros(sum(lengths), np.int32), None, offsets, np.zeros(len(lengths), np.int64))
        batches = task_batches("cola", {"fft": (spec(FULL, **changes), model)}, examples)
        return batches.sizes["fft"], batches.steps["fft"]

    return of


@pytest.mark.parametrize(("multiple", "tokens"), [(1, 6), (8, 16)])  # (3 + 9) / 2, and (8 + 16) / 2 rounded up
def test_tokens_are_the_mean_of_padded_lengths_as_the_device_pads_them(mean_batch, monkeypatch, multiple, tokens):
    monkeypatch.setitem(device_batches.MULTIPLE, "cpu", multiple)
    assert mean_batch([3, 3, 9, 9], hyperparameters={"batch_size": 2}) == (Size(2, tokens, 2, "cola"), 2)


def test_a_model_that_needs_equal_lengths_has_the_batches_that_training_gives_it(mean_batch, monkeypatch):
    """Three lengths make three batches, of two rows in the mean, and nothing is padded, also on a GPU."""
    monkeypatch.setitem(device_batches.MULTIPLE, "cpu", 8)
    lengths = [5, 5, 5, 6, 7, 7]
    assert mean_batch(lengths, True, hyperparameters={"batch_size": 6}) == (Size(2, 6, 2, "cola"), 3)
    assert mean_batch(lengths, False, hyperparameters={"batch_size": 6}) == (Size(6, 8, 6, "cola"), 1)


def test_a_step_has_the_rows_of_a_batch_and_its_micro_batches(mean_batch):
    """On a CPU each micro-batch is as long as its own longest: two of 10 and two of 20 tokens."""
    size, steps = mean_batch([10, 20] * 8, batching="random", hyperparameters={"batch_size": 16, "micro_batch_size": 4})
    assert (size, steps) == (Size(16, 15, 4, "cola"), 1)


def test_inputs_are_as_long_as_the_model_takes_them(mean_batch, bert):
    longest = max_input_length(built(bert))
    assert mean_batch([longest + 100] * 4, hyperparameters={"batch_size": 2}) == (Size(2, longest, 2, "cola"), 2)
