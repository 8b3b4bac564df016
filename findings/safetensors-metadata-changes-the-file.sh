#!/usr/bin/env bash
# safetensors 0.8.0 (numpy 2.4.6)
#
# Guess:  the same tensors with the same metadata give the same bytes: the format is a sorted header and raw numbers.
# Truth:  tensors are written in a fixed order, but the keys of the metadata in a random one, drawn anew at each call. With four
#         keys, 50 calls in one process gave 20 different files. Without metadata, or with one key, there is one.
# Matters: a digest of a weights file (to say that a rerun or a resumed run ended with identical weights, or to name an adapter) differs
#         between identical runs as soon as two facts are kept in the metadata, and PYTHONHASHSEED does not help. Compare tensors, or
#         put everything into one key as JSON with sorted keys.
# Output seen (the numbers of files vary from call to call, the ones do not):
#   no metadata: 1 different file in 50 calls
#   1 key: 1 different file in 50 calls
#   4 keys: 20 different files in 50 calls
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile safetensors==0.8.0 numpy==2.4.6
PYTHONHASHSEED=0 "$folder/venv/bin/python" - <<'PY'
import hashlib
import sys

import numpy as np
import safetensors
from safetensors.numpy import save

tensors = {"lora_A": np.ones((2, 4), np.float32), "lora_B": np.zeros((4, 2), np.float32)}


def different(metadata):
    return len({hashlib.sha256(save(tensors, metadata=metadata)).hexdigest() for _ in range(50)})


four = {"format": "pt", "method": "lora", "task": "rte", "seed": "1"}
counts = {"no metadata": different(None), "1 key": different({"format": "pt"}), "4 keys": different(four)}
turned = save(tensors) == save(dict(reversed(tensors.items())))
print("safetensors", safetensors.__version__)
for name, count in counts.items():
    print(f"{name}: {count} different file{'s' * (count > 1)} in 50 calls")
ok = counts["no metadata"] == counts["1 key"] == 1 and turned and counts["4 keys"] > 1
print("by guess: 1 in every case; really:", "the order of the metadata is random" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
