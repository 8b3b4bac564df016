"""Which regime a training step is in: the model of a step against hand-made shapes, and the measurement as a whole."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from builders import FULL, LORA, spec
from torch import nn

from lora_core.evaluation import regimes, step_model
from lora_core.evaluation.references import References
from lora_core.evaluation.regime_advice import advice
from lora_core.evaluation.regime_record import Regimes, read_regimes, total_seconds
from lora_core.evaluation.step_model import LaunchCosts, Operation, StepCount, count_step
from lora_core.measuring.device_constants import DeviceConstants, measure_constants
from lora_core.records import read_json
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings

ROWS, TOKENS, WIDTH, OUTPUTS = 3, 4, 6, 2
DEVICE = DeviceConstants(bytes_per_second=1e9, flops_per_second=1e12, random_numbers_per_second=1e6)


class Linear(nn.Module):
    """The sum of embeddings through one linear layer: its operations can be counted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(10, WIDTH)
        self.classifier = nn.Linear(WIDTH, OUTPUTS)
        self.config = SimpleNamespace(num_labels=OUTPUTS)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.classifier(self.embeddings(input_ids).sum(1)))


def flops(operations):
    return sum(operation.flops for operation in operations)


def test_the_arithmetic_of_a_linear_layer_is_counted_as_by_hand():
    count = count_step(Linear(), (ROWS, TOKENS), "cpu", "fp32")
    product = 2 * ROWS * WIDTH * OUTPUTS
    assert flops(count.forward) == product
    assert flops(count.backward) == 2 * product  # the gradients of the weight and of its input
    assert flops(count.update) == 0


def test_a_frozen_layer_needs_no_gradient_of_its_weight():
    model = Linear()
    model.embeddings.requires_grad_(False)
    count = count_step(model, (ROWS, TOKENS), "cpu", "fp32")
    assert flops(count.backward) == 2 * ROWS * WIDTH * OUTPUTS


def test_an_update_moves_gradient_parameter_and_both_moments():
    count = count_step(Linear(), (ROWS, TOKENS), "cpu", "fp32")
    trained = sum(p.numel() for p in Linear().parameters())
    # Read the gradient, clip it (read, write), read it, and read and write the parameter and two moments.
    assert sum(operation.moved_bytes for operation in count.update) == 4 * trained * (1 + 2 + 1 + 2 * 3)


def test_dropout_draws_a_number_for_each_element():
    class Dropped(Linear):
        def forward(self, input_ids, attention_mask):
            hidden = nn.functional.dropout(self.embeddings(input_ids), 0.1, self.training)
            return SimpleNamespace(logits=self.classifier(hidden.sum(1)))

    count = count_step(Dropped(), (ROWS, TOKENS), "cpu", "fp32")
    assert sum(operation.random_numbers for operation in count.forward) == ROWS * TOKENS * WIDTH


def test_a_model_that_does_not_run_on_shapes_is_not_predicted():
    class Looks(Linear):
        def forward(self, input_ids, attention_mask):
            assert int(input_ids.sum()) >= 0
            return super().forward(input_ids, attention_mask)

    assert count_step(Looks(), (ROWS, TOKENS), "cpu", "fp32") is None


@pytest.mark.parametrize(
    ("operation", "seconds", "bound"),
    [
        (Operation(0, 0), 1e-5, "launches"),
        (Operation(0, 1e6), 1e-3, "bytes"),
        (Operation(1e10, 1e6), 1e-2, "arithmetic"),
        (Operation(1e10, 1e6, 1e5), 1e-1, "random numbers"),
    ],
)
def test_an_operation_takes_the_longest_of_its_four_times(operation, seconds, bound):
    count = StepCount((operation, operation), (), ())
    predicted = count.predict(LaunchCosts.same(1e-5), DEVICE)
    assert predicted["forward"] == {name: 2 * seconds if name == bound else 0 for name in step_model.BOUNDS}
    assert total_seconds(predicted) == pytest.approx(2 * seconds)


def test_the_constants_of_this_machine_are_possible():
    constants = measure_constants(torch.device("cpu"), "fp32")
    assert 1e8 < constants.bytes_per_second < 1e13
    assert 1e8 < constants.flops_per_second < 1e14
    assert 1e5 < constants.random_numbers_per_second < 1e12


