#!/usr/bin/env bash
# accelerate 1.15.0 (torch 2.13.0)
#
# Guess:  find_executable_batch_size, which is also Trainer's auto_find_batch_size, halves the batch until it fits:
#         64, 32, 16, 8.
# Truth:  it multiplies by 0.9 and rounds down: 64, 57, 51, 45 ... 11, 9. From 64 to 9 it fails fifteen times, and the size that it
#         ends with is seldom a multiple of 8 and no divisor of the size that was asked for.
# Matters: full fine-tuning runs out of memory where LoRA does not, so the two methods end with batches such as 9 and 64 that
#         no number of accumulated steps makes equal, and each failure costs a start of the training.
# Output seen:
#   tried: 64, 57, 51, 45, 40, 36, 32, 28, 25, 22, 19, 17, 15, 13, 11, 9
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 accelerate==1.15.0
cd "$folder"
cat > check.py <<'PY'
import sys

import accelerate
from accelerate.utils import find_executable_batch_size

tried = []


@find_executable_batch_size(starting_batch_size=64)
def train(batch_size):
    """Ten examples fit into the memory."""
    tried.append(batch_size)
    if batch_size > 10:
        raise RuntimeError("CUDA out of memory.")


train()
print("accelerate", accelerate.__version__)
print("tried:", ", ".join(map(str, tried)))
ok = tried[:4] == [64, 57, 51, 45] and tried[-1] == 9 and len(tried) == 16
print("by guess: 64, 32, 16, 8; really:", "steps of 0.9" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
"$folder/venv/bin/python" -W ignore check.py
