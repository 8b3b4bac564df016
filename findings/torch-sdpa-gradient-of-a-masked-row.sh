#!/usr/bin/env bash
# torch 2.13.0
#
# Guess:  scaled_dot_product_attention has one gradient, whichever backend computes it. A row whose keys are all masked with the smallest
#         float attends to all of them equally, and its gradient is that of the mean; or it is NaN as soon as the row is.
# Truth:  the outputs agree, but on a CPU the flash backend's gradients of such a row, of query, key and value, are as many times too
#         large as there are keys: 64 keys, 64 times, in float32, float64 and bfloat16. (Its backward recomputes the weights from the logarithm of their sum,
#         and smallest float + log(64) is the smallest float.) A mask of -10,000 or of booleans has the same gradient in both; with
#         booleans the row's output is 0, where the formula written out gives NaN.
# Matters: flash is the default on a CPU. Padding with a full row of finfo.min occurs in masks made for causal models, and a model
#         that pools over all positions then trains on gradients that no test of the forward pass shows to be wrong.
# Output seen (64 keys, one row masked; flash / math):
#   finfo.min, float32: output differs by 0.0, gradients of q, k, v: 64.0 64.0 64.0 times
#   finfo.min, float64: output differs by 0.0, gradients of q, k, v: 64.0 64.0 64.0 times
#   finfo.min, bfloat16: output differs by 0.0, gradients of q, k, v: 64.0 64.0 64.0 times
#   -10,000, float64: output differs by 0.0, gradients of q, k, v: 1.0 1.0 1.0 times
#   booleans: 0.0 by flash, 0.0 by math, nan by the formula
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0
cd "$folder"
cat > check.py <<'PY'
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

KEYS = 64


def row(backend, dtype, fill):
    """Output and gradients of the row that is masked."""
    torch.manual_seed(0)
    inputs = [torch.randn(1, 1, KEYS, 8, dtype=dtype).requires_grad_() for _ in range(3)]
    mask = torch.zeros(KEYS, KEYS, dtype=dtype)
    mask[1] = torch.finfo(dtype).min if fill is None else fill
    with sdpa_kernel(backend):
        output = scaled_dot_product_attention(*inputs, attn_mask=mask)[0, 0, 1]
    return output, torch.autograd.grad(output.sum(), inputs)


def ratios(name, dtype, fill=None):
    (expected, right), (output, gradients) = (row(b, dtype, fill) for b in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION))
    times = [round((g.norm() / r.norm()).item(), 2) for g, r in zip(gradients, right)]
    differs = round((output - expected).abs().max().item(), 3)
    label = str(dtype).removeprefix("torch.")
    print(f"{name}, {label}: output differs by {differs}, gradients of q, k, v:", *times, "times")
    return differs, times


results = [ratios("finfo.min", dtype) for dtype in (torch.float32, torch.float64, torch.bfloat16)]
usual = ratios("-10,000", torch.float64, -1e4)
q, k, v = torch.randn(3, 1, 1, KEYS, 8)
allowed = torch.ones(KEYS, KEYS, dtype=torch.bool)
allowed[1] = False
answers = []
for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
    with sdpa_kernel(backend):
        answers.append(scaled_dot_product_attention(q, k, v, attn_mask=allowed)[0, 0, 1, 0].item())
scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(~allowed, float("-inf"))
formula = (scores.softmax(-1) @ v)[0, 0, 1, 0].item()
print(f"booleans: {answers[0]} by flash, {answers[1]} by math, {formula} by the formula")
ok = results == [(0.0, [64.0] * 3)] * 3 and usual == (0.0, [1.0] * 3) and answers == [0.0, 0.0] and formula != formula
raise SystemExit(0 if ok else 1)
PY
"$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: the same gradient from every backend; really: 64 times as large by flash"
