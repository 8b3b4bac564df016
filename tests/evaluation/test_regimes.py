"""Which regime a training step is in: the model of a step against hand-made shapes, and the measurement as a whole."""

import json
import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from builders import FULL, LORA, draw_table, spec, write_regimes
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lora_core import precision
from lora_core.evaluation import memory_scaling, regime_record, regimes, repeated_constants, step_timing
from lora_core.evaluation.measured_device import read_measured_device
from lora_core.evaluation.operations import Operation, Recorder
from lora_core.evaluation.references import References
from lora_core.evaluation.regime_record import Regimes, read_regimes, total_seconds
from lora_core.evaluation.repeated_constants import Constants, median_of
from lora_core.evaluation.step_model import LaunchCosts, StepCount, count_divided_step, count_step
from lora_core.measuring import device_constants
from lora_core.measuring.device_constants import WIDTHS, DeviceConstants, measure_constants, rate
from lora_core.records import read_json, write_json
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings
from lora_core.training.run import build_model

ROWS, TOKENS, WIDTH, OUTPUTS = 3, 4, 6, 2
DEVICE = DeviceConstants(
    bytes_per_second=[(1e3, 1e9)], in_place_bytes_per_second=2e9, flops_per_second=[(10, 1e11), (1000, 1e12)],
    functions_per_second=1e6, random_numbers_per_second=1e6, squares_per_second=1e6, launches_ahead=True,
)  # fmt: skip


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


def test_products_have_the_smallest_width_of_their_matrices_and_functions_are_counted():
    class Activated(Linear):
        def forward(self, input_ids, attention_mask):
            return SimpleNamespace(logits=self.classifier(nn.functional.gelu(self.embeddings(input_ids).sum(1))))

    count = count_step(Activated(), (ROWS, TOKENS), "cpu", "fp32")
    assert {operation.width for operation in count.forward if operation.flops} == {min(ROWS, WIDTH, OUTPUTS)}
    assert sum(operation.functions for operation in count.forward) == ROWS * WIDTH
    assert sum(operation.functions for operation in count.backward) == 2 * ROWS * WIDTH  # of erf and exp


def test_without_clipping_there_is_no_norm_and_the_gradient_is_only_read():
    count = count_divided_step(Linear(), (ROWS, TOKENS), ROWS, "cpu", "fp32", clips=False)
    trained = [p.numel() for p in Linear().parameters()]
    assert [(one.squares, one.moved_bytes) for one in count.update] == [(0, 4 * n * (1 + 2 * 3)) for n in trained]


def test_a_norm_is_computed_before_the_arrays_are_changed_in_place():
    count = count_step(Linear(), (ROWS, TOKENS), "cpu", "fp32")
    trained = [p.numel() for p in Linear().parameters()]
    assert [operation.squares for operation in count.update if not operation.in_place] == trained
    assert [operation.squares for operation in count.update if operation.in_place] == [0] * len(trained)


def test_dropout_draws_a_number_for_each_element():
    class Dropped(Linear):
        def forward(self, input_ids, attention_mask):
            hidden = nn.functional.dropout(self.embeddings(input_ids), 0.1, self.training)
            return SimpleNamespace(logits=self.classifier(hidden.sum(1)))

    count = count_step(Dropped(), (ROWS, TOKENS), "cpu", "fp32")
    assert sum(operation.random_numbers for operation in count.forward) == ROWS * TOKENS * WIDTH


def test_a_step_of_micro_batches_has_their_passes_and_one_update():
    whole, divided = (count_divided_step(Linear(), (5, TOKENS), micro, "cpu", "fp32") for micro in (5, 2))
    assert whole == count_step(Linear(), (5, TOKENS), "cpu", "fp32")
    one = count_step(Linear(), (2, TOKENS), "cpu", "fp32")
    assert len(divided.forward) == 3 * len(one.forward)  # of 2, 2 and 1 rows
    assert [flops(part) for part in (divided.forward, divided.backward)] == [
        flops(whole.forward),
        flops(whole.backward),
    ]
    assert divided.update == whole.update
    # The second and the third add their gradients to those before: two tensors are read and one is written.
    trained = [p.numel() for p in Linear().parameters()]
    assert [operation.moved_bytes for operation in divided.backward if operation.in_place] == [
        3 * 4 * count for count in 2 * trained
    ]
    assert not any(operation.in_place for operation in whole.backward)


