"""Adapters open in older releases of PEFT, with the transformers of their time."""

import json

import pytest
from builders import LORA, trained
from other_tools import run_python
from safetensors.numpy import load_file

from lora_core.data import batches

pytestmark = pytest.mark.packaging

OLDER = {
    "0.12.0": ("transformers==4.44.2", "tokenizers==0.19.1", "huggingface-hub==0.25.2", "accelerate==0.34.2"),
    "0.14.0": ("transformers==4.48.3", "tokenizers==0.21.0", "huggingface-hub==0.28.1", "accelerate==1.3.0"),
}
ON = {"peft_type": "LORA", "target_modules": ["query", "value"]}
METHODS = {
    "own LoRA": LORA,
    "LoRA by PEFT": {"kind": "peft", "config": ON | {"r": 4, "lora_alpha": 8}},
    "rsLoRA by PEFT": {"kind": "peft", "config": ON | {"use_rslora": True}},
}
OPEN = """
import json, sys, warnings
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification
base, runs, examples = json.loads(sys.argv[1])
logits = {}
for name, folder in runs.items():
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(plain, folder).eval()
    assert not [w for w in caught if "keyword" in str(w.message)], [str(w.message) for w in caught]
    with torch.inference_mode():
        logits[name] = [model(input_ids=torch.tensor([ids])).logits[0].tolist() for ids in examples]
print(json.dumps(logits))
"""


@pytest.fixture(scope="module")
def runs(bert, cola, tmp_path_factory):
    """A finished run of each method."""
    folder = tmp_path_factory.mktemp("runs")
    changes = {"hyperparameters": {"learning_rate": 1e-2}}
    return {name: trained(settings, bert, cola, folder / name, **changes) for name, settings in METHODS.items()}


@pytest.mark.parametrize("version", OLDER)
def test_an_older_peft_opens_an_adapter_with_the_same_logits(version, runs, bert, cola, peers, tmp_path):
    examples = batches.load(cola / "validation.safetensors")
    texts = [examples.tokens[a:b].tolist() for a, b in zip(examples.offsets, examples.offsets[1:], strict=False)]
    folders = {name: str(run / "weights") for name, run in runs.items()}
    python = peers(f"peft=={version}", *OLDER[version])
    output = run_python(python, OPEN, json.dumps([str(bert), folders, texts]), folder=tmp_path)
    for name, logits in json.loads(output.splitlines()[-1]).items():
        recorded = load_file(runs[name] / "predictions.safetensors")["logits"][-1]
        assert abs(recorded - logits).max() < 1e-5, name
