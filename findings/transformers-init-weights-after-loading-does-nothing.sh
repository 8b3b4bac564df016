#!/usr/bin/env bash
# transformers 5.23.0 (torch 2.13.0)
#
# Guess:  after from_pretrained, model.classifier.apply(model._init_weights) draws the head anew, as it does on a model that was
#         made from a configuration, and as it did in transformers 4.
# Truth:  it changes nothing and says nothing. from_pretrained marks every loaded tensor (`_is_hf_initialized`), and the functions of
#         transformers.initialization, which every _init_weights uses, leave marked tensors alone; so does model.init_weights().
#         torch's nn.init and reset_parameters() ignore the mark. Clearing it first makes _init_weights work.
# Matters: several seeds of a fine-tuning that starts from a checkpoint with a head must draw their head from the seed. Written
#         like this, all seeds train the checkpoint's head, and the spread over seeds is too small.
# Output seen:
#   from a configuration, _init_weights: changed
#   after from_pretrained, _init_weights: unchanged
#   after from_pretrained, init_weights(): unchanged
#   after from_pretrained, transformers.initialization.normal_: unchanged
#   after from_pretrained, torch.nn.init.normal_: changed
#   after from_pretrained, mark cleared, _init_weights: changed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > check.py <<'PY'
import torch
from transformers import BertConfig, BertForSequenceClassification, initialization

torch.manual_seed(0)
config = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=16,
)
made = BertForSequenceClassification(config)
made.save_pretrained("model")


def changes(what, model, draw):
    before = model.classifier.weight.detach().clone()
    draw(model)
    answer = "unchanged" if torch.equal(before, model.classifier.weight) else "changed"
    print(f"{what}: {answer}")
    return answer


def loaded():
    return BertForSequenceClassification.from_pretrained("model")


def clear_and_draw(model):
    for parameter in model.classifier.parameters():
        parameter._is_hf_initialized = False
    model.classifier.apply(model._init_weights)


answers = [
    changes("from a configuration, _init_weights", made, lambda m: m.classifier.apply(m._init_weights)),
    changes("after from_pretrained, _init_weights", loaded(), lambda m: m.classifier.apply(m._init_weights)),
    changes("after from_pretrained, init_weights()", loaded(), lambda m: m.init_weights()),
    changes("after from_pretrained, transformers.initialization.normal_", loaded(),
            lambda m: initialization.normal_(m.classifier.weight)),
    changes("after from_pretrained, torch.nn.init.normal_", loaded(),
            lambda m: torch.nn.init.normal_(m.classifier.weight)),
    changes("after from_pretrained, mark cleared, _init_weights", loaded(), clear_and_draw),
]
raise SystemExit(answers != ["changed", "unchanged", "unchanged", "unchanged", "changed", "changed"])
PY
TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 "$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: every one changes the head; really: those of transformers do not"
