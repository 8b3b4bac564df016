#!/usr/bin/env bash
# torch 2.13.0 (CPU)
#
# Guess:  GradScaler does not call `optimizer.step()` for gradients that overflow, so hooks of the step and counts of its calls leave
#         skipped steps out.
# Truth:  That holds for fused=False alone. With fused=True it always calls the step, and the kernel does nothing by itself: hooks run,
#         and a wrapper that counts calls counts the skipped ones, although no weight and no state of the optimizer changes.
# Matters: A schedule, a counter or a log that hangs on a step's hook runs ahead only with a fused optimizer.
# Output seen:
#   fused=False: step called 0 times, weight 1.0
#   fused=True: step called 1 times, weight 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 numpy==2.4.6
seen=$("$folder/venv/bin/python" - <<'PYTHON'
import torch

for fused in (False, True):
    weight, calls = torch.nn.Parameter(torch.ones(1)), []
    optimizer, scaler = torch.optim.SGD([weight], lr=0.1, fused=fused), torch.amp.GradScaler("cpu")
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    scaler.scale((float("inf") * weight).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    print(f"fused={fused}: step called {len(calls)} times, weight {weight.item()}")
PYTHON
)
if [[ "$seen" == "fused=False: step called 0 times, weight 1.0"$'\n'"fused=True: step called 1 times, weight 1.0" ]]; then
    echo "by guess: step called 0 times by both; really: $(tr '\n' ';' <<< "$seen")"
else
    echo "by guess: step called 0 times by both; really: $(tr '\n' ';' <<< "$seen") (changed)"
    exit 1
fi
