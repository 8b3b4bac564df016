#!/usr/bin/env bash
# datasets 5.2.0
#
# Guess:  JSON has strings and numbers, so load_dataset("json") gives a quoted value back as the text that it is; only CSV guesses types.
# Truth:  pyarrow's JSON reader turns a column of strings into timestamps if all of them look like dates. One line with another text
#         makes the same values texts again, so the type of a column depends on the other rows, and a sample can have
#         another one than the whole.
# Matters: class names such as "2024-01-05" come back as datetime objects, and a tokenizer refuses a column of such texts, or gets
#         "2024-01-05 00:00:00" after str().
# Output seen:
#   dates alone: datetime.datetime(2024, 1, 5, 0, 0)
#   with another text: '2024-01-05'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile datasets==5.2.0
cd "$folder"
cat > check.py <<'PY'
import json
from datasets import load_dataset


def first(name, texts):
    with open(f"{name}.jsonl", "w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return load_dataset("json", data_files=f"{name}.jsonl", split="train", cache_dir=name)[0]["text"]


seen = [first("dates", ["2024-01-05", "1999-12-31"]), first("mixed", ["2024-01-05", "hello"])]
print(f"dates alone: {seen[0]!r}\nwith another text: {seen[1]!r}")
raise SystemExit(isinstance(seen[0], str) or seen[1] != "2024-01-05")
PY
HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: '2024-01-05' both times; really: a datetime where all texts are dates"
