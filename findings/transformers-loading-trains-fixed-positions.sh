#!/usr/bin/env bash
# transformers 5.23.0 (torch 2.13.0)
#
# Guess:  what a model's class fixes stays fixed when weights are loaded: RoFormer's table of sinusoidal positions is created with
#         requires_grad=False, so it is not trainable after from_pretrained either.
# Truth:  from_pretrained replaces every tensor by a new parameter that is trainable. The model that was created from its
#         configuration has the table fixed; saved and loaded, it is trainable. It never gets a gradient, because it is read
#         under torch.no_grad().
# Matters: counts of trainable parameters differ between from_config and from_pretrained, and a parameter is reported as trained
#         that nothing ever trains.
# Output seen:
#   created: fixed, loaded: trainable, gradient: none
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > check.py <<'PY'
import torch
from transformers import RoFormerConfig, RoFormerForSequenceClassification

torch.manual_seed(0)
created = RoFormerForSequenceClassification(
    RoFormerConfig(
        vocab_size=50, embedding_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )
)
created.save_pretrained("model")
loaded = RoFormerForSequenceClassification.from_pretrained("model")
loaded(input_ids=torch.arange(8)[None], labels=torch.tensor([1])).loss.backward()
table = "roformer.encoder.embed_positions.weight"
fixed = ["trainable" if model.get_parameter(table).requires_grad else "fixed" for model in (created, loaded)]
gradient = "none" if loaded.get_parameter(table).grad is None else "yes"
print(f"created: {fixed[0]}, loaded: {fixed[1]}, gradient: {gradient}")
raise SystemExit((*fixed, gradient) != ("fixed", "trainable", "none"))
PY
TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 "$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: fixed in both; really: loading makes the table trainable"
