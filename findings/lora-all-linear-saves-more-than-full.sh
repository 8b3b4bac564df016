#!/usr/bin/env bash
# peft 0.21.2, transformers 5.23.0, torch 2.13.0
#
# Guess:  LoRA keeps clearly fewer activations for the backward pass than full fine-tuning, whatever its targets and dropout.
# Truth:  on all linear layers it keeps as many (1.01 of them): the gradient of A needs each layer's input, as the gradient of W does. With
#         lora_dropout it keeps 1.3 to 1.7 times as many as full fine-tuning, because query, key and value no longer share one input:
#         each has its own dropped copy, and a mask. On query and value alone it is 0.68 without dropout and 0.76 to 0.83 with.
# Matters: what LoRA saves for sure is gradients and optimizer state. With long batches, where activations rule, LoRA on all linear
#         layers with dropout needs more memory than full fine-tuning; a memory ratio without targets and dropout named says little.
#         (A mask takes 4 bytes a value on a CPU, 1 on a GPU: the last column counts it as 1.)
# Output seen (BERT of 4 layers, width 128, 8 x 64 tokens, the model's own dropout 0):
#   full fine-tuning               17.4 MB
#   query and value dropout 0.0    11.7 MB, / full 0.68, masks of one byte 0.68
#   query and value dropout 0.1    14.4 MB, / full 0.83, masks of one byte 0.76
#   all-linear      dropout 0.0    17.5 MB, / full 1.01, masks of one byte 1.01
#   all-linear      dropout 0.1    29.0 MB, / full 1.67, masks of one byte 1.30
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
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

CONFIG = BertConfig(vocab_size=100, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
                    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def saved_megabytes(targets=None, dropout=0.0):
    """Bytes kept for backward, each storage once, parameters left out; and the same with masks of one byte a value."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(CONFIG)
    if targets:
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, target_modules=targets, lora_dropout=dropout))
    model.train()
    known = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    ids = torch.randint(0, 100, (8, 64))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.zeros(8, dtype=torch.long)).loss
    loss.backward()
    everything = sum(size for size, _ in kept.values())
    masks = sum(size for size, tensor in kept.values()
                if dropout and tensor.is_floating_point() and tensor.numel() > 1000 and len(tensor.unique()) == 2)
    return everything / 1e6, (everything - 0.75 * masks) / 1e6


print("peft", peft.__version__)
full = saved_megabytes()
ratio = {}
print(f"full fine-tuning              {full[0]:5.1f} MB")
for name, targets in (("query and value", ["query", "value"]), ("all-linear", "all-linear")):
    for dropout in (0.0, 0.1):
        counted, one_byte = saved_megabytes(targets, dropout)
        ratio[name, dropout] = one_byte / full[0]
        print(f"{name:15} dropout {dropout}   {counted:5.1f} MB, / full {counted / full[0]:.2f}, masks of one byte {one_byte / full[0]:.2f}")
ok = (ratio["query and value", 0.0] < 0.75 and 0.95 < ratio["all-linear", 0.0] < 1.05 and ratio["all-linear", 0.1] > 1.1)
print("by guess: clearly below full; really:",
      "as much on all linear layers, and more with dropout" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
