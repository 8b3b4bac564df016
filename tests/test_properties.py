"""What must hold for any input, tried with inputs that hypothesis makes up."""

import math

import numpy as np
import torch
import yaml
from builders import ROOT, energy_run
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_core.config import study as config
from lora_core.data import batches as data
from lora_core.data.tasks import PAPER_TASKS
from lora_core.evaluation.cost_to_threshold import cost_to_reach
from lora_core.measuring import power_trace as trace
from lora_core.methods.layers import LoRALinear
from lora_core.records import PowerRow

settings.register_profile("project", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("project")
METHODS = ("fft", "lora", "lora_ref")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
positive = st.floats(1e-3, 1e6)


def some(values, least: int = 1):
    """A subset in any order."""
    return st.lists(st.sampled_from(list(values)), min_size=least, unique=True)


CONFIGURATIONS = st.fixed_dictionaries(
    {
        "tasks": some(PAPER_TASKS),
        "methods": some(METHODS),
        "seeds": st.lists(st.integers(0, 2**31), min_size=1, max_size=5, unique=True),
        "lora": st.fixed_dictionaries(
            {
                "rank": st.integers(1, 64),
                "alpha": positive,
                "targets": st.lists(st.from_regex(r"\A[a-z_]{1,9}\Z"), min_size=1, max_size=8, unique=True),
            }
        ),
        "ranks": st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True),
        "train": st.fixed_dictionaries(
            {"precision": st.sampled_from(["fp32", "bf16"]), "checkpoint_seconds": st.none() | st.floats(0, 1e6)}
        ),
        "margin": st.floats(0.001, 0.9),
    }
)


@given(drawn=CONFIGURATIONS)
def test_a_configuration_comes_back_from_yaml_as_it_was(drawn):
    tasks, methods = drawn["tasks"], drawn["methods"]
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    values |= {"tasks": tasks, "methods": [*methods, "swept"], "seeds": drawn["seeds"]}
    sweep = {"rank": drawn["ranks"], "targets": [drawn["lora"]["targets"], ["query"]]}
    values["method_settings"]["swept"] = {"kind": "lora", "sweep": sweep}
    values["method_settings"]["lora"] |= drawn["lora"]
    values["train"] |= drawn["train"]
    values["measure"] |= {"latency_margin": drawn["margin"]}
    study = config.load(values)
    again = config.load(yaml.safe_load(yaml.safe_dump(study.model_dump(mode="json", exclude_unset=True))))
    assert again == study
    assert [again.hyperparameters(m, t) for m in methods for t in tasks] == [
        study.hyperparameters(m, t) for m in methods for t in tasks
    ]


@given(
    lengths=st.lists(st.integers(1, 512), min_size=1, max_size=600), size=st.integers(1, 40),
    seed=st.integers(0, 2**63),
    batching=st.sampled_from(["random", "length_grouped"]),
)  # fmt: skip
def test_every_example_is_in_one_batch_and_padding_is_bounded(lengths, size, seed, batching):
    batches = data.order(np.array(lengths), size, batching, seed)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == math.ceil(len(lengths) / size)
    if batching == "length_grouped":
        # In a chunk sorted by length no batch is longer than the next one's shortest: padding adds up
        # to at most a batch of the whole range.
        computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
        chunks = math.ceil(len(lengths) / (size * data.CHUNK_BATCHES))
        assert computed - sum(lengths) <= chunks * size * (max(lengths) - min(lengths))


@given(
    rank=st.integers(1, 12), alpha=st.floats(0.01, 64), inputs=st.integers(1, 24), outputs=st.integers(1, 24),
    dtype=st.sampled_from(DTYPES), spread=st.floats(1e-3, 10), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_merging_is_exact_to_rounding_undone_exactly_and_twice_is_once(
    rank, alpha, inputs, outputs, dtype, spread, seed
):
    torch.manual_seed(seed)
    layer = LoRALinear(torch.nn.Linear(inputs, outputs).to(dtype), rank, alpha)
    torch.nn.init.normal_(layer.lora_B, std=spread)
    before = layer.weight.detach().clone()
    a, b = (p.detach().double() for p in (layer.lora_A, layer.lora_B))
    delta = layer.scale * (b @ a)
    layer.toggle_merge(True)
    merged = layer.weight.detach().clone()
    eps = torch.finfo(dtype).eps
    # Each of the rank's products and sums rounds once in at least float32, the weight once more in its own type.
    terms = layer.scale * (b.abs() @ a.abs())
    within = (eps if dtype == torch.float64 else torch.finfo(torch.float32).eps) * (rank + 2)
    bound = eps * max(before.double().abs().max(), delta.abs().max()) + within * terms.max()
    if torch.isfinite(merged).all():  # float16 ends at 65,504
        assert (merged.double() - (before.double() + delta)).abs().max() <= bound
    layer.toggle_merge(True)
    assert torch.equal(layer.weight, merged) or not torch.isfinite(merged).all()
    layer.toggle_merge(False)
    assert torch.equal(layer.weight, before)
    layer.toggle_merge(False)
    assert torch.equal(layer.weight, before)


@given(scores=st.lists(st.floats(-1, 1), min_size=1, max_size=12), bounds=st.lists(st.floats(-1, 1), min_size=2))
def test_a_higher_threshold_is_reached_no_sooner(scores, bounds):
    run = energy_run("lora", 1, scores)
    reached = [cost_to_reach(run, bound).epochs or math.inf for bound in sorted(bounds)]
    assert reached == sorted(reached)


@given(
    gaps=st.lists(st.floats(0.01, 5), min_size=2, max_size=40), watts=st.floats(1, 700), cut=st.integers(1, 38),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_the_energy_of_a_window_split_anywhere_adds_up(gaps, watts, cut, seed):
    power = np.random.default_rng(seed).uniform(0, watts, len(gaps))
    counter = np.cumsum(power * gaps) * 1e3
    rows = [
        PowerRow(float(at), 0, "train", "gpu", float(p), None, None, float(c))
        for at, p, c in zip(np.cumsum(gaps), power, counter, strict=True)
    ]
    cut = 1 + cut % (len(rows) - 1) if len(rows) > 2 else 1
    parts = rows[: cut + 1], rows[cut:]
    for joules in (trace.counter_joules, trace.trapezoid_joules):
        split = [joules(part) or 0.0 for part in parts]
        assert math.isclose(sum(split), joules(rows), rel_tol=1e-9, abs_tol=1e-9)
