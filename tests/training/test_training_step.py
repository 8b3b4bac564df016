"""The training step on static buffers: the same bits as the plain one on a CPU, whether it is captured or not."""

import csv
import random
import re
import sys
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import FULL, LABELS, LORA, LORALIB, TARGETS, run_inputs, run_outputs, spec, tokenized, trained
from safetensors.numpy import load_file
from torch.autograd.graph import saved_tensors_hooks

from lora_core.data import batches
from lora_core.records import read_json
from lora_core.training import cuda_graphs, loop, state, training_step
from lora_core.training.checkpoint import CheckpointSettings
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.epoch_order import EpochOrder, epoch_order, repeated_shapes
from lora_core.training.learning_rates import DeviceLearningRates
from lora_core.training.preparation import undone
from lora_core.training.run import apply_speedups, build_model, train
from lora_core.training.steps import compute_logits, compute_loss, create_optimizer, parameter_groups, schedule_factor
from lora_core.training.training_step import StaticStep, TrainingStep

CPU = torch.device("cpu")
ON = {"target_modules": ["query", "value"]}


def peft(peft_type, **config):
    return {"kind": "peft", "config": {"peft_type": peft_type, **config}}


HOULSBY = {"kind": "houlsby", "bottleneck": 4, "targets": ["output.dense"]}
# Each with hyperparameters that it has alone: 60 examples in batches of 8 end with a smaller batch.
RUNS = {
    "full": (FULL, {}),
    "full by sgd": (FULL, {"optimizer": "sgd"}),
    "lora": (LORA, {}),
    "lora plus": (LORA, {"loraplus_lr_ratio": 16.0, "schedule": "cosine"}),
    "no clipping": (LORA, {"max_grad_norm": None}),
    "loralib": (LORALIB, {}),
    "peft lora": (peft("LORA", r=4, lora_dropout=0.1, **ON), {"loraplus_lr_ratio": 4.0}),
    "ia3": (peft("IA3", feedforward_modules=["value"], **ON), {}),
    "vera": (peft("VERA", r=8, **ON), {}),
    "houlsby": (HOULSBY, {}),
    "prefix": (peft("PREFIX_TUNING", num_virtual_tokens=4), {}),
}


class Recorder:
    """Captures as CUDA does, but on a CPU: nothing is done then, and each launch computes from the static buffers."""

    def __init__(self, fails_at=None, draws=False):
        self.log = []  # "capture", or ("ordinary" or "launch", shape) for what really runs
        self.kind = "ordinary"
        self.fails_at = fails_at
        self.draws = draws

    def capture(self, step):
        if self.log.count("capture") == self.fails_at:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand a hint")
        self.log.append("capture")

        def replay():
            self.kind = "launch"
            with saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):  # hooks outside see nothing
                loss = step()
            self.kind = "ordinary"
            return loss

        return replay

    def host_random_state(self):
        return len(self.log) if self.draws else None  # another one after each step


class Logged(StaticStep):
    """A static step that tells the recorder on which shapes it runs."""

    def _train(self, rows, parts):
        self.recorder.log.append((self.recorder.kind, (len(rows), max(tokens for _, tokens in parts))))
        return super()._train(rows, parts)


def static(monkeypatch, recorder=None):
    """Let runs train with the static step."""

    def create(*arguments):
        if recorder is None:
            return StaticStep(*arguments)
        step = Logged(*arguments, recorder)
        step.recorder = recorder
        return step

    monkeypatch.setattr(loop, "create_step", create)
    return recorder


@pytest.fixture(scope="module")
def data(bert, tmp_path_factory):
    return tokenized(bert, tmp_path_factory.mktemp("data") / "cola", "cola", train=60)


def files(out):
    names = [*sorted(out.glob("weights/*.safetensors")), out / "predictions.safetensors"]
    return {path.name: path.read_bytes() for path in names}


def saved(out):
    """What autograd saved for the backward pass in the largest batch of each epoch, which does not vary."""
    with (out / "history.csv").open(newline="") as stream:
        return [float(row["saved_for_backward_mb"]) for row in csv.DictReader(stream)]


def run(name, bert, data, out, **changes):
    settings, hyperparameters = RUNS[name]
    hyperparameters = {"dropout": 0.1, "epochs": 3} | hyperparameters | changes.pop("hyperparameters", {})
    return trained(settings, bert, data, out, hyperparameters=hyperparameters, **changes)


