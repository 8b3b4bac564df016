#!/usr/bin/env bash
# transformers 5.23.0
#
# Guess:  a configuration with the label2id of three classes has three classes; id2label is its inverse. With id2label and another
#         num_labels, a contradiction, it is refused.
# Truth:  label2id alone is dropped without a word: two classes, LABEL_0 and LABEL_1, and a label2id made from those. id2label alone gives
#         three classes and leaves label2id None. In a contradiction num_labels wins, and all three names are replaced by LABEL_i.
# Matters: a dataset's features give label2id as readily as id2label. The classifier gets two outputs, the third class is an error in the
#         loss at best, and a published model says LABEL_0 where the study had names.
# Output seen:
#   label2id of 3:               2 classes, {0: 'LABEL_0', 1: 'LABEL_1'}, label2id of 2
#   id2label of 3:               3 classes, {0: 'x', 1: 'y', 2: 'z'}, label2id None
#   id2label of 3, num_labels 2: 2 classes, {0: 'LABEL_0', 1: 'LABEL_1'}, label2id of 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile transformers==5.23.0
cd "$folder"
cat > check.py <<'PY'
from transformers import BertConfig

NAMES = {0: "x", 1: "y", 2: "z"}
IDS = {name: number for number, name in NAMES.items()}


def tell(what, **settings):
    config = BertConfig(**settings)
    ids = "None" if config.label2id is None else f"of {len(config.label2id)}"
    line = f"{config.num_labels} classes, {config.id2label}, label2id {ids}"
    print(f"{what + ':':28} {line}")
    return line


answers = [
    tell("label2id of 3", label2id=IDS),
    tell("id2label of 3", id2label=NAMES),
    tell("id2label of 3, num_labels 2", id2label=NAMES, num_labels=2),
]
lost = "2 classes, {0: 'LABEL_0', 1: 'LABEL_1'}, label2id of 2"
raise SystemExit(answers != [lost, f"3 classes, {NAMES}, label2id None", lost])
PY
"$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: three classes with their names; really: two, without"