def test_a_model_that_does_not_run_on_shapes_is_not_predicted():
    class Looks(Linear):
        def forward(self, input_ids, attention_mask):
            assert int(input_ids.sum()) >= 0
            return super().forward(input_ids, attention_mask)

    assert count_step(Looks(), (ROWS, TOKENS), "cpu", "fp32") is None
    assert count_divided_step(Looks(), (ROWS, TOKENS), 2, "cpu", "fp32") is None


@pytest.mark.parametrize(
    ("operation", "seconds", "bound"),
    [
        (Operation(0), 1e-5, "launches"),
        (Operation(1e6), 1e-3, "bytes"),
        (Operation(1e6, 1e10), 1e-2, "arithmetic"),
        (Operation(1e6, 1e10, 1e5), 1e-1, "random numbers"),
        (Operation(1e6, 1e10, width=10), 1e-1, "arithmetic"),
        (Operation(1e6, functions=1e5), 1e-1, "arithmetic"),
        (Operation(1e6, squares=1e5), 1e-1, "arithmetic"),
        (Operation(1e6, in_place=True), 5e-4, "bytes"),
    ],
)
def test_an_operation_takes_the_longest_of_its_four_times(operation, seconds, bound):
    count = StepCount((operation, operation), (), ())
    predicted = count.predict(LaunchCosts.same(1e-5), DEVICE)
    assert predicted["forward"] == {name: 2 * seconds if name == bound else 0 for name in regime_record.BOUNDS}
    assert total_seconds(predicted) == pytest.approx(2 * seconds)


def test_a_launch_adds_to_an_operation_where_none_is_launched_ahead():
    count = StepCount((Operation(1e6), Operation(1e6, 1e10)), (), ())
    predicted = count.predict(LaunchCosts.same(1e-5), replace(DEVICE, launches_ahead=False))
    assert predicted["forward"] == {"launches": 2e-5, "bytes": 1e-3, "arithmetic": 1e-2, "random numbers": 0}


HALF = torch.ones(ROWS, WIDTH, dtype=torch.bfloat16)
FLOATS = torch.ones(ROWS, WIDTH)
BYTES = FLOATS.nbytes
ZEROS = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("operation", "cpu", "cuda"),
    [
        (lambda: FLOATS + FLOATS, 2 * BYTES, 2 * BYTES),  # the same tensor twice is read once
        (lambda: torch.zeros_like(FLOATS), 2 * BYTES, BYTES),
        (lambda: FLOATS.clone().zero_(), 4 * BYTES, 3 * BYTES),
        (lambda: torch.full((ROWS, WIDTH), 1.0), 2 * BYTES, BYTES),
        (lambda: HALF + 1, BYTES, BYTES),
        (lambda: FLOATS >= 0, 2 * BYTES, BYTES + ROWS * WIDTH),
        (lambda: FLOATS.softmax(-1), 4 * BYTES, 2 * BYTES),
        (lambda: nn.functional.layer_norm(FLOATS, (WIDTH,)), *(n * (2 * BYTES + 2 * ROWS * 4) for n in (2, 1))),
        (lambda: nn.functional.embedding(ZEROS, FLOATS), 2 * 2 * WIDTH * 4, 2 * 2 * WIDTH * 4),
        (lambda: FLOATS.index_select(0, ZEROS), 2 * 2 * WIDTH * 4, 2 * 2 * WIDTH * 4),
        (lambda: torch.ops.aten._unsafe_view(FLOATS, [WIDTH, ROWS]), 0, 0),
        (lambda: FLOATS.t(), 0, 0),
    ],
)
def test_a_cpu_moves_more_bytes_than_the_tensors_have(operation, cpu, cuda):
    for device, moved in (("cpu", cpu), ("cuda", cuda)):
        with Recorder(device) as recorder:
            operation()
        assert sum(one.moved_bytes for one in recorder.operations) == moved, device


@pytest.mark.parametrize(("device", "operations"), [("cpu", 2), ("cuda", 1)])
def test_a_cpu_copies_a_bias_before_the_product_to_which_it_is_added(device, operations):
    weight, bias = torch.ones(WIDTH, OUTPUTS), torch.ones(OUTPUTS)
    with Recorder(device) as recorder:
        torch.addmm(bias, FLOATS, weight)
    assert len(recorder.operations) == operations
    assert recorder.operations[-1].flops == 2 * ROWS * WIDTH * OUTPUTS
    assert operations == 1 or recorder.operations[0] == Operation(2 * ROWS * OUTPUTS * 4)


