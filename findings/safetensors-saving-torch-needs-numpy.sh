#!/usr/bin/env bash
# safetensors 0.8.0, torch 2.13.0
#
# Guess:  saving torch tensors needs torch and safetensors, which have no other requirement between them; if something is missing,
#         loading is affected in the same way.
# Truth:  safetensors.torch.save_file imports numpy, which neither package requires (only the extra safetensors[torch] does): with the two
#         packages alone it ends in ModuleNotFoundError. load_file works without numpy, so the gap shows at the end of a training run.
# Matters: a library that writes adapters has to require safetensors[torch]; `pip install torch safetensors` can train an adapter
#         and load one, and loses the one that it trained.
# Output seen:
#   load_file: tensor([1., 2.])
#   save_file: ModuleNotFoundError: No module named 'numpy'
#   requirements of safetensors outside of extras: []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 safetensors==0.8.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
import struct
import sys
from importlib.metadata import requires, version

import torch
from safetensors.torch import load_file, save_file

print("safetensors", version("safetensors"), "torch", torch.__version__)
header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
with open("w.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.0, 2.0))
loaded = load_file("w.safetensors")["w"]
print("load_file:", loaded)
try:
    save_file({"w": torch.tensor([1.0, 2.0])}, "other.safetensors")
    saved = "no error"
except ModuleNotFoundError as error:
    saved = f"ModuleNotFoundError: {error}"
print("save_file:", saved)
required = [entry for entry in requires("safetensors") or [] if "extra" not in entry]
print("requirements of safetensors outside of extras:", required)
sys.exit(not (loaded.tolist() == [1.0, 2.0] and "numpy" in saved and not required))
PY
