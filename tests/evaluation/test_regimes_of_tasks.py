"""Steps of tasks are measured as runs train them: their own hyperparameters, micro-batches and padding."""

import pytest
import torch
from builders import FULL, LORA, spec

from lora_core.evaluation import regimes, step_timing
from lora_core.evaluation.references import References
from lora_core.evaluation.regime_record import read_regimes
from lora_core.records import read_json
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings
from lora_core.training import device_batches
from lora_core.training.run import build_model
from lora_core.training.steps import forward

REFERENCES = References(full="full", adapter="lora")
HYPERPARAMETERS = {"cola": {"micro_batch_size": 2}, "rte": {"optimizer": "sgd", "gradient_checkpointing": True}}


def specs():
    """Runs of two tasks that are trained differently, by method and task."""
    return {
        settings["kind"]: {task: spec(settings, task=task, hyperparameters=of) for task, of in HYPERPARAMETERS.items()}
        for settings in (FULL, LORA)
    }


@pytest.fixture(scope="module")
def measured(bert, cola, tmp_path_factory):
    """regimes.json of two tasks, padded as on a GPU; the steps that were timed, and the sizes that were counted."""
    file, timed, counted = tmp_path_factory.mktemp("two") / "regimes.json", [], []

    class Recorded(step_timing.ReadyStep):
        def __init__(self, spec, model, batch, execution):
            super().__init__(spec, model, batch, execution)
            timed.append((spec, model.is_activation_checkpointing, self._batch))

    def count(model, batch, micro, *args, original=regimes.count_divided_step):
        counted.append((*batch, micro))
        return original(model, batch, micro, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(device_batches.MULTIPLE, "cpu", 8)
        patch.setattr(regimes, "GRID", ((4, 12),))
        patch.setattr(regimes, "ReadyStep", Recorded)
        patch.setattr(regimes, "count_divided_step", count)
        plan, data = regimes.RegimesPlan(specs(), seconds=300, threads=1), cola / "train.safetensors"
        regimes.measure_regimes(bert, None, dict.fromkeys(HYPERPARAMETERS, data), plan, file)
    return file, timed, counted


def test_a_step_is_timed_at_the_size_that_it_is_named_and_predicted_at(measured):
    """With lengths rounded up to multiples of 8, as on a GPU."""
    file, timed, counted = measured
    rows = read_json(file)["rows"]
    assert [batch.shape for _, _, batch in timed] == [(row["rows"], row["tokens"]) for row in rows]
    assert counted == [(row["rows"], row["tokens"], row["rows_at_once"]) for row in rows]
    assert {row["tokens"] % 8 for row in rows} == {0}
    assert rows[-1]["tokens"] == 16  # 12 on the grid


def test_each_task_is_timed_as_it_is_trained(measured):
    """The grid is trained as the first task, but without its micro-batches."""
    _, timed, _ = measured
    cola, rte, grid = timed[::2]
    assert [spec.hyperparameters.optimizer for spec, _, _ in (cola, rte, grid)] == ["adamw", "sgd", "adamw"]
    assert [has_checkpointing for _, has_checkpointing, _ in (cola, rte, grid)] == [False, True, False]
    assert [{rows for rows, _ in batch.parts} for _, _, batch in (cola, rte, grid)] == [{2}, {8}, {4}]


def test_an_epoch_of_micro_batches_has_one_update_for_each_batch(measured):
    """64 examples are eight batches of eight, each a step of four micro-batches."""
    file, _, _ = measured
    assert read_json(file)["tasks"]["cola"]["steps"] == {"full": 8, "lora": 8}
    read = read_regimes(file, REFERENCES)
    step, epoch = read.methods.iloc[0]["ms"], read.methods.iloc[0]["epoch_seconds"]
    assert epoch == pytest.approx(8 * step / 1e3) == read.tasks["full_seconds"][0]


def test_the_table_names_micro_batches(measured):
    table = catalogue.table("regimes").function()({"regimes": [measured[0]]}, DrawSettings(references=REFERENCES))
    cola, rte, grid = (row[0] for row in table.grid().rows)
    assert cola.startswith("CoLA: 8 × ")
    assert cola.endswith(" in micro-batches of 2")
    assert "micro-batches" not in rte + grid


def test_the_parts_of_a_step_are_those_of_its_micro_batches(bert, monkeypatch):
    updates, passes = [], []

    def counted_forward(model, inputs, precision):
        passes.append(len(inputs["input_ids"]))
        return forward(model, inputs, precision)

    monkeypatch.setattr(step_timing, "optimizer_step", lambda *_: updates.append(1))
    monkeypatch.setattr(step_timing, "forward", counted_forward)
    run = spec(FULL, hyperparameters={"micro_batch_size": 2})
    model = build_model(run, bert, ["0", "1"], torch.zeros(1, dtype=torch.int64).numpy())
    parts = step_timing.ReadyStep(run, model, (5, 8), "eager").parts()
    assert (passes, updates) == ([2, 2, 1], [1])
    assert min(parts.values()) > 0


def test_a_model_that_does_not_run_on_shapes_is_measured_as_long_as_there_is_time(bert, cola, tmp_path, monkeypatch):
    """The last size of the grid is left out by what the first took."""
    monkeypatch.setattr(regimes, "count_divided_step", lambda *_: None)
    monkeypatch.setattr(regimes, "predicted_memory_mb", lambda *_: None)
    monkeypatch.setattr(regimes, "GRID", ((2, 8), (1 << 20, 128)))
    runs = {settings["kind"]: {"cola": spec(settings)} for settings in (FULL, LORA)}
    plan, file = regimes.RegimesPlan(runs, seconds=60, threads=1), tmp_path / "regimes.json"
    regimes.measure_regimes(bert, None, {"cola": cola / "train.safetensors"}, plan, file)
    steps = read_regimes(file, REFERENCES).steps
    assert list(steps["time"].notna()) == [True, True, False]
    assert steps["reason"].iloc[2].startswith("takes about ")
