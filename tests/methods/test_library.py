"""The package as a library: five names on any torch model, without the workflow's packages."""

import copy
import json
import os
import stat
import subprocess
import sys

import pytest
import torch
from builders import LABELS, ROOT
from torch import nn

from lora_core import LoRALinear, inject, load_adapter, merge, save_adapter
from lora_core.models import model as models

USED_ALONE = """
import sys

REFUSED = "snakemake", "transformers", "datasets", "pandas", "pydantic", "peft", "annotated_types", "huggingface_hub"

class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in REFUSED:
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import lora_core
assert "torch" not in sys.modules
import torch
from lora_core import LoRALinear, inject, load_adapter, merge, save_adapter
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
adapted = inject(model(), ["0"], rank=2, alpha=4)
adapted(torch.ones(1, 4)).sum().backward()
save_adapter(adapted, sys.argv[1])
loaded = load_adapter(model(), sys.argv[1])
same = torch.equal(loaded[0].lora_A, adapted[0].lora_A)
print(isinstance(loaded[0], LoRALinear), same, type(merge(loaded)[0]).__name__)
"""


def test_it_works_with_torch_and_safetensors_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", USED_ALONE, tmp_path / "adapter"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "True True Linear", done.stderr


def model():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Double(nn.Linear):
    """A subclass of nn.Linear with a forward pass and an attribute of its own."""

    factor = 2.0

    def forward(self, x):
        return super().forward(x) * self.factor


def trained(adapted, steps=3):
    """The model after some steps on random inputs, in evaluation mode."""
    torch.manual_seed(1)
    x = torch.randn(3, 5, 16)
    sgd = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        sgd.zero_grad()
        adapted(x)[..., 0].square().sum().backward()
        sgd.step()
    return adapted.eval()


def test_any_torch_model_is_injected_trained_and_merged():
    adapted = inject(model(), ["linear1", "linear2"], rank=4, alpha=8, generator=torch.Generator().manual_seed(1))
    base, x = copy.deepcopy(adapted).eval(), torch.randn(3, 5, 16)
    assert sum(isinstance(module, LoRALinear) for module in adapted.modules()) == 4
    assert {name.rpartition(".")[2] for name, p in adapted.named_parameters() if p.requires_grad} == {
        "lora_A",
        "lora_B",
    }
    unmerged = trained(adapted)(x)
    assert not torch.allclose(unmerged, base(x), atol=1e-3)
    torch.testing.assert_close(merge(adapted)(x), unmerged, rtol=1e-5, atol=1e-5)
    assert not torch.equal(adapted.layers[0].linear1.weight, base.layers[0].linear1.weight)


def test_merging_puts_the_original_linear_layers_back():
    plain = model()
    plain.layers[1].linear2 = Double(32, 16)
    before = {name: module for name, module in plain.named_modules() if isinstance(module, nn.Linear)}
    parameters = dict(plain.named_parameters())
    structure = repr(plain)
    adapted = trained(inject(plain, ["linear1", "linear2"], rank=4, alpha=8))
    weights = {name: module.weight.clone() for name, module in before.items()}
    deltas = {name: layer.delta() for name, layer in adapted.named_modules() if isinstance(layer, LoRALinear)}
    merge(adapted)
    after = {name: module for name, module in adapted.named_modules() if isinstance(module, nn.Linear)}
    assert all(module is before[name] for name, module in after.items())
    assert after.keys() == before.keys()
    assert all(p is parameters[name] for name, p in adapted.named_parameters())
    assert repr(adapted) == structure
    assert all(torch.equal(after[name].weight, weights[name] + delta) for name, delta in deltas.items())
    assert all(deltas[name].abs().max() > 0 for name in deltas)
    assert not [name for name in vars(after["layers.0.linear1"]) if "lora" in name or "unmerged" in name]
    assert not any(module.training for module in adapted.modules())
    assert adapted.layers[0].activation_relu_or_gelu == 1  # torch may use its fused path again


def test_merging_a_layer_that_is_merged_already_adds_no_second_update():
    adapted = trained(inject(model(), ["linear1"], rank=4, alpha=8))
    expected = copy.deepcopy(adapted)
    adapted.layers[0].linear1.toggle_merge(True)
    merge(adapted)
    merge(merge(expected))  # the second call finds nothing to merge
    for ours, theirs in zip(adapted.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_merging_a_copy_leaves_the_original_alone():
    adapted = trained(inject(model(), ["linear1"], rank=4, alpha=8))
    weight = adapted.layers[0].linear1.weight.clone()
    merge(copy.deepcopy(adapted))
    assert torch.equal(adapted.layers[0].linear1.weight, weight)


def test_a_weight_that_another_module_shares_is_not_merged():
    tied = nn.ModuleDict({"embedding": nn.Embedding(8, 4), "output": nn.Linear(4, 8, bias=False)})
    tied["output"].weight = tied["embedding"].weight
    inject(tied, ["output"])
    with pytest.raises(ValueError, match="output: another module shares this layer's weight"):
        merge(tied)


def with_head():
    """A model with a head that is trained together with LoRA."""
    whole = nn.Sequential()
    whole.add_module("encoder", model())
    whole.add_module("head", nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 3)))
    return whole


@pytest.fixture
def saved(tmp_path):
    """A trained model, and the folder of its adapter."""
    adapted = inject(with_head(), ["linear1", "linear2"], rank=4, alpha=8)
    adapted.head.requires_grad_(True)
    save_adapter(trained(adapted), tmp_path / "adapter", base_model="an-encoder")
    return adapted, tmp_path / "adapter"