@pytest.mark.parametrize("name", RUNS)
def test_static_buffers_train_as_the_plain_step_bit_for_bit(name, bert, data, tmp_path, monkeypatch):
    plain = run(name, bert, data, tmp_path / "plain")
    recorder = static(monkeypatch, Recorder())
    captured = run(name, bert, data, tmp_path / "static")
    assert {entry[0] for entry in recorder.log if entry != "capture"} == {"launch", "ordinary"}
    assert len(files(plain)) >= 2
    assert files(captured) == files(plain)
    assert saved(captured) == saved(plain)


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16", "batching": "random"}], ids=["fp32", "bf16 random"])
def test_static_buffers_train_the_same_without_any_capture(changes, bert, data, tmp_path, monkeypatch):
    plain = run("lora", bert, data, tmp_path / "plain", **changes)
    static(monkeypatch)
    uncaptured = run("lora", bert, data, tmp_path / "static", **changes)
    assert files(uncaptured) == files(plain)
    measured = read_json(uncaptured / "run.json")["measurement"]
    assert (measured["execution"], measured["graphs"], measured["capture_seconds"]) == ("eager", None, None)


@pytest.mark.parametrize("name", ["full", "lora plus"])
def test_the_plain_step_trains_as_a_loop_of_torch_alone(name, bert, data, tmp_path):
    settings, changes = RUNS[name]
    out = run(name, bert, data, tmp_path, hyperparameters={"epochs": 2})
    settings = spec(settings, hyperparameters={"dropout": 0.1} | changes)
    model = build_model(settings, bert, LABELS, TARGETS)
    apply_speedups(model, settings, CPU)
    examples, hyper = batches.load(data / "train.safetensors"), settings.hyperparameters
    steps = 2 * 8
    adamw = torch.optim.AdamW([vars(group) for group in parameter_groups(model, hyper)], fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda s: schedule_factor(hyper.schedule, s, 2, steps))
    losses = []
    for epoch in (1, 2):
        for batch in batches.batches(examples, epoch_order(settings, examples.lengths, epoch).rows, 0):
            loss = compute_loss(compute_logits(model.train(), batch, CPU), torch.from_numpy(batch.labels))
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
            adamw.step()
            schedule.step()
            adamw.zero_grad()
            losses.append(loss.item())
    stored = load_file(out / "predictions.safetensors")["step_losses"]
    assert np.array_equal(stored, np.array(losses, np.float32))


def test_each_repeated_shape_is_captured_once_before_the_first_epoch_the_largest_first(
    bert, data, tmp_path, monkeypatch
):
    recorder = static(monkeypatch, Recorder())
    out = run("lora", bert, data, tmp_path)
    captures = [i for i, entry in enumerate(recorder.log) if entry == "capture"]
    preparation, epochs = recorder.log[: captures[-1] + 1], recorder.log[captures[-1] + 1 :]
    assert preparation[1::2] == ["capture"] * len(captures)
    shapes = [shape for kind, shape in preparation[::2] if kind == "ordinary"]
    assert len(set(shapes)) == len(captures) == len(shapes)
    assert all(a[0] * a[1] >= b[0] * b[1] for a, b in pairwise(shapes))
    trained_on = [shape for _, shape in epochs]
    assert len(trained_on) == 3 * 8  # no step twice, none left out
    assert set(shapes) == {shape for shape in trained_on if trained_on.count(shape) > 1}
    assert all((kind == "launch") == (shape in shapes) for kind, shape in epochs)
    measured = read_json(out / "run.json")["measurement"]
    assert (measured["execution"], measured["graphs"]) == ("graphs", len(shapes))
    assert 0 < measured["capture_seconds"] <= measured["preparation"]["seconds"]


@pytest.mark.parametrize("recorder", [Recorder(fails_at=1), Recorder(fails_at=0), Recorder(draws=True)])
def test_a_step_that_cannot_be_captured_trains_eagerly_and_says_so_once(
    recorder, bert, data, tmp_path, monkeypatch, capfd
):
    plain = run("lora", bert, data, tmp_path / "plain")
    static(monkeypatch, recorder)
    eager = run("lora", bert, data, tmp_path / "eager")
    assert files(eager) == files(plain)
    measured = read_json(eager / "run.json")["measurement"]
    assert (measured["execution"], measured["graphs"], measured["capture_seconds"]) == ("eager", None, None)
    lines = [line for line in capfd.readouterr().err.splitlines() if "graph" in line]
    reason = "it draws random numbers on the host" if recorder.draws else "not permitted when stream is capturing\\)"
    assert len(lines) == 1
    assert re.match(rf"no CUDA graphs: a step of this model cannot be captured \(.*{reason}.*; every step", lines[0])


def test_a_loss_that_is_not_finite_is_named_with_the_same_step(bert, data, tmp_path, monkeypatch):
    def message(out):
        with pytest.raises(ValueError, match="the loss is") as raised:
            run("full", bert, data, out, hyperparameters={"learning_rate": 1e30})
        return str(raised.value)

    plain = message(tmp_path / "plain")
    static(monkeypatch, Recorder())
    assert message(tmp_path / "static") == plain


