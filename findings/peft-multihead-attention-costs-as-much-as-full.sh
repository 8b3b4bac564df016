#!/usr/bin/env bash
# peft 0.21.2 (torch 2.13.0)
#
# Guess:  LoRA on an nn.MultiheadAttention is a low-rank branch, as on nn.Linear: no gradient of the large matrices is computed.
# Truth:  PEFT adds BA to the attention's weights before each forward pass, so the backward pass computes the dense gradient of
#         the whole in-projection and out-projection first and reduces it to A and B afterwards. A step of LoRA takes as many
#         floating-point operations as full fine-tuning (1.02 times); the same attention written with four nn.Linear takes 0.82.
# Matters: encoders built from torch's own layers (nn.TransformerEncoderLayer and others) get LoRA's small optimizer state but
#         none of its saving in time or energy, and hold a dense gradient in memory during the backward pass. A ratio of step times
#         "LoRA / full" near 1 then says something of the module class, not of LoRA.
# Output seen (one attention of width 64, 256 tokens, rank 4):
#   nn.MultiheadAttention full 29.6 MFLOP a step, LoRA 30.1, LoRA / full 1.02
#   four nn.Linear        full 29.6 MFLOP a step, LoRA 24.2, LoRA / full 0.82
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
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

x = torch.randn(8, 32, 64)


class Torch(nn.Module):
    def __init__(self):
        super().__init__()
        self.below, self.attention, self.head = nn.Linear(64, 64), nn.MultiheadAttention(64, 4, batch_first=True), nn.Linear(64, 2)

    def forward(self, x):
        x = self.below(x)
        return self.head(self.attention(x, x, x, need_weights=False)[0])


class Linears(nn.Module):
    def __init__(self):
        super().__init__()
        self.below, self.head = nn.Linear(64, 64), nn.Linear(64, 2)
        self.query, self.key, self.value, self.out = (nn.Linear(64, 64) for _ in range(4))

    def forward(self, x):
        x = self.below(x)
        query, key, value = (layer(x).unflatten(-1, (4, 16)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        return self.head(self.out(nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)))


def megaflops(model):
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops() / 1e6


print("peft", peft.__version__)
ratios = []
for name, kind, targets in (("nn.MultiheadAttention", Torch, ["attention"]), ("four nn.Linear", Linears, ["query", "key", "value", "out"])):
    full = megaflops(kind())
    model = get_peft_model(kind(), LoraConfig(r=4, target_modules=targets)).train()
    model.base_model.model.below.weight.requires_grad_(True)  # so that the attention's input needs a gradient, as inside an encoder
    lora = megaflops(model)
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing, missing
    ratios.append(lora / full)
    print(f"{name:21} full {full:.1f} MFLOP a step, LoRA {lora:.1f}, LoRA / full {lora / full:.2f}")
ok = ratios[0] > 1 and ratios[1] < 0.9
print("by guess: both well below 1; really:",
      "LoRA on nn.MultiheadAttention computes as much as full fine-tuning" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