def test_constants_are_medians_of_their_measurements():
    def measured(factor):
        rates = {name: [(size, factor * rate) for size, rate in getattr(DEVICE, name)] for name in
                 ("bytes_per_second", "flops_per_second")}  # fmt: skip
        single = ("in_place_bytes_per_second", "functions_per_second", "random_numbers_per_second",
                  "squares_per_second")  # fmt: skip
        device = replace(DEVICE, **rates, **{name: factor * getattr(DEVICE, name) for name in single})
        return Constants(device, {"eager": LaunchCosts(1e-5 * factor, 2e-5 * factor, 3e-5 * factor)})

    assert median_of([measured(factor) for factor in (1, 9, 2)]) == measured(2)


def test_the_constants_of_this_machine_are_possible():
    constants = measure_constants(torch.device("cpu"), "fp32")
    rates = [*constants.bytes_per_second, (0, constants.in_place_bytes_per_second)]
    assert all(1e8 < bytes_per_second < 1e13 for _, bytes_per_second in rates)
    assert all(1e7 < flops < 1e14 for _, flops in constants.flops_per_second)
    assert [width for width, _ in constants.flops_per_second] == sorted(WIDTHS["cpu"])
    assert 1e5 < constants.functions_per_second < 1e12
    assert 1e5 < constants.random_numbers_per_second < 1e12
    assert 1e5 < constants.squares_per_second < 1e12
    assert not constants.launches_ahead


@pytest.mark.parametrize(("kind", "copies", "between"), [("cpu", 5 * (16 + 4), 5 * 9), ("cuda", 5 * 20, 0)])
def test_on_a_cpu_products_come_between_and_small_copies_are_repeated(kind, copies, between, monkeypatch):
    """On tensors without data, so that it runs without a GPU; of all but products, a product comes before each."""
    operations = Counter()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            operations[func._schema.name] += 1
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(device_constants.devices, "synchronize", lambda device: None)
    with FakeTensorMode(), Counting():
        constants = measure_constants(torch.device(kind), "fp32")
    assert constants.launches_ahead == (kind == "cuda")
    assert operations["aten::clone"] == copies
    assert operations["aten::mm"] == between


def test_the_median_of_the_repetitions_after_the_first_two_counts(monkeypatch):
    readings = iter([0, 50, 100, 140, 200, 203, 300, 309, 400, 404])  # of the clock before and after each
    monkeypatch.setattr(device_constants.time, "perf_counter", lambda: next(readings))
    assert device_constants._seconds(lambda: None, torch.device("cpu")) == 4


@pytest.mark.parametrize(("size", "expected"), [(1, 2.0), (10, 2.0), (1000, 20.0), (100_000, 200.0), (1e9, 200.0)])
def test_a_rate_lies_on_a_line_between_those_measured_and_is_the_last_beyond(size, expected):
    assert rate([(10, 2.0), (100_000, 200.0)], size) == pytest.approx(expected)


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


