#!/usr/bin/env bash
# peft 0.21.2
#
# Guess:  saving the same adapter configuration twice gives the same file: target_modules stands in it as it was given, or sorted.
# Truth:  PEFT keeps a list of target_modules as a set, and writes it in the order of the set: another one in each process, as strings
#         are hashed with a random seed. modules_to_save, given as a list too, keeps its order.
# Matters: equal adapters have adapter_config.json files with different digests, so a rerun looks like another result, a cache misses, and a
#         repository of adapters shows changes where there are none. PYTHONHASHSEED or sorting the file before hashing helps.
# Output seen (PYTHONHASHSEED 1 to 6):
#   6 saves of target_modules [query, key, value, dense]: 5 different files, in the order given: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 peft==0.21.2
cd "$folder"
cat > save.py <<'PY'
import sys

from peft import LoraConfig

targets, saved = ["query", "key", "value", "dense"], ["pooler", "classifier"]
LoraConfig(target_modules=targets, modules_to_save=saved).save_pretrained(sys.argv[1])
PY
for seed in 1 2 3 4 5 6; do
    PYTHONHASHSEED=$seed "$folder/venv/bin/python" save.py "saved$seed" 2>/dev/null
done
"$folder/venv/bin/python" - <<'PY'
import json
from pathlib import Path

files = sorted(Path().glob("saved*/adapter_config.json"))
configs = [json.loads(file.read_text()) for file in files]
different = len({file.read_bytes() for file in files})
given = sum(config["target_modules"] == ["query", "key", "value", "dense"] for config in configs)
print(f"{len(files)} saves of target_modules [query, key, value, dense]: {different} different files, in the order given: {given}")
kept = all(config["modules_to_save"] == ["pooler", "classifier"] for config in configs)
same = len({tuple(sorted(config.pop("target_modules"))) for config in configs}) == 1 and all(c == configs[0] for c in configs)
raise SystemExit(not (len(files) == 6 and different > 1 and kept and same))
PY
echo "by guess: one file, six times; really: the order of target_modules is random"
