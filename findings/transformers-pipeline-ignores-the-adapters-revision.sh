#!/usr/bin/env bash
# transformers 5.23.0, peft 0.21.2, torch 2.13.0
#
# Guess:  pipeline(model=ADAPTER) opens the base model at the revision that adapter_config.json names, and the tokenizer in the adapter's
#         folder, as AutoPeftModel does.
# Truth:  it reads only base_model_name_or_path: the base model is the one that main points to, and the tokenizer is the base model's,
#         although the adapter's folder has both a revision and a tokenizer. AutoPeftModel takes the revision.
# Matters: the pipeline classifies with other weights than those that were trained, and says nothing. Passing revision=, which looks as if it
#         meant the adapter, pins the base model; tokenizer=ADAPTER gives the adapter's tokenizer.
# Output seen:
#   pipeline(model):                      base of main, 7 words
#   pipeline(model, revision, tokenizer): base of the revision, 8 words
#   AutoPeftModel:                        base of the revision
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$folder"
cat > check.py <<'PY'
import json
import os
from pathlib import Path

os.environ["HF_HUB_CACHE"] = str(Path("cache").resolve())
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from peft import AutoPeftModelForSequenceClassification, LoraConfig, get_peft_model
from tokenizers import Tokenizer, models
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, pipeline

REPOSITORY = Path("cache/models--owner--base")
COMMITS = {"the revision": "1" * 40, "main": "2" * 40}
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 9}


def tokenizer(folder, words):
    names = ["[PAD]", "[UNK]", *(f"word{i}" for i in range(words - 2))]
    backend = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    made = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")
    made.save_pretrained(folder)


def which(model):
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    weight = base.base_model.embeddings.position_embeddings.weight[0, 0].item()
    return "base of " + {1.0: "the revision", 2.0: "main"}[round(weight, 3)]


for value, commit in enumerate(COMMITS.values(), 1):
    base = BertForSequenceClassification(BertConfig(**SIZES))
    torch.nn.init.constant_(base.bert.embeddings.position_embeddings.weight, value)
    base.save_pretrained(REPOSITORY / "snapshots" / commit)
    tokenizer(REPOSITORY / "snapshots" / commit, 7)
(REPOSITORY / "refs").mkdir()
(REPOSITORY / "refs" / "main").write_text(COMMITS["main"])
get_peft_model(base, LoraConfig(task_type="SEQ_CLS", target_modules=["query"])).save_pretrained("adapter")
tokenizer("adapter", 8)
config = json.loads(Path("adapter/adapter_config.json").read_text())
config |= {"base_model_name_or_path": "owner/base", "revision": COMMITS["the revision"]}
Path("adapter/adapter_config.json").write_text(json.dumps(config))

plain = pipeline("text-classification", model="adapter")
pinned = pipeline("text-classification", model="adapter", revision=config["revision"], tokenizer="adapter")
seen = [f"{which(each.model)}, {len(each.tokenizer)} words" for each in (plain, pinned)]
seen.append(which(AutoPeftModelForSequenceClassification.from_pretrained("adapter")))
for name, line in zip(("pipeline(model):", "pipeline(model, revision, tokenizer):", "AutoPeftModel:"), seen, strict=True):
    print(f"{name:37} {line}")
raise SystemExit(seen != ["base of main, 7 words", "base of the revision, 8 words", "base of the revision"])
PY
"$folder/venv/bin/python" check.py 2>check.log || { tail -5 check.log >&2; exit 1; }
echo "by guess: the revision and the tokenizer of the adapter's folder; really: main, and the base model's tokenizer"
