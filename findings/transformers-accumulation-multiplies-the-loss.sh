#!/usr/bin/env bash
# transformers 5.23.0 (accelerate 1.15.0, torch 2.13.0)
#
# Guess:  Trainer with 4 batches of 4 and gradient_accumulation_steps=4 makes the same step as one batch of 16.
# Truth:  for sequence classification the loss and the gradient are 4 times as large. The forward of the model
#         takes **kwargs, so Trainer hands it num_items_in_batch and does not divide by the number of batches;
#         the classification loss ignores that argument and is a mean over each small batch.
#         `trainer.model_accepts_loss_kwargs = False` gives the right step. Seen for BERT, RoBERTa, ELECTRA, MPNet,
#         DeBERTa-v2, ModernBERT and ALBERT; two of them run here. (transformers issue 47688 reports it for other heads.)
# Matters: accumulation is what one turns on where full fine-tuning does not fit and LoRA does. Adam hides a
#         constant factor, but clipping at 1.0 (Trainer's default) then cuts a gradient that is 4 times as long,
#         and the logged training losses of the two methods cannot be compared.
# Output seen:
#   bert     16 x 1: loss 0.6936 gradient norm 0.0303 | 4 x 4: loss 2.7742 gradient norm 0.1213 | 4 x 4, corrected: loss 0.6936 gradient norm 0.0303
#   roberta  16 x 1: loss 0.6945 gradient norm 0.0516 | 4 x 4: loss 2.7778 gradient norm 0.2065 | 4 x 4, corrected: loss 0.6945 gradient norm 0.0516
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
cd "$folder"
cat > check.py <<'PY'
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainingArguments

generator = torch.Generator().manual_seed(0)
data = [
    {"input_ids": torch.randint(5, 50, (8,), generator=generator), "attention_mask": torch.ones(8, dtype=torch.long),
     "labels": torch.tensor(i % 2)}
    for i in range(16)
]


def step(model_type, batch, accumulation, corrected=False):
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type, vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0)
    arguments = TrainingArguments(
        "out", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, max_steps=1,
        logging_steps=1, save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True)
    trainer = Trainer(AutoModelForSequenceClassification.from_config(config), arguments, train_dataset=data)
    if corrected:
        trainer.model_accepts_loss_kwargs = False
    trainer.train()
    return trainer.state.log_history[0]["loss"], trainer.state.log_history[0]["grad_norm"]


print("transformers", transformers.__version__, file=sys.stderr)
ok = True
for model_type in ("bert", "roberta"):
    whole, parts, corrected = step(model_type, 16, 1), step(model_type, 4, 4), step(model_type, 4, 4, True)
    print(f"{model_type:8}", " | ".join(
        f"{name}: loss {loss:.4f} gradient norm {norm:.4f}"
        for name, (loss, norm) in {"16 x 1": whole, "4 x 4": parts, "4 x 4, corrected": corrected}.items()), file=sys.stderr)
    for one, four, right in zip(whole, parts, corrected):
        ok &= abs(four / one - 4) < 0.01 and abs(right / one - 1) < 0.01
print("by guess: 4 x 4 equals 16 x 1; really:", "4 times as large" if ok else "not 4 times as large (changed)", file=sys.stderr)
sys.exit(0 if ok else 1)
PY
# Trainer's own log goes to standard output; the lines above to standard error
"$folder/venv/bin/python" check.py 2>&1 >/dev/null | grep -E '^(transformers [0-9]|bert|roberta|by guess|Traceback|[A-Za-z]*Error)'
