#!/usr/bin/env bash
# peft 0.21.2 (transformers 5.23.0, torch 2.13.0)
#
# Guess:  the loss of an AdaLoRA model in eval() is the loss of the task, as it is for LoRA.
# Truth:  AdaLoRA adds orth_reg_weight (0.5) x mean ||PP^T - I|| to outputs.loss in every forward pass, eval() and
#         no_grad() too. A fresh adapter, whose logits are exactly those of the base model, has a loss of 2.41
#         where cross-entropy is 0.70.
# Matters: validation loss, early stopping and load_best_model_at_end (which take eval_loss) see the penalty for this
#         one method. Loss curves of AdaLoRA, LoRA and full fine-tuning are not on one scale: compute the loss from
#         the logits. (Before the first update_and_allocate the matrices also have init_r = 12 rows, not r or target_r = 8.)
# Output seen:
#   LoraConfig      loss 0.6983, cross-entropy of the logits 0.6983
#   AdaLoraConfig   loss 2.4077, cross-entropy of the logits 0.6983
#   AdaLoraConfig with orth_reg_weight=0   loss 0.6983
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY' 2> errors || { cat errors; exit 1; }
import sys

import peft
import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

config = BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
torch.manual_seed(1)
ids, labels = torch.randint(0, 100, (4, 8)), torch.tensor([0, 1, 0, 1])


def losses(adapter):
    torch.manual_seed(0)
    model = get_peft_model(BertForSequenceClassification(config), adapter).eval()
    with torch.no_grad():
        out = model(input_ids=ids, labels=labels)
    return out.loss.item(), torch.nn.functional.cross_entropy(out.logits, labels).item()


common = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]}
lora = losses(LoraConfig(**common))
ada = losses(AdaLoraConfig(**common, total_step=100))
free = losses(AdaLoraConfig(**common, total_step=100, orth_reg_weight=0.0))
print("peft", peft.__version__)
print(f"LoraConfig      loss {lora[0]:.4f}, cross-entropy of the logits {lora[1]:.4f}")
print(f"AdaLoraConfig   loss {ada[0]:.4f}, cross-entropy of the logits {ada[1]:.4f}")
print(f"AdaLoraConfig with orth_reg_weight=0   loss {free[0]:.4f}")
ok = abs(lora[0] - lora[1]) < 1e-5 and ada[0] - ada[1] > 0.5 and abs(ada[1] - lora[1]) < 1e-5 and abs(free[0] - lora[0]) < 1e-5
print("by guess: both losses are the cross-entropy; really:",
      "AdaLoRA's has a penalty in eval() too" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