@pytest.fixture(scope="module")
def record(bert, cola, tmp_path_factory):
    """regimes.json of a two-layer model on three sizes, of which the last does not fit into the time."""
    file = tmp_path_factory.mktemp("regimes") / "regimes.json"
    specs = {"fft": {"cola": spec(FULL)}, "lora": {"cola": spec(LORA)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regimes, "GRID", ((2, 8), (4, 16), (1 << 16, 128)))
        plan = regimes.RegimesPlan(specs, seconds=300, threads=1)
        regimes.measure_regimes(bert, None, {"cola": cola / "train.safetensors"}, plan, file)
    return file


REFERENCES = References(full="fft", adapter="lora")


def test_every_size_is_measured_or_has_a_reason(record):
    steps = read_regimes(record, REFERENCES).steps
    assert len(steps) == 4
    measured = steps["reason"].isna()
    assert list(measured) == [True, True, True, False]
    assert (steps[measured][["full_ms", "lora_ms", "time", "predicted"]] > 0).all(axis=None)
    assert steps[~measured]["time"].isna().all()
    assert steps["reason"].iloc[3].startswith("takes about ")
    assert (steps[measured]["time_low"] <= steps[measured]["time"]).all()
    assert steps["energy"].isna().all()  # no meter counts energy here


def test_an_epoch_is_its_number_of_mean_batches(record):
    content = read_json(record)
    tasks = read_regimes(record, REFERENCES).tasks
    batches = content["tasks"]["cola"]
    row = next(r for r in content["rows"] if r["method"] == "fft" and r["task"] == "cola")
    expected = batches["steps"]["fft"] * sorted(row["rounds"])[1]
    assert tasks["full_seconds"][0] == pytest.approx(expected)
    assert tasks["time"][0] == pytest.approx(tasks["full_seconds"][0] / tasks["lora_seconds"][0])
    assert math.isnan(tasks["energy"][0])


def test_a_record_without_a_reference_is_named(record):
    with pytest.raises(ValueError, match="has no steps of another"):
        read_regimes(record, References(full="fft", adapter="another"))


def test_weights_stay_as_they_are(bert, record):
    """Learning rates are 0, so that any number of steps can be timed."""
    from lora_core.evaluation.step_timing import ReadyStep
    from lora_core.training.run import build_model

    model = build_model(spec(FULL), bert, ["0", "1"], torch.zeros(1, dtype=torch.int64).numpy())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step = ReadyStep(spec(FULL), model, (2, 8), "eager")
    step.block(2)
    step.parts()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", ["table", "figure"])
def test_table_and_figure_are_drawn_from_the_record(record, kind):
    settings = DrawSettings(references=REFERENCES, labels={"fft": "Full fine-tuning", "lora": "LoRA (own)"})
    drawn = getattr(catalogue, kind)("regimes").function()({"regimes": [record]}, settings)
    if kind == "table":
        grid = drawn.grid()
        assert [row[0] for row in grid.rows] == ["CoLA: 8 × 46", "2 × 8", "4 × 16", "65536 × 128"]
        assert [row[grid.head.index("break-even in time")] for row in grid.rows][1:] == ["", "", ""]
        assert "Not measured: 65536 × 128 (takes about" in " ".join(drawn.notes)
        assert "LoRA (own) waits for" in grid.head
    else:
        figure, frame = drawn
        assert "of the time of full fine-tuning" in figure._suptitle.get_text().replace("\n", " ")
        assert len(frame) == 4


def test_the_papers_own_numbers_give_its_break_even():
    """From its tables 5 and 6: epochs that LoRA may take, relative to full fine-tuning, and those that it took."""
    from regimes import break_even  # docs/regimes.py

    paper = break_even().loc[["sst2", "mrpc", "cola", "rte", "stsb"]]
    assert list(paper["time"].round(2)) == [1.71, 1.78, 1.82, 1.36, 1.58]
    assert list(paper["energy"]) == pytest.approx([1.68, 1.58, 1.68, 1.34, 1.53], abs=0.0066)  # printed to 0.1 kJ
    assert list(paper["took"].round(2)) == [2, 2, 7, 0.9, 2.33]
    cheaper = paper["took"] < paper["energy"]
    assert list(cheaper) == list(paper["cost"] < 1) == [False, False, False, True, False]


def steps(**rows):
    """Rows of `Regimes.steps` from lists."""
    given = {"task": "", "reason": None, "time_low": math.nan, "time_high": math.nan, "energy": math.nan} | rows
    return pd.DataFrame(given).assign(tokens_per_step=lambda frame: frame["rows"] * frame["tokens"])


@pytest.mark.parametrize(
    ("waits_for", "words"),
    [
        ("launches", "At 4,096 tokens a step the ratio is 0.70."),
        ("arithmetic", "train.precision: bf16"),
        ("bytes", "A lower precision moves fewer"),
        ("random numbers", "hyperparameters.dropout: 0.0"),
    ],
)
def test_advice_names_what_a_step_waits_for_and_what_changes_it(waits_for, words):
    frame = steps(
        task=["cola", ""], rows=[16, 32], tokens=[16, 128], execution="eager", full_ms=[10.0, 100.0],
        lora_ms=[9.5, 70.0], time=[0.95, 0.7], waits_for=waits_for, waiting=0.87,
    )  # fmt: skip
    (text,) = advice(Regimes(frame, pd.DataFrame(), "a GPU", "fp32"), "LoRA (own)")
    assert text.startswith("A step of 16 × 16 tokens takes LoRA (own) 0.95 of the time of full fine-tuning.")
    assert "(87 % of its predicted time)" in text
    assert words in text


def test_advice_on_launches_expects_what_graphs_were_measured_to_take():
    frame = steps(
        task="cola", rows=16, tokens=16, execution=["eager", "graphs"], full_ms=[40.0, 5.0], lora_ms=[40.0, 3.0],
        time=[1.0, 0.6], waits_for="launches", waiting=0.87,
    )  # fmt: skip
    eager, _ = advice(Regimes(frame, pd.DataFrame(), "a GPU", "bf16"), "LoRA (own)")
    assert "its step takes 0.07 of this time, and 0.60 of that of full fine-tuning" in eager
