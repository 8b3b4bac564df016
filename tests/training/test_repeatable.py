"""The same study twice on a CPU gives the same files bit for bit, and nothing promises that for a GPU."""

import os
import re
import subprocess
import sys

import pytest
from builders import ROOT

# A small study in a process of its own: everything but what is measured, as digests.
STUDY = """
import sys
from pathlib import Path
from builders import BERT, FULL, LORA, prepared, tokenized, trained, unmeasured_rows
from lora_core.methods.merging import merge_adapter
from lora_core.records import sha256
out = Path(sys.argv[1])
model = prepared(out / "model", BERT)
data = tokenized(model, out / "data", "cola", train=32, validation=16)
runs = {name: trained(settings, model, data, out / name) for name, settings in (("lora", LORA), ("full", FULL))}
merge_adapter(model, runs["lora"] / "weights", runs["lora"] / "run.json", out / "merged")
for file in sorted(out.rglob("*")):
    if file.suffix == ".safetensors" or file.name in ("config.json", "adapter_config.json", "card.json", "merge.json"):
        print(file.relative_to(out), sha256(file))
for name, run in runs.items():
    print(name, unmeasured_rows(run / "history.csv"))
"""


def test_two_runs_of_a_study_on_this_cpu_give_the_same_files_bit_for_bit(tmp_path):
    printed = []
    for seed in ("1", "2"):  # Python's hash seed, which the order of sets follows
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        command = [sys.executable, "-c", STUDY, str(tmp_path / "study")]  # an adapter names its base model's folder
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        printed.append(result.stdout.splitlines())
        (tmp_path / "study").rename(tmp_path / seed)
    assert sum("safetensors" in line for line in printed[0]) == 8
    assert printed[0] == printed[1]


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if "results-" not in page.name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_identical_results_are_promised_for_a_cpu_alone(page):
    items = re.split(r"\n\s*\n|\n(?=[-|] )", page.read_text())
    promises = [item for item in items if re.search(r"bit-identical|bit for bit|byte for byte", item)]
    assert all("CPU" in promise for promise in promises)
