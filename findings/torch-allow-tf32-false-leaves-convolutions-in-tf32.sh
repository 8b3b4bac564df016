#!/usr/bin/env bash
# torch 2.13.0
#
# Guess:  torch.backends.fp32_precision and the older switches (set_float32_matmul_precision, cudnn.allow_tf32) are two names of one
#         setting, so that the last one that was set holds.
# Truth:  for matrix products it is so: "highest" undoes "tf32". For convolutions and recurrent layers it is not: after
#         torch.backends.fp32_precision = "tf32", cudnn.allow_tf32 = False is accepted and they stay in TF32. And asking for the older
#         setting of matrix products, get_float32_matmul_precision(), raises a RuntimeError about a mix of both.
# Matters: code that sets the older switches, to compare in float32, computes convolutions in TF32 where a library, such as a trainer,
#         has set the newer one before.
# Output seen:
#   older setting asked for:   RuntimeError
#   after the older switches:  matmul ieee, conv tf32, rnn tf32
#   after the newer ones too:  matmul ieee, conv ieee, rnn ieee
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 numpy
cat > "$folder/settings.py" <<'PYTHON'
import torch
from torch import backends

def now():
    return f"matmul {backends.cuda.matmul.fp32_precision}, conv {backends.cudnn.conv.fp32_precision}, rnn {backends.cudnn.rnn.fp32_precision}"

backends.fp32_precision = "tf32"
try:
    asked = torch.get_float32_matmul_precision()
except RuntimeError as error:
    asked = type(error).__name__
torch.set_float32_matmul_precision("highest")
backends.cudnn.allow_tf32 = False
older = now()
backends.cudnn.conv.fp32_precision = backends.cudnn.rnn.fp32_precision = "ieee"
newer = now()
print(f"older setting asked for:   {asked}\nafter the older switches:  {older}\nafter the newer ones too:  {newer}")
expected = ("RuntimeError", "matmul ieee, conv tf32, rnn tf32", "matmul ieee, conv ieee, rnn ieee")
same = (asked, older, newer) == expected
print("by guess: matmul, conv and rnn ieee after the older switches; really:", "conv and rnn tf32" if same else "something else (changed)")
raise SystemExit(not same)
PYTHON
"$folder/venv/bin/python" "$folder/settings.py"
