#!/usr/bin/env bash
# torch 2.13.0 (CPU)
#
# Guess:  After a long series of steps whose gradients overflow, GradScaler's scale is small but positive, and the first step with finite
#         gradients is trained as usual.
# Truth:  Nothing bounds the scale from below. From 65,536 it is exactly 0 after 165 halvings. A step with finite gradients is then not
#         skipped: the scaled loss is 0, the gradients are 0 times infinity, the check for infinities comes before that product, and the
#         weight becomes nan.
# Matters: A run that overflows for a while does not recover, and its weights are lost without a skipped step or an error.
# Output seen:
#   scale after 200 overflows: 0.0
#   weight after one finite step: nan
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 numpy==2.4.6
seen=$("$folder/venv/bin/python" - <<'PYTHON'
import torch

weight = torch.nn.Parameter(torch.ones(1))
optimizer, scaler = torch.optim.SGD([weight], lr=0.1), torch.amp.GradScaler("cpu")


def step(factor):
    optimizer.zero_grad()
    scaler.scale((factor * weight).sum()).backward()
    scaler.step(optimizer)
    scaler.update()


for _ in range(200):
    step(float("inf"))
assert weight.item() == 1  # every one of them was skipped
print("scale after 200 overflows:", scaler.get_scale())
step(2.0)
print("weight after one finite step:", weight.item())
PYTHON
)
if [[ "$seen" == "scale after 200 overflows: 0.0"$'\n'"weight after one finite step: nan" ]]; then
    echo "by guess: the scale stays positive, and the weight 0.8; really: $(tr '\n' ';' <<< "$seen")"
else
    echo "by guess: the scale stays positive, and the weight 0.8; really: $(tr '\n' ';' <<< "$seen") (changed)"
    exit 1
fi