def test_the_peak_of_an_epoch_counts_what_its_graphs_use(bert, data, tmp_path, monkeypatch):
    recorder = static(monkeypatch, Recorder())

    def peak(device):
        if recorder.log.count("capture") == 3:  # after the preparation the allocator sees no graph's memory
            return 10.0, 500.0
        _, (rows, tokens) = recorder.log[-1]
        return float(rows * tokens), 500.0

    monkeypatch.setattr(training_step.devices, "peak_memory_mb", peak)
    prepare = StaticStep.prepare
    monkeypatch.setattr(
        StaticStep, "prepare", lambda self, batch: recorder.log.count("capture") < 3 and prepare(self, batch)
    )
    out = run("lora", bert, data, tmp_path)
    captured = [before[1] for before, after in pairwise(recorder.log) if after == "capture"]
    assert len(captured) == 3
    examples = batches.load(data / "train.safetensors")
    with (out / "history.csv").open(newline="") as stream:
        peaks = [float(row["peak_allocated_mb"]) for row in csv.DictReader(stream)]
    for epoch, measured in enumerate(peaks, 1):
        shapes = epoch_order(spec(LORA), examples.lengths, epoch).shapes
        assert measured == max([10, *(rows * tokens for rows, tokens in shapes if (rows, tokens) in captured)])
    assert max(peaks) > 10


class Interrupted(Exception):
    """A run that ends in the middle."""


def test_a_resumed_run_captures_and_ends_as_an_uninterrupted_one(bert, data, tmp_path, monkeypatch):
    whole = run("full", bert, data, tmp_path / "whole")
    recorder = static(monkeypatch, Recorder())
    save, saves = loop.TrainingLoop._state, []

    def interrupt(self):
        saves.append(1)
        if len(saves) == 2:
            raise Interrupted
        return save(self)

    monkeypatch.setattr(loop.TrainingLoop, "_state", interrupt)
    settings, _ = RUNS["full"]
    plan = spec(settings, base_model=bert.name, hyperparameters={"dropout": 0.1, "epochs": 3})
    arguments = (plan, run_inputs(bert, data), run_outputs(tmp_path / "resumed"))
    checkpoints = CheckpointSettings(tmp_path / "checkpoints", 0, "code")
    with pytest.raises(Interrupted):
        train(*arguments, checkpoints=checkpoints)
    first = recorder.log.count("capture")
    train(*arguments, checkpoints=checkpoints)
    assert 0 < first < recorder.log.count("capture")  # the second part captures anew
    assert read_json(tmp_path / "resumed" / "run.json")["measurement"]["parts"] == 2
    assert files(tmp_path / "resumed") == files(whole)


def test_undoing_steps_keeps_the_tensors_that_a_graph_would_use(bert, data):
    settings = spec(LORA)
    model = build_model(settings, bert, LABELS, TARGETS)
    examples = DeviceExamples(batches.load(data / "train.safetensors"), model)
    step = StaticStep(settings, model, examples, steps=8)
    before = [p.detach().clone() for p in step.trained]
    (batch,) = examples.batches([np.arange(8)])
    with undone(model, step.optimizer, step.rates, step.scaling):
        step(batch)
        used = [tensor for entry in step.optimizer.state.values() for tensor in entry.values()]
        used += [*step.trained, *(group["lr"] for group in step.optimizer.param_groups)]
        assert any(tensor.count_nonzero() for tensor in used)
    after = [tensor for entry in step.optimizer.state.values() for tensor in entry.values()]
    assert len(after) == 3 * len(step.trained)
    assert not any(tensor.count_nonzero() for tensor in after)
    after += [*step.trained, *(group["lr"] for group in step.optimizer.param_groups)]
    assert [id(tensor) for tensor in after] == [id(tensor) for tensor in used]
    assert all(torch.equal(p, start) for p, start in zip(step.trained, before, strict=True))
    assert step.rates.done == 0


