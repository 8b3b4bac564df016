#!/usr/bin/env bash
# transformers 5.23.0 (torch 2.13.0, safetensors 0.8.0)
#
# Guess:  from_pretrained copies the weights, so that the model in memory no longer depends on its file.
# Truth:  on a CPU the parameters are the mapped pages of model.safetensors. Loading reads almost nothing, the first forward pass
#         does; and if the file is written over in place (cp over it, rsync --inplace, a checkpoint of the same shapes), the
#         model in memory changes with it. A file that is replaced by renaming leaves the model as it was.
# Matters: a run that is evaluated while the next checkpoint is written over its file mixes both; the time and memory of
#         "loading a model" leave out the weights.
# Output seen:
#   loaded: 1.0, file written over in place: 2.0, file replaced: 2.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0 safetensors==0.8.0
cd "$folder"
cat > check.py <<'PY'
import os
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

config = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
)
for value in (1.0, 2.0, 3.0):
    made = BertForSequenceClassification(config)
    for parameter in made.parameters():
        torch.nn.init.constant_(parameter, value)
    made.save_pretrained(f"model{value:.0f}")
files = {number: Path(f"model{number}/model.safetensors") for number in (1, 2, 3)}
assert len({file.stat().st_size for file in files.values()}) == 1

model = BertForSequenceClassification.from_pretrained("model1").eval()
weight = model.bert.encoder.layer[0].attention.self.query.weight


def first() -> float:
    return weight[0, 0].item()


seen = [first()]
with files[1].open("r+b") as file:
    file.write(files[2].read_bytes())
seen.append(first())
os.replace(files[3], files[1])
seen.append(first())
print(f"loaded: {seen[0]}, file written over in place: {seen[1]}, file replaced: {seen[2]}")
raise SystemExit(seen != [1.0, 2.0, 2.0])
PY
TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 "$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: 1.0 in all three; really: the loaded model is its file"
