#!/usr/bin/env bash
# peft 0.21.2 (transformers 5.23.0, torch 2.13.0)
#
# Guess:  "all params" of print_trainable_parameters() is the base model with the adapter.
# Truth:  for a classifier it is larger by one head: PEFT trains a copy of the head, keeps the frozen original beside it, and
#         counts both. So "trainable%" is too small, and the memory and the saved full model of that many parameters do not
#         exist: after merge_and_unload the surplus is gone.
# Matters: RoBERTa-base has a head of 592,130 parameters with two classes, twice what LoRA of rank 8 on query and value adds, so the share
#         that papers quote differs in the third digit from parameters counted by hand.
# Output seen:
#   base 77250, adapter 4096, head 4290
#   base + adapter 81346, peft says 85636, after merging 77250
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 peft==0.21.2
cd "$folder"
cat > check.py <<'PY'
import sys

import peft
from transformers import AutoConfig, AutoModelForSequenceClassification


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


config = AutoConfig.for_model(
    "roberta", vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
    max_position_embeddings=40)
model = AutoModelForSequenceClassification.from_config(config)
base, head = count(model.parameters()), count(model.classifier.parameters())
adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=8))
adapter = count(parameter for name, parameter in adapted.named_parameters() if "lora_" in name)
_, said = adapted.get_nb_trainable_parameters()
merged = count(adapted.merge_and_unload().parameters())
print("peft", peft.__version__)
print(f"base {base}, adapter {adapter}, head {head}")
print(f"base + adapter {base + adapter}, peft says {said}, after merging {merged}")
ok = said == base + adapter + head and merged == base
print("by guess: base + adapter; really:", "one head more" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
"$folder/venv/bin/python" -W ignore check.py
