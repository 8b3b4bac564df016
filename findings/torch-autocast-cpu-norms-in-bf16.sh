#!/usr/bin/env bash
# torch 2.13.0
#
# Guess:  bf16 autocast is one recipe: products in bfloat16; layer norm, softmax and sums in float32, on a CPU as on a GPU.
# Truth:  the float32 list of a CPU is another one. Layer norm, softmax, log-softmax, sums, powers and norms have rules for CUDA and none for
#         CPU, so on a CPU they run and answer in bfloat16 when what they are given is bfloat16. Losses (nll, mse) are float32 on both.
#         (The CUDA column is torch's own table of registered rules, read on a CPU: no GPU is needed, none was used.)
# Matters: "bf16" on a CPU and "bf16" on a GPU are two precisions: what layer norm and softmax
#         return, and keep for backward, has half the size on a CPU and is rounded to 8 bits. A rehearsal on a CPU says neither what memory a
#         bf16 run takes on a GPU nor what accuracy bf16 costs. Name the device next to the precision.
# Output seen:
#   linear      on a CPU bfloat16 | has an autocast rule: CPU True, CUDA True
#   layer_norm  on a CPU bfloat16 | has an autocast rule: CPU False, CUDA True
#   softmax     on a CPU bfloat16 | has an autocast rule: CPU False, CUDA True
#   log_softmax on a CPU bfloat16 | has an autocast rule: CPU False, CUDA True
#   sum         on a CPU bfloat16 | has an autocast rule: CPU False, CUDA True
#   norm        on a CPU bfloat16 | has an autocast rule: CPU False, CUDA True
#   mse_loss    on a CPU float32  | has an autocast rule: CPU True, CUDA True
#   nll_loss    on a CPU float32  | has an autocast rule: CPU True, CUDA True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY' 2> errors || { cat errors; exit 1; }
import sys

import torch
from torch import nn
from torch.nn import functional as F

rule = torch._C._dispatch_has_kernel_for_dispatch_key
layer, norm, x = nn.Linear(8, 8), nn.LayerNorm(8), torch.randn(4, 8)
labels = torch.zeros(4, dtype=torch.long)
with torch.autocast("cpu", torch.bfloat16):
    y = layer(x)
    answers = {
        "linear": ("linear", y),
        "layer_norm": ("layer_norm", norm(y)),
        "softmax": ("softmax.int", y.softmax(-1)),
        "log_softmax": ("log_softmax.int", y.log_softmax(-1)),
        "sum": ("sum", y.sum()),
        "norm": ("norm.Scalar", y.norm()),
        "mse_loss": ("mse_loss", F.mse_loss(y, y)),
        "nll_loss": ("nll_loss", F.nll_loss(y, labels)),
    }
print("torch", torch.__version__.split("+")[0])
rows = {}
for name, (operator, answer) in answers.items():
    rows[name] = (str(answer.dtype).removeprefix("torch."), *(rule(f"aten::{operator}", f"Autocast{device}") for device in ("CPU", "CUDA")))
    print(f"{name:11} on a CPU {rows[name][0]:8} | has an autocast rule: CPU {rows[name][1]}, CUDA {rows[name][2]}")
ok = (all(rows[name] == ("bfloat16", False, True) for name in ("layer_norm", "softmax", "log_softmax", "sum", "norm"))
      and rows["linear"] == ("bfloat16", True, True) and rows["mse_loss"] == rows["nll_loss"] == ("float32", True, True))
print("by guess: norms, softmax and sums are float32 on both; really:",
      "bfloat16 on a CPU" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
