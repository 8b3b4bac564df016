#!/usr/bin/env bash
# torch 2.13.0
#
# Guess:  under torch.autocast(..., dtype=bfloat16) a model on the meta device computes in bfloat16, as the real one does, so
#         a step's memory can be predicted there.
# Truth:  autocast looks at each tensor's device, and meta is none that it knows. Under autocast("cpu") everything on meta stays
#         float32 without a word, while torch.is_autocast_enabled("cpu") says True; autocast("meta") raises RuntimeError. So the bytes kept for
#         backward are float32's, and without the bfloat16 copy of the weight: a frozen layer keeps 0.50 of a trained one on meta and 0.75
#         really. FakeTensorMode with device "cpu" gives the real numbers.
# Matters: bfloat16 estimates on meta are float32 estimates under another name, and flatter LoRA.
# Output seen (one layer of 512 x 512, 256 rows, then tanh; kept for backward, parameters left out):
#   cpu       W trained: bfloat16, 1024 KB | W frozen: bfloat16, 768 KB
#   meta      W trained: float32, 1024 KB | W frozen: float32, 512 KB
#   fake cpu  W trained: bfloat16, 1024 KB | W frozen: bfloat16, 768 KB
#   autocast("meta"): RuntimeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY' 2> errors || { cat errors; exit 1; }
import contextlib
import sys

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode


def step(device, frozen, mode=contextlib.nullcontext):
    """Result's dtype and kilobytes kept for backward under autocast("cpu")."""
    with mode():
        layer, x = nn.Linear(512, 512, device=device), torch.ones(256, 512, device=device, requires_grad=True)
        layer.requires_grad_(not frozen)
        parameters = {p.untyped_storage()._cdata for p in layer.parameters()}
        kept = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage._cdata not in parameters:
                kept[storage._cdata] = (storage.nbytes(), tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
            enabled = torch.is_autocast_enabled("cpu")
            y = torch.tanh(layer(x))
        assert enabled
    return str(y.dtype).removeprefix("torch."), sum(size for size, _ in kept.values()) // 1024


print("torch", torch.__version__.split("+")[0])
results = {}
for name, device, mode in (("cpu", "cpu", contextlib.nullcontext), ("meta", "meta", contextlib.nullcontext), ("fake cpu", "cpu", FakeTensorMode)):
    trained, frozen = step(device, False, mode), step(device, True, mode)
    results[name] = trained, frozen
    print(f"{name:9} W trained: {trained[0]}, {trained[1]} KB | W frozen: {frozen[0]}, {frozen[1]} KB")
try:
    with torch.autocast("meta", torch.bfloat16):
        refused = False
except RuntimeError as error:
    refused = True
    print('autocast("meta"): RuntimeError')
ok = refused and results["fake cpu"] == results["cpu"] and results["cpu"][0][0] == "bfloat16" and results["meta"][0][0] == "float32"
print("by guess: bfloat16 on meta too; really:", "meta stays float32, silently" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
