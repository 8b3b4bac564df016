#!/usr/bin/env bash
# transformers 5.23.0 (peft 0.21.2, accelerate 1.15.0, torch 2.13.0)
#
# Guess:  Trainer's total_flos, which it logs and saves, is smaller with LoRA than with full fine-tuning, because no gradients
#         of the frozen weights are computed.
# Truth:  it is larger: 6 x tokens x all parameters that are no embeddings, frozen or not, and LoRA adds some (a head that PEFT
#         trains counts twice). Counted by operation, the same step of LoRA takes 0.68 as many here.
# Matters: total_flos is in every trainer_state.json and tracker, and is what one divides by seconds or by joules. By it LoRA
#         computes more than full fine-tuning and its hardware looks better used than it is.
# Output seen:
#   total_flos: full 109612032, LoRA 122492928, ratio 1.12
#   counted:    full 53680128, LoRA 36378624, ratio 0.68
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 peft==0.21.2
cd "$folder"
cat > check.py <<'PY'
import sys

import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainingArguments

generator = torch.Generator().manual_seed(0)
data = [{"input_ids": torch.randint(5, 50, (16,), generator=generator), "labels": torch.tensor(i % 2)} for i in range(16)]


def full():
    config = AutoConfig.for_model(
        "roberta", vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=40)
    return AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")


def lora():
    return get_peft_model(full(), LoraConfig(task_type="SEQ_CLS", r=8))


def logged(model):
    arguments = TrainingArguments(
        "out", per_device_train_batch_size=8, max_steps=2, save_strategy="no", report_to="none", use_cpu=True,
        disable_tqdm=True)
    trainer = Trainer(model, arguments, train_dataset=data)
    trainer.train()
    return trainer.state.total_flos


def counted(model):
    batch = {name: torch.stack([row[name] for row in data[:8]]) for name in data[0]}
    with FlopCounterMode(display=False) as counter:
        model(**batch).loss.backward()
    return counter.get_total_flops()


print("transformers", transformers.__version__, file=sys.stderr)
flos, operations = [logged(full()), logged(lora())], [counted(full()), counted(lora())]
print(f"total_flos: full {flos[0]:.0f}, LoRA {flos[1]:.0f}, ratio {flos[1] / flos[0]:.2f}", file=sys.stderr)
print(f"counted:    full {operations[0]}, LoRA {operations[1]}, ratio {operations[1] / operations[0]:.2f}", file=sys.stderr)
ok = flos[1] > flos[0] and operations[1] < 0.8 * operations[0]
print("by guess: LoRA has fewer; really:", "more" if ok else "not more (changed)", file=sys.stderr)
sys.exit(0 if ok else 1)
PY
# Trainer's own log goes to standard output; the lines above to standard error
"$folder/venv/bin/python" -W ignore check.py 2>&1 >/dev/null | grep -E '^(transformers [0-9]|total_flos|counted|by guess|Traceback|[A-Za-z]*Error)'
