"""The package as a library: three names on any torch model, without the workflow's packages."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from builders import ROOT
from torch import nn

from lora_core import LoRALinear, inject, merge

USED_ALONE = """
import sys

class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("snakemake", "transformers", "datasets", "pandas", "pydantic", "peft", "safetensors"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import lora_core
assert "torch" not in sys.modules
import torch
from lora_core import LoRALinear, inject, merge
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
inject(model, ["0"], rank=2, alpha=4)
model(torch.ones(1, 4)).sum().backward()
merge(model)
print(isinstance(model[0], LoRALinear), model[0].merged)
"""


def test_it_works_without_what_only_the_workflow_needs():
    done = subprocess.run(
        [sys.executable, "-c", USED_ALONE], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.strip() == "True True", done.stderr


def model():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def test_any_torch_model_is_injected_trained_and_merged():
    adapted = inject(model(), ["linear1", "linear2"], rank=4, alpha=8, generator=torch.Generator().manual_seed(1))
    base, x = copy.deepcopy(adapted).eval(), torch.randn(3, 5, 16)
    assert sum(isinstance(module, LoRALinear) for module in adapted.modules()) == 4
    assert {name.rpartition(".")[2] for name, p in adapted.named_parameters() if p.requires_grad} == {
        "lora_A",
        "lora_B",
    }
    sgd = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=1.0)
    for _ in range(3):
        adapted(x).square().sum().backward()
        sgd.step()
    adapted.eval()
    apart = adapted(x)
    assert not torch.allclose(apart, base(x), atol=1e-3)
    torch.testing.assert_close(merge(adapted)(x), apart, rtol=1e-5, atol=1e-5)
    assert not torch.equal(adapted.layers[0].linear1.weight, base.layers[0].linear1.weight)
    merge(adapted, False)
    assert torch.equal(adapted.layers[0].linear1.weight, base.layers[0].linear1.weight)


def test_a_name_that_no_module_has_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"no linear module is called \['query'\]; this model has .*'linear1'"):
        inject(model(), ["query"])


def test_the_public_names_are_few():
    import lora_core

    assert lora_core.__all__ == ["LoRALinear", "inject", "merge"]
    with pytest.raises(AttributeError, match="has no attribute 'injekt'"):
        lora_core.injekt  # noqa: B018


def test_a_module_that_torch_reads_directly_and_a_rank_of_none_are_refused():
    with pytest.raises(ValueError, match=r"self_attn\.out_proj belongs to torch's MultiheadAttention"):
        inject(model(), ["out_proj"])
    with pytest.raises(ValueError, match="rank is 0"):
        inject(model(), ["linear1"], rank=0)
