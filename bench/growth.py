"""How cost grows with the work: examples, sequence length, runs in the DAG."""

import sys
from itertools import pairwise
from statistics import median

import torch

from bench import peers
from bench.paired import Row, interleaved
from bench.place import Place
from bench.starts import command, python
from bench.training import Stepper, adapted, quick
from lora_core import memory
from lora_core.records import write_json

# Time at 4 or 10 times the work over 4 or 10 times the time: 1 is linear; 5% is what repeated timings differ by here.
LINEAR = ("<=", 1.05)


def examples(place: Place) -> list[Row]:
    """An epoch's seconds and its process's highest resident memory at 64, 256 and 1,024 examples."""
    sizes = (16, 32, 48) if place.quick else (64, 256, 1024)
    seconds: list[float] = []
    resident: list[float] = []
    spec = place.spec("stsb", epochs=1)
    out = (place.folder / "growth").resolve()
    write_json(out / "spec.json", vars(spec))
    for size in sizes:
        job = f"""
import json, resource
from pathlib import Path
from lora_core.records import read_json
from lora_core.train import Spec, train
out = Path({str(out)!r})
spec = Spec(**json.loads((out / "spec.json").read_text()))
data = Path({str(place.data("stsb", size).resolve())!r})
train(spec, Path({str(place.model().resolve())!r}), data, out, {place.threads})
print(read_json(out / "run.json")["measurement"]["train_seconds"],
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""
        one, two = python(job)[1].split()
        seconds.append(float(one))
        resident.append(float(two))
    named = ", ".join(f"{n}: {s:.2f} s, {m:.0f} MB" for n, s, m in zip(sizes, seconds, resident, strict=True))
    factor = sizes[2] / sizes[1]
    return [
        Row(f"time of an epoch, {sizes[2]} examples", f"{sizes[1]}, if it grew in proportion",
            seconds[2] / seconds[1] / factor, LINEAR, note=named),
        Row(f"memory of an epoch, {sizes[2]} examples", f"{sizes[1]}, if it grew in proportion",
            resident[2] / resident[1] / factor, LINEAR, note=f"1.00 would be {factor:.0f} times the memory"),
    ]  # fmt: skip


def lengths(place: Place) -> list[Row]:
    """A LoRA step's time and what it keeps for backward at 32 to 512 tokens."""
    rows = []
    for tokens in (8, 16) if place.quick else (32, 64, 128, 256, 512):
        ids = torch.randint(1000, 30000, (8, tokens), generator=torch.Generator().manual_seed(0))
        hyper = place.spec("stsb").hyperparameters
        step = Stepper(quick(adapted(place.model(), peers.SETTINGS)), ids, hyper, "fp32")
        with memory.saved_for_backward(step.model) as saved:
            step()
        seconds = median(interleaved({"step": step}, rounds=2 if place.quick else 7, warm_up=2)["step"])
        rows.append((tokens, seconds, saved.mb))
    found = []
    for (tokens, before, kept), (longer, after, more) in pairwise(rows):
        factor = longer / tokens
        note = f"{1e3 * before:.0f} → {1e3 * after:.0f} ms, {kept:.0f} → {more:.0f} MB; attention is quadratic"
        found.append(Row(f"LoRA step, 8×{longer} tokens", f"8×{tokens}, if it grew in proportion",
                         after / before / factor, note=note))  # fmt: skip
    return found


def runs(place: Place) -> list[Row]:
    """`snakemake -n` over 15, 150 and 1,500 runs: 3 methods, 5 tasks and 1, 10 and 100 seeds."""
    counts = (1, 2, 4) if place.quick else (1, 10, 100)
    seconds = []
    for count in counts:
        file = (place.folder / f"seeds{count}.yaml").resolve()
        file.write_text(f"seeds: {list(range(1, count + 1))}\nresults_dir: results/bench/growth\n", encoding="utf-8")
        words = [sys.executable, "-m", "snakemake", "-n", "--quiet", "--configfile", "config/paper.yaml", str(file)]
        seconds.append(median(command(words)[0] for _ in range(1 if place.quick else 3)))
    named = ", ".join(f"{15 * n} runs: {s:.1f} s" for n, s in zip(counts, seconds, strict=True))
    return [
        Row(f"snakemake -n, {15 * b} runs", f"{15 * a}, if it grew in proportion", after / before / (b / a), LINEAR,
            note=named)
        for (a, before), (b, after) in pairwise(zip(counts, seconds, strict=True))
    ]  # fmt: skip
