"""The test split decides nothing: it is predicted at the epoch that validation chooses, and at the last."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from builders import FULL, LORA, interrupted_before_epoch, run_inputs, run_outputs, spec, trained
from safetensors.numpy import load_file

from lora_core.data import batches
from lora_core.data.metrics import METRICS
from lora_core.evaluation.run_record import RunRecord
from lora_core.methods import registry
from lora_core.models import model as models
from lora_core.records import read_json, write_json
from lora_core.sealed import SEAL, seal
from lora_core.training.checkpoint import CheckpointSettings
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.loop import TrainingLoop
from lora_core.training.run import train
from lora_core.training.steps import predict_logits

EPOCHS = {"hyperparameters": {"epochs": 4, "learning_rate": 3e-2}}


@pytest.fixture
def every_epoch(monkeypatch, own_data):
    """The logits on the test split after each epoch, computed here, and the scores on the validation split."""
    logits, plain = [], TrainingLoop._run_epoch

    def run_epoch(loop, epoch):
        plain(loop, epoch)
        examples = batches.load(own_data / "test.safetensors")
        logits.append(predict_logits(loop.model, DeviceExamples(examples, loop.model), "fp32", 16))

    monkeypatch.setattr(TrainingLoop, "_run_epoch", run_epoch)
    return logits


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_predictions_are_those_of_the_epoch_that_validation_chose_and_of_the_last(
    settings, every_epoch, bert, own_data, tmp_path
):
    run = trained(settings, bert, own_data, tmp_path / "run", task="own", **EPOCHS)
    stored, record = load_file(run / "predictions.safetensors"), read_json(run / "run.json")
    labels = batches.load(own_data / "test.safetensors").labels
    chosen = record["measurement"]["score"]["best_epoch"]
    assert chosen < 4, "the last epoch is not the best one here, so the two differ"
    assert np.array_equal(stored["test_logits"], np.stack([every_epoch[chosen - 1], every_epoch[-1]]))
    assert np.array_equal(stored["test_labels"], labels)
    test = record["measurement"]["test"]
    assert test["chosen_epoch"] == chosen
    for name, epoch in (("chosen", every_epoch[chosen - 1]), ("last", every_epoch[-1])):
        scores = {metric: METRICS[metric].function(labels, epoch) for metric in ("accuracy", "matthews")}
        assert test[f"{name}_metrics"] == scores
        assert test[name] == scores["accuracy"]


def test_the_last_predictions_are_those_of_the_saved_weights(own_run, own_data, bert):
    record = RunRecord.read(own_run / "run.json")
    settings = registry.settings_from_params(record.settings)
    model = registry.load(models.load(bert, ["no", "yes"]), settings, own_run / "weights")
    examples = batches.load(own_data / "test.safetensors")
    computed = predict_logits(model, DeviceExamples(examples, model), "fp32", 16)
    np.testing.assert_allclose(computed, load_file(own_run / "predictions.safetensors")["test_logits"][1], atol=1e-6)
    assert record.test.examples == 30


def test_a_test_split_changes_nothing_else(own_run, own_data, bert, tmp_path):
    """The same run without one has the same weights and predictions, and no word about a test."""
    data = tmp_path / "data"
    shutil.copytree(own_data, data)
    card = read_json(data / "card.json")
    for name in ("test", "test_overlap"):
        del card[name]
    del card["files"]["test.safetensors"]
    write_json(data / "card.json", seal({name: value for name, value in card.items() if name != SEAL}))
    (data / "test.safetensors").unlink()
    run = trained(LORA, bert, data, tmp_path / "run", task="own")
    one, two = (load_file(folder / "predictions.safetensors") for folder in (own_run, run))
    assert two.keys() == {"logits", "labels", "step_losses"}
    assert all(np.array_equal(one[name], two[name]) for name in two)
    weights = "weights/adapter_model.safetensors"
    assert (run / weights).read_bytes() == (own_run / weights).read_bytes()
    record = read_json(run / "run.json")
    assert "test" not in record["measurement"]
    assert not [name for name in record["measurement"]["input_tokens"] if "test" in name]


def test_a_card_with_a_test_split_needs_its_file(own_data, bert, tmp_path):
    inputs = replace(run_inputs(bert, own_data), test_data=None)
    with pytest.raises(ValueError, match=r"card\.json is of other splits than this run has"):
        train(spec(LORA, task="own"), inputs, run_outputs(tmp_path / "run"))


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("stopped", [2, 4, "outputs"])
def test_a_run_that_was_interrupted_ends_with_the_same_predictions(stopped, bert, own_data, tmp_path, monkeypatch):
    """Before an epoch, or after the last one, when only the files are missing."""
    undisturbed = trained(LORA, bert, own_data, tmp_path / "one", task="own", **EPOCHS)
    checkpoints = CheckpointSettings(tmp_path / "checkpoints", 0, "code")

    def part():
        train(spec(LORA, base_model=bert.name, task="own", **EPOCHS), run_inputs(bert, own_data),
              run_outputs(tmp_path / "two"), checkpoints=checkpoints)  # fmt: skip

    if stopped == "outputs":
        with monkeypatch.context() as patch:
            patch.setattr("lora_core.training.run.write_weights", interrupt)
            with pytest.raises(KeyboardInterrupt):
                part()
    else:
        with interrupted_before_epoch(stopped):
            part()
    assert not (tmp_path / "two" / "run.json").exists()
    part()
    one, two = (folder / "predictions.safetensors" for folder in (undisturbed, tmp_path / "two"))
    assert one.read_bytes() == two.read_bytes()
    tests = [read_json(tmp_path / name / "run.json")["measurement"]["test"] for name in ("one", "two")]
    assert tests[0] == tests[1]


def test_the_time_on_the_test_split_is_in_no_window(own_run):
    """Windows of training and of validation are one per epoch, and there is no other phase."""
    rows = (own_run / "power.csv").read_text().splitlines()[1:]
    assert {row.split(",")[2] for row in rows} == {"idle", "preparation", "train", "eval"}
