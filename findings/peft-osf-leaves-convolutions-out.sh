#!/usr/bin/env bash
# peft 0.21.2 (torch 2.13.0)
#
# Guess:  a PEFT method that cannot adapt a targeted layer says so: LoRA raises ValueError ("Target module ... is not supported"), and a name
#         that no module has raises NoMatchingPeftModuleError.
# Truth:  OSF takes a convolution among its targets without a word and leaves it as it is. If all targets are convolutions, nothing but the
#         classifier is trained: no error, no warning, and a count of trainable parameters that looks plausible.
# Matters: SqueezeBERT and ConvBERT compute their query and value by convolutions of width 1, so that "OSF on query and value" is a linear
#         probe there. Comparing the trained parameters with those of the head alone shows it.
# Output seen (trained parameters, with a head of 18):
#   OSF on a linear layer:   86
#   OSF on a convolution:    18, no warning
#   LoRA on a pooling layer: ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 peft==0.21.2
cd "$folder"
cat > check.py <<'PY'
import warnings

from peft import LoraConfig, OSFConfig, get_peft_model
from torch import nn


class Model(nn.Module):
    config = {"model_type": "custom"}

    def __init__(self):
        super().__init__()
        self.query, self.value, self.pool = nn.Conv1d(8, 8, 1), nn.Linear(8, 8), nn.MaxPool1d(1)
        self.classifier = nn.Linear(8, 2)


def trained(config):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = get_peft_model(Model(), config)
        except Exception as error:
            return type(error).__name__
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return f"{count}, no warning" if not caught else f"{count}, {len(caught)} warnings"


rows = {
    "OSF on a linear layer:": trained(OSFConfig(target_modules=["value"], modules_to_save=["classifier"])).split(",")[0],
    "OSF on a convolution:": trained(OSFConfig(target_modules=["query"], modules_to_save=["classifier"])),
    "LoRA on a pooling layer:": trained(LoraConfig(target_modules=["pool"])),
}
for name, value in rows.items():
    print(f"{name:25s}{value}")
seen = rows["OSF on a convolution:"] == "18, no warning" and rows["LoRA on a pooling layer:"] == "ValueError"
print(f"by guess: the second line is an error; really: {'the head alone' if seen else 'something else (changed)'}")
raise SystemExit(not seen)
PY
venv/bin/python check.py