def test_how_long_the_last_measurement_took_is_known(monkeypatch):
    """The time for steps depends on it."""
    clock = iter([10.0, 10.5, 20.0, 22.0])
    monkeypatch.setattr(repeated_constants.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(repeated_constants, "LaunchTimer", lambda *_: SimpleNamespace(costs=dict))
    monkeypatch.setattr(repeated_constants, "measure_constants", lambda *_: DEVICE)
    meter = repeated_constants.ConstantsMeter(spec(FULL), torch.device("cpu"))
    assert meter.seconds == 0
    meter.measure()
    assert meter.seconds == 0.5
    meter.measure()
    assert meter.seconds == 2


def test_a_step_is_predicted_by_constants_of_its_own_minutes(bert, cola, tmp_path, monkeypatch):
    """They are measured before its first round and after each; the record has the medians of all."""
    measured = iter(range(1, 100))

    def costs():
        return {"eager": LaunchCosts.same(10.0 * next(measured))}  # seconds, so that nothing else counts

    monkeypatch.setattr(repeated_constants, "LaunchTimer", lambda *_: SimpleNamespace(costs=costs))
    monkeypatch.setattr(repeated_constants, "measure_constants", lambda *_: replace(DEVICE, launches_ahead=False))
    monkeypatch.setattr(regimes.StepLimits, "why_not", lambda *_: None)
    monkeypatch.setattr(regimes, "GRID", ((2, 8),))
    specs = {"fft": {"cola": spec(FULL)}, "lora": {"cola": spec(LORA)}}
    file = tmp_path / "regimes.json"
    plan = regimes.RegimesPlan(specs, seconds=300, threads=1)
    regimes.measure_regimes(bert, None, {"cola": cola / "train.safetensors"}, plan, file)
    content = read_json(file)
    rows = [row for row in content["rows"] if row["method"] == "fft"]
    first, second = (row["predicted"]["update"]["launches"] for row in rows)
    assert second / first == pytest.approx(75 / 35)  # the second to the fifth measurement, and the sixth to the ninth
    assert content["constants"]["launches"]["eager"]["update"] == 50


def test_every_size_is_measured_or_has_a_reason(record):
    steps = read_regimes(record, REFERENCES).steps
    assert len(steps) == 4
    measured = steps["reason"] == ""
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
    expected = batches["steps"]["fft"] * math.prod(row["rounds"]) ** (1 / 3)
    assert tasks["full_seconds"][0] == pytest.approx(expected)
    assert tasks["time"][0] == pytest.approx(tasks["full_seconds"][0] / tasks["lora_seconds"][0])
    assert tasks["time"][0] == pytest.approx(
        1 / read_regimes(record, REFERENCES).steps["time"][0]
    )  # of the same rounds
    assert math.isnan(tasks["energy"][0])


def test_the_record_has_the_lower_precision_of_this_device(record):
    assert read_regimes(record, REFERENCES).lower_precision == precision.lower("fp32", torch.device("cpu"))


def test_a_record_without_a_reference_is_named(record):
    with pytest.raises(ValueError, match="has no steps of another"):
        read_regimes(record, References(full="fft", adapter="another"))


def test_weights_stay_as_they_are(bert, record):
    """Learning rates are 0, so that any number of steps can be timed."""
    model = build_model(spec(FULL), bert, ["0", "1"], torch.zeros(1, dtype=torch.int64).numpy())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step = step_timing.ReadyStep(spec(FULL), model, (2, 8), "eager")
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


def test_a_meter_fills_the_columns_of_energy(fake_nvml, bert, cola, tmp_path):
    """At a constant power the ratio of energies is that of times."""
    fake_nvml(watts=150)
    specs = {"fft": {"cola": spec(FULL, meter="simulated_nvml")}, "lora": {"cola": spec(LORA, meter="simulated_nvml")}}
    file = tmp_path / "regimes.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regimes, "GRID", ((4, 16),))
        plan = regimes.RegimesPlan(specs, seconds=300, threads=1)
        regimes.measure_regimes(bert, None, {"cola": cola / "train.safetensors"}, plan, file)
    read = read_regimes(file, REFERENCES)
    assert list(read.steps["energy"]) == pytest.approx(list(read.steps["time"]), rel=0.2)
    assert list(read.methods["joules"]) == pytest.approx(list(150 * read.methods["ms"] / 1e3), rel=0.2)
    # A quotient of two of them.
    assert read.break_evens("energy")["cola"] == pytest.approx(read.break_evens("time")["cola"], rel=0.4)
    assert read_measured_device(file).watts == pytest.approx(150, rel=0.2)
    head = draw_table("regimes", {"regimes": [file]}).grid().head
    assert {"energy, LoRA (own) / Full fine-tuning", "break-even in energy"} <= set(head)
    details = draw_table("regimes-details", {"regimes": [file]}).grid()
    assert {"energy (J)", "epoch (J)"} <= set(details.head)


def test_details_have_the_parts_the_memory_and_the_epochs_of_each_method(record):
    table = draw_table("regimes-details", {"regimes": [record]})
    json.dumps(table.to_json(), allow_nan=False)  # also where some sizes were not measured
    grid = table.grid()
    rows = {row[0]: dict(zip(grid.head, row, strict=True)) for row in grid.rows}
    assert list(rows)[:2] == ["CoLA: 8 × 46: Full fine-tuning", "CoLA: 8 × 46: LoRA (own)"]
    for row in list(rows.values())[:2]:
        parts = [float(row[f"{part} (ms)"]) for part in ("forward", "backward", "update")]
        assert min(parts) > 0
        assert float(row["saved for backward (MB)"]) > 0
        assert float(row["epoch (s)"]) == pytest.approx(8 * float(row["measured (ms)"]) / 1e3, rel=0.01)
    assert "energy (J)" not in grid.head
    assert rows["2 × 8: LoRA (own)"]["epoch (s)"] == "n/a"


def test_the_parts_of_a_graph_are_not_available_and_say_why(tmp_path):
    file = write_regimes(tmp_path / "regimes.json", {"cola": {"time": 1.5, "energy": None}})
    content = read_json(file)
    graphs = [row | {"execution": "graphs", "parts": None} for row in content["rows"]]
    write_json(file, content | {"rows": content["rows"] + graphs})
    table = draw_table("regimes-details", {"regimes": [file]})
    parts = [cell for cell in table.cells if cell.column in ("forward (ms)", "backward (ms)", "update (ms)")]
    assert {(cell.text == "n/a", cell.note) for cell in parts if cell.row.endswith("(own)")} == {
        (False, ""), (True, "a CUDA graph is one launch, whose parts are not timed apart"),
    }  # fmt: skip
    assert {cell.text == "n/a" for cell in parts if ", graphs" in cell.row} == {True}
    assert "whose parts are not timed apart" in table.notes[0]


def test_how_many_steps_were_predicted_is_counted(tmp_path):
    """Those of full fine-tuning take 60 ms and those of LoRA 40; 30 are predicted."""
    file = write_regimes(tmp_path / "regimes.json", {"cola": {"time": 1.5, "energy": None}})
    read = read_regimes(file, REFERENCES)
    assert [read.well_predicted(tolerance) for tolerance in (0.2, 0.3, 0.6)] == [(0, 4), (2, 4), (4, 4)]
    table = draw_table("regimes", {"regimes": [file]})
    assert any("The prediction is within 20 % of the measurement for 0 of 4 steps." in note for note in table.notes)


def test_a_break_even_is_that_of_the_execution_of_runs_if_it_was_measured():
    tasks = pd.DataFrame({"task": ["cola"] * 2 + ["rte"] * 2, "execution": ["graphs", "eager"] * 2,
                          "time": [1.7, 1.0, math.nan, 1.1], "energy": math.nan})  # fmt: skip
    for execution, expected in (("graphs", {"cola": 1.7, "rte": 1.1}), ("eager", {"cola": 1.0, "rte": 1.1})):
        read = Regimes(pd.DataFrame(), tasks, "a GPU", "bf16", execution=execution)
        assert read.break_evens("time") == expected
        assert read.break_evens("energy") == {}


def test_attention_is_counted_as_the_device_computes_it(monkeypatch):
    """On CUDA it is one fused operation. Only the forward pass: for a backward pass there, torch needs a GPU."""
    monkeypatch.setattr(torch.Tensor, "backward", lambda _: None)
    with torch.device("meta"):
        model = memory_scaling.build(step_timing.TINY, memory_scaling.METHODS["full"])
    counts = {kind: count_step(model, (2, 8), kind, "fp32") for kind in ("cpu", "cuda")}
    assert len(counts["cuda"].forward) < len(counts["cpu"].forward)
    assert flops(counts["cuda"].forward) == flops(counts["cpu"].forward)


def test_a_step_that_cannot_be_captured_is_not_timed_as_a_graph(bert, cola, tmp_path, monkeypatch):
    """As on a CPU, where no step is one."""
    launches = SimpleNamespace(costs=lambda: {"graphs": LaunchCosts.same(1e-5)})
    monkeypatch.setattr(repeated_constants, "LaunchTimer", lambda *_: launches)
    monkeypatch.setattr(regimes, "GRID", ())
    specs = {"fft": {"cola": spec(FULL)}, "lora": {"cola": spec(LORA)}}
    plan, file = regimes.RegimesPlan(specs, seconds=300, threads=1), tmp_path / "regimes.json"
    regimes.measure_regimes(bert, None, {"cola": cola / "train.safetensors"}, plan, file)
    read = read_regimes(file, REFERENCES)
    assert list(read.steps["reason"]) == ["a step of this model cannot be captured as a CUDA graph"]
    assert read.steps["time"].isna().all()
    assert read.break_evens("time") == {}
    assert (read.steps["predicted"] > 0).all()


@pytest.mark.parametrize("missing", ["rows", "tasks", "provenance", "execution"])
def test_a_damaged_record_is_named(missing, tmp_path):
    file = write_regimes(tmp_path / "regimes.json", {"cola": {"time": 1.5, "energy": None}})
    write_json(file, {name: value for name, value in read_json(file).items() if name != missing})
    with pytest.raises(ValueError, match=r"regimes\.json is damaged \(field '\w+' is missing\); delete it"):
        read_regimes(file, REFERENCES)
