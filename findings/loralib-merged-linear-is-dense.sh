#!/usr/bin/env bash
# loralib 0.1.2 (torch 2.13.0)
#
# Guess:  MergedLinear (one matrix for query, key and value) computes (x A) B like loralib's Linear: cheaper than training W.
# Truth:  it builds the whole matrix BA, padded with zeros to the shape of W, and multiplies x by it: a second dense product forward, and
#         a dense gradient of BA backward. A training step takes 1.9 times the floating-point operations of full fine-tuning;
#         Linear of the same shape and rank takes 0.75. merge_weights=False changes nothing here.
# Matters: it is the layer of the reference implementation for a fused qkv matrix. A step time measured with it says that LoRA is
#         slower than full fine-tuning; with three separate layers of the same library it is faster.
# Output seen (64 -> 192, 32 rows, rank 4):
#   nn.Linear, W trained   2.36 MFLOP a step, / full 1.00
#   loralib.Linear         1.77 MFLOP a step, / full 0.75
#   loralib.MergedLinear   4.42 MFLOP a step, / full 1.88
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 loralib==0.1.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY' 2> errors || { cat errors; exit 1; }
import sys
from importlib.metadata import version

import loralib
import torch
from torch.utils.flop_counter import FlopCounterMode

x = torch.randn(32, 64, requires_grad=True)  # needs a gradient, as it does above the first layer of an encoder


def megaflops(layer):
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    return counter.get_total_flops() / 1e6


def frozen(layer):
    layer.weight.requires_grad_(False)
    return layer


settings = {"r": 4, "lora_alpha": 4, "merge_weights": False}
results = {
    "nn.Linear, W trained": megaflops(torch.nn.Linear(64, 192)),
    "loralib.Linear": megaflops(frozen(loralib.Linear(64, 192, **settings))),
    "loralib.MergedLinear": megaflops(frozen(loralib.MergedLinear(64, 192, enable_lora=[True, True, True], **settings))),
}
full = results["nn.Linear, W trained"]
print("loralib", version("loralib"))
for name, value in results.items():
    print(f"{name:22} {value:.2f} MFLOP a step, / full {value / full:.2f}")
ok = results["loralib.Linear"] < 0.8 * full and results["loralib.MergedLinear"] > 1.5 * full
print("by guess: both below full; really:",
      "MergedLinear multiplies by a dense BA" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