def test_a_saved_adapter_loads_into_a_fresh_base_model(saved):
    adapted, folder = saved
    x = torch.randn(3, 5, 16)
    fresh = with_head().eval()
    assert not torch.allclose(fresh(x), adapted(x), atol=1e-3)
    loaded = load_adapter(fresh, folder)
    assert loaded is fresh
    assert torch.equal(loaded(x), adapted(x))
    ours, theirs = ({n for n, p in m.named_parameters() if p.requires_grad} for m in (loaded, adapted))
    assert ours == theirs
    assert {file.name for file in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_saved_adapter_loads_with_peft(saved):
    from peft import PeftModel

    adapted, folder = saved
    x = torch.randn(3, 5, 16)
    other = PeftModel.from_pretrained(with_head(), folder).eval()
    for layer in other.modules():  # PEFT replaces the modules that torch's fused path reads directly
        if isinstance(layer, nn.TransformerEncoderLayer):
            layer.activation_relu_or_gelu = 0
    torch.testing.assert_close(other(x), adapted(x), rtol=1e-6, atol=1e-6)


def test_an_adapter_that_peft_wrote_loads(tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["linear1"], modules_to_save=["head"], init_lora_weights=False
    )
    theirs = get_peft_model(with_head(), config).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_adapter(with_head(), tmp_path).eval()
    for module in theirs.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
    x = torch.randn(3, 5, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(ours(x), with_head().eval()(x), atol=1e-3)


def test_the_adapter_of_a_transformers_model_loads_with_peft_and_here(bert, tmp_path):
    from peft import PeftModel

    def base():
        return models.load(bert, LABELS, torch.Generator().manual_seed(3)).eval()

    adapted = inject(base(), ["query", "value"], rank=4, alpha=8)
    adapted.classifier.requires_grad_(True)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    save_adapter(adapted, tmp_path)
    ids = torch.tensor([[5, 6, 7, 8]])
    expected = adapted(input_ids=ids).logits
    assert not torch.allclose(base()(input_ids=ids).logits, expected, atol=1e-3)
    assert torch.equal(load_adapter(base(), tmp_path)(input_ids=ids).logits, expected)
    other = PeftModel.from_pretrained(base(), tmp_path).eval()
    torch.testing.assert_close(other(input_ids=ids).logits, expected, rtol=1e-6, atol=1e-6)


def test_the_configuration_is_sorted_and_says_what_was_injected(saved):
    config = json.loads((saved[1] / "adapter_config.json").read_text())
    assert list(config) == sorted(config)
    assert (config["r"], config["modules_to_save"]) == (4, ["head"])
    assert "lora_alpha" not in config  # it is 8, PEFT's default
    assert config["base_model_name_or_path"] == "an-encoder"
    assert config["target_modules"] == [f"encoder.layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.encoder.layers[0], "linear1", nn.Linear(16, 31)), "is for a weight of shape"),
        (lambda m: setattr(m.encoder.layers[0], "linear1", nn.Identity()), "does not fit this model"),
        (lambda m: setattr(m, "head", nn.Linear(16, 3)), "which this model lacks or has in another shape"),
    ],
)
def test_an_adapter_of_another_model_is_refused_before_anything_is_changed(saved, change, message):
    other = with_head()
    change(other)
    before = repr(other)
    with pytest.raises(ValueError, match=message):
        load_adapter(other, saved[1])
    assert repr(other) == before
    assert all(p.requires_grad for p in other.parameters())


def test_what_an_adapter_folder_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no LoRALinear inside this model"):
        save_adapter(model(), tmp_path / "a")
    two_ranks = inject(inject(model(), ["linear1"], rank=2), ["linear2"], rank=4)
    with pytest.raises(ValueError, match="of the layers differ"):
        save_adapter(two_ranks, tmp_path / "a")
    inside = inject(model(), ["linear1"])
    inside.layers[0].linear2.requires_grad_(True)
    save_adapter(inside, tmp_path / "b")  # linear2 is a module of its own
    inside.register_parameter("scale", nn.Parameter(torch.ones(1)))
    with pytest.raises(ValueError, match="scale is trained, but no module with it is free of LoRALinears"):
        save_adapter(inside, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_name_that_no_module_has_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"no linear module is called \['query'\]; this model has .*'linear1'"):
        inject(model(), ["query"])


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_the_umask_decides_who_reads_a_saved_adapter(umask, mode, tmp_path):
    adapted = inject(model(), ["linear1"], rank=2, alpha=4)
    before = os.umask(umask)
    try:
        save_adapter(adapted, tmp_path / "adapter")
    finally:
        os.umask(before)
    files = tmp_path.joinpath("adapter").iterdir()
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in files} == {
        "adapter_config.json": mode,
        "adapter_model.safetensors": mode,
    }


def test_the_public_names_are_few():
    import lora_core

    assert lora_core.__all__ == ["LoRALinear", "inject", "load_adapter", "merge", "save_adapter"]
    assert all(getattr(lora_core, name).__name__ == name for name in lora_core.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'injekt'"):
        lora_core.injekt  # noqa: B018


def test_a_module_that_torch_reads_directly_and_a_rank_of_none_are_refused():
    with pytest.raises(ValueError, match=r"self_attn\.out_proj belongs to torch's MultiheadAttention"):
        inject(model(), ["out_proj"])
    with pytest.raises(ValueError, match="rank is 0"):
        inject(model(), ["linear1"], rank=0)
