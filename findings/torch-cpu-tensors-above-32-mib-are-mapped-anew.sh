#!/usr/bin/env bash
# torch 2.13.0 (glibc)
#
# Guess:  in a loop that always needs the same tensors, memory is taken from the system once: a CPU's allocator keeps what is
#         freed, as the one for GPUs does.
# Truth:  torch leaves this to malloc, and glibc gives arrays of 32 MiB and more back to the system when they are freed, whatever
#         was freed before. Each new one is mapped again and cleared page by page. Below 32 MiB it costs nothing after a few steps.
# Matters: the gradient of an embedding is such an array (47 MB for 30,522 x 384), so full fine-tuning pays for it in every step,
#         and LoRA, which freezes the embedding, does not: on two cores, 15 of 110 ms of a step of 8 x 14 tokens. A copy of
#         32 MiB is several times slower than two copies of 16.
# Output seen:
#   page faults of a tensor: 31 MiB 0, 33 MiB 8449
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PY'
import resource

import torch


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def faults_of_a_tensor(mebibytes: int, repetitions: int = 10) -> int:
    for _ in range(30):  # the limit rises while the first are freed, up to 32 MiB
        torch.zeros(mebibytes << 18)
    before = faults()
    for _ in range(repetitions):
        torch.zeros(mebibytes << 18)
    return (faults() - before) // repetitions


below, above = faults_of_a_tensor(31), faults_of_a_tensor(33)
print(f"page faults of a tensor: 31 MiB {below}, 33 MiB {above}")
raise SystemExit(not (below < 100 < 8000 < above))
PY
"$folder/venv/bin/python" check.py
echo "by guess: none for either; really: from 32 MiB on, each tensor is new memory"
