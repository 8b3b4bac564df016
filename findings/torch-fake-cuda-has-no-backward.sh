#!/usr/bin/env bash
# torch 2.13.0
#
# Guess:  FakeTensorMode with device "cuda" stands for a GPU on a machine without one: a whole training step can be counted there
#         (its operations, or what it keeps for backward), forward and backward.
# Truth:  tensors, layers and the forward pass work. `backward()` raises RuntimeError, because the engine asks CUDA for the context of
#         a device that is not there; and torch.autocast("cuda") turns itself off with a warning, so the forward pass that works is
#         float32's. With device "cpu" both work.
# Matters: what is counted of a bfloat16 step without a GPU is half of it, in another precision. A predictor for GPUs that is tested in CI
#         on CPUs is tested on neither.
# Output seen (one layer under autocast to bfloat16):
#   fake cpu: forward bfloat16, backward done
#   fake cuda: forward float32, backward RuntimeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0
cd "$folder"
cat > check.py <<'PY'
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode


def step(device):
    with FakeTensorMode():
        layer, x = nn.Linear(8, 8, device=device), torch.ones(4, 8, device=device)
        with torch.autocast(device, torch.bfloat16):
            y = layer(x)
        try:
            y.float().sum().backward()
            backward = "done"
        except RuntimeError as error:
            backward = type(error).__name__
    return f"fake {device}: forward {str(y.dtype).removeprefix('torch.')}, backward {backward}"


assert not torch.cuda.is_available(), "this is about machines without a GPU"
seen = [step("cpu"), step("cuda")]
print(*seen, sep="\n")
expected = ["fake cpu: forward bfloat16, backward done", "fake cuda: forward float32, backward RuntimeError"]
raise SystemExit(seen != expected)
PY
CUDA_VISIBLE_DEVICES="" "$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: both do both; really: a fake GPU has a forward pass in float32 and no backward pass"
