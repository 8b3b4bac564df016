#!/usr/bin/env bash
# datasets 5.2.0
#
# Guess:  load_dataset("csv", data_files=[...]) puts the columns of several files together by their names, as pandas.concat does; at
#         worst it complains about the file whose columns stand in another order.
# Truth:  every file is read, and then the whole data set fails with "An error occurred while generating the dataset". Only the
#         chained ArrowInvalid says "Schema at index 1 was different" and names no file. Parquet
#         files with the same columns are read by name.
# Matters: labels that were exported by two scripts are often such a pair. Whoever converts to parquet first has no error, so it is
#         the format of the files, not their content, that decides.
# Output seen:
#   csv: DatasetGenerationError: An error occurred while generating the dataset (because: Schema at index 1 was different)
#   parquet: [('hello', 1), ('bye', 0)]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile datasets==5.2.0
cd "$folder"
cat > check.py <<'PY'
import pyarrow as pa
from datasets import load_dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import parquet

rows = {"a": {"sentence": ["hello"], "label": [1]}, "b": {"label": [0], "sentence": ["bye"]}}
for name, columns in rows.items():
    parquet.write_table(pa.table(columns), f"{name}.parquet")
    with open(f"{name}.csv", "w") as file:
        file.write(",".join(columns) + "\n" + ",".join(str(values[0]) for values in columns.values()) + "\n")


def load(suffix):
    try:
        data = load_dataset(suffix, data_files={"train": [f"a.{suffix}", f"b.{suffix}"]}, cache_dir=suffix)["train"]
        return str(list(zip(data["sentence"], data["label"], strict=True)))
    except DatasetGenerationError as error:
        return f"{type(error).__name__}: {error} (because: {str(error.__cause__).partition(':')[0].strip()})"


seen = [load("csv"), load("parquet")]
print(f"csv: {seen[0]}\nparquet: {seen[1]}")
raise SystemExit("Schema at index 1 was different" not in seen[0] or seen[1] != "[('hello', 1), ('bye', 0)]")
PY
HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 "$folder/venv/bin/python" check.py 2>/dev/null
echo "by guess: both are read by name; really: only parquet"
