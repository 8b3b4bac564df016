#!/usr/bin/env bash
# torch 2.13.0
#
# Guess:  FlopCounterMode counts the attention of a model on a CPU as it does on a GPU, because it looks at operations and
#         not at devices; and a layer has the same number of operations with and without gradients.
# Truth:  on a CPU scaled_dot_product_attention counts as 0, forwards and backwards, because its kernel there has a name of
#         its own that the counter does not know. The same product written out counts. A TransformerEncoderLayer in eval()
#         counts as 0 under no_grad, where it takes its fused path, and an LSTM always does. Nothing warns.
# Matters: who divides counted operations by seconds, or compares LoRA with full fine-tuning by counted operations, leaves
#         out the part that grows with the square of the length, and finds the methods further apart than they are.
# Output seen:
#   attention written out: 33554432 forwards, 67108864 backwards
#   scaled_dot_product_attention: 0 forwards, 0 backwards
#   scaled_dot_product_attention with a mask: 0 forwards, 0 backwards
#   encoder layer with gradients: 2097152, without: 0
#   LSTM: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PY'
import sys

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode


def counted(forward):
    with FlopCounterMode(display=False) as counter:
        output = forward()
        forwards = counter.get_total_flops()
        output.sum().backward()
    return forwards, counter.get_total_flops() - forwards


print("torch", torch.__version__)
query = torch.randn(2, 4, 128, 64, requires_grad=True)
mask = torch.ones(2, 1, 128, 128, dtype=torch.bool)
written = counted(lambda: torch.softmax(query @ query.transpose(-1, -2) / 8, -1) @ query)
fused = counted(lambda: scaled_dot_product_attention(query, query, query))
masked = counted(lambda: scaled_dot_product_attention(query, query, query, attn_mask=mask))
print("attention written out: %d forwards, %d backwards" % written)
print("scaled_dot_product_attention: %d forwards, %d backwards" % fused)
print("scaled_dot_product_attention with a mask: %d forwards, %d backwards" % masked)

layer, texts = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval(), torch.randn(2, 16, 64)
with_gradients = counted(lambda: layer(texts))[0]
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    layer(texts)
without = counter.get_total_flops()
print(f"encoder layer with gradients: {with_gradients}, without: {without}")
lstm = torch.nn.LSTM(64, 64, batch_first=True)
recurrent = counted(lambda: lstm(texts)[0])[0]
print("LSTM:", recurrent)
ok = min(written) > 0 and fused == masked == (0, 0) and with_gradients > 0 and without == recurrent == 0
print("by guess: the same as written out; really:", "0" if ok else "not 0 (changed)")
sys.exit(0 if ok else 1)
PY
"$folder/venv/bin/python" -W ignore check.py