def test_a_state_is_loaded_into_the_tensors_that_are_there(bert, data):
    settings = spec(FULL)

    def stepped(steps):
        model = build_model(settings, bert, LABELS, TARGETS)
        examples = DeviceExamples(batches.load(data / "train.safetensors"), model)
        step = StaticStep(settings, model, examples, steps=8)
        for batch in examples.batches([np.arange(8 * i, 8 * i + 8) for i in range(steps)]):
            step(batch)
        return step

    source, target = stepped(3), stepped(1)
    tensors = [t for entry in target.optimizer.state.values() for t in entry.values()]
    saved = state.capture(source.model, source.optimizer, source.rates, source.scaling)
    state.restore(saved, target.model, target.optimizer, target.rates, target.scaling)
    loaded = [t for entry in target.optimizer.state.values() for t in entry.values()]
    assert all(a is b for a, b in zip(tensors, loaded, strict=True))
    for entry, other in zip(source.optimizer.state.values(), target.optimizer.state.values(), strict=True):
        assert all(torch.equal(entry[name], other[name]) for name in entry)
    assert target.rates.done == 3
    assert [float(g["lr"]) for g in target.optimizer.param_groups] == source.rates.at(3)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_rates_on_the_device_are_those_of_the_host_in_double_precision(schedule):
    weight = torch.nn.Linear(2, 2)
    hyper = spec(FULL, hyperparameters={"schedule": schedule, "learning_rate": 1 / 3}).hyperparameters
    optimizer, host = create_optimizer(weight, hyper, 100)
    expected = [host.at(done) for done in range(101)]
    device = DeviceLearningRates(host, CPU)
    used = []
    for _ in range(101):
        used.append([group["lr"].item() for group in optimizer.param_groups])
        if len(used) <= 100:
            device.step()
    assert used == expected
    assert len({tuple(rates) for rates in used}) > 5
    assert device.done == 100


def test_a_batch_of_each_repeated_shape_is_found_over_all_epochs():
    orders = [
        EpochOrder([np.array([0, 1]), np.array([2, 3]), np.array([4])], [(2, 8), (2, 16), (1, 24)]),
        EpochOrder([np.array([1, 2]), np.array([3, 4]), np.array([0])], [(2, 16), (2, 32), (1, 8)]),
        EpochOrder([np.array([3, 1]), np.array([0, 4]), np.array([2])], [(2, 8), (2, 16), (1, 40)]),
    ]
    assert [rows.tolist() for rows in repeated_shapes(orders)] == [[2, 3], [0, 1]]


@pytest.fixture
def stand_in_for_cuda(monkeypatch):
    """torch.cuda where capturing fails as it does on a GPU: leaving the block raises an error that hides the cause."""
    generator = SimpleNamespace(states=[])
    generator.clone_state = lambda: "a copy"
    generator.graphsafe_set_state = generator.states.append
    streams = []

    @contextmanager
    def stream(name):
        streams.append(name)
        yield
        streams.pop()

    @contextmanager
    def graph(graph, *, pool, stream, capture_error_mode):
        assert (pool, stream, capture_error_mode) == ("pool", "stream", "thread_local")
        try:
            yield
        finally:
            if sys.exc_info()[0] is not None:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    @contextmanager
    def device(index):
        yield

    stand_in = SimpleNamespace(
        graph_pool_handle=lambda: "pool", Stream=lambda device: "stream", CUDAGraph=SimpleNamespace, stream=stream,
        graph=graph, device=device, default_generators=[generator],
    )  # fmt: skip
    monkeypatch.setattr(cuda_graphs.torch, "cuda", stand_in)
    return SimpleNamespace(generator=generator, streams=streams)


def test_a_failed_capture_names_its_cause_and_leaves_a_generator_that_draws(stand_in_for_cuda):
    graphs = cuda_graphs.CudaGraphs(torch.device("cuda", 0))

    def step():
        assert stand_in_for_cuda.streams == ["stream"]
        raise ValueError("Cannot copy between CPU and CUDA tensors during CUDA graph capture")

    with pytest.raises(RuntimeError, match="Cannot copy between CPU and CUDA tensors"):
        graphs.capture(step)
    assert stand_in_for_cuda.generator.states == ["a copy"]


def test_numbers_drawn_on_the_host_are_noticed():
    draws = (lambda: torch.rand([]), random.random, np.random.rand)
    for draw in draws:
        before = cuda_graphs.CudaGraphs.host_random_state()
        assert cuda_graphs.CudaGraphs.host_random_state() == before
        draw()
        assert cuda_graphs.CudaGraphs.host_random_state() != before


def test_an_update_is_capturable_only_while_it_is_captured():
    optimizer, _ = create_optimizer(torch.nn.Linear(2, 2), spec(FULL).hyperparameters, 3)
    with cuda_graphs.capturable(optimizer):
        assert all(group["capturable"] for group in optimizer.param_groups)
    assert not any(group["capturable"] for group in optimizer.param_groups)


def test_on_a_cpu_the_step_is_the_plain_one(bert, data):
    model = build_model(spec(LORA), bert, LABELS, TARGETS)
    examples = DeviceExamples(batches.load(data / "train.safetensors"), model)
    assert type(training_step.create_step(spec(LORA), model, examples, 8)) is TrainingStep
