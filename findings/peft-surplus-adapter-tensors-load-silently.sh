#!/usr/bin/env bash
# peft 0.21.2 (transformers 5.23.0, torch 2.13.0)
#
# Guess:  PeftModel.from_pretrained warns when the adapter's file and its configuration do not fit, in both directions: tensors that
#         are missing, and tensors that nothing takes.
# Truth:  it warns of the missing ones alone ("Found missing adapter keys"). Tensors of layers that target_modules does not name are dropped
#         without a warning or an error: the adapter of six layers runs as one of four.
# Matters: an adapter_config.json next to the weights of another run (one target more, all layers instead of some) gives a model that loads, runs and is
#         another one. Only the score shows it. Comparing the keys of the file with get_peft_model_state_dict() does, before.
# Output seen (an adapter of query, value and output.dense; largest difference of its logits):
#   as saved:                     0.000, no warning
#   without the B of a layer:     warns of missing keys
#   config without output.dense:  differs, no warning
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$folder"
cat > check.py <<'PY'
import json
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

torch.manual_seed(0)
config = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=16,
)
BertForSequenceClassification(config).save_pretrained("base")
tokens = torch.tensor([[1, 2, 3]])


def base():
    return BertForSequenceClassification.from_pretrained("base")


adapted = get_peft_model(base(), LoraConfig(r=2, target_modules=["query", "value", "output.dense"])).eval()
for name, parameter in adapted.named_parameters():
    if "lora_" in name:
        torch.nn.init.normal_(parameter)
expected = adapted(tokens).logits
adapted.save_pretrained("adapter")
weights, settings = Path("adapter/adapter_model.safetensors"), Path("adapter/adapter_config.json")
tensors, saved = load_file(weights), json.loads(settings.read_text())


def load(what):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = PeftModel.from_pretrained(base(), "adapter").eval()
    warned = [str(w.message) for w in caught if "adapter" in str(w.message)]
    difference = (loaded(tokens).logits - expected).abs().max().item()
    if warned:
        answer = "warns of missing keys" if warned[0].startswith("Found missing adapter keys") else warned[0]
    else:
        answer = f"{'differs' if difference > 0.01 else f'{difference:.3f}'}, no warning"
    print(f"{what + ':':30}{answer}")
    return answer


answers = [load("as saved")]
save_file({name: t for name, t in tensors.items() if "layer.0.output.dense.lora_B" not in name}, weights)
answers.append(load("without the B of a layer"))
save_file(tensors, weights)
settings.write_text(json.dumps(saved | {"target_modules": ["query", "value"]}))
answers.append(load("config without output.dense"))
raise SystemExit(answers != ["0.000, no warning", "warns of missing keys", "differs, no warning"])
PY
TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 "$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: a warning in both directions; really: surplus tensors are dropped silently"
