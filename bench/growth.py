"""How cost grows with the work: examples, sequence length, runs in the DAG."""

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from bench import peers
from bench.paired import Row, interleaved
from bench.place import Place
from bench.starts import command, python
from bench.training import Stepper, adapted, quick
from lora_core.measuring import memory
from lora_core.records import write_json

# What each further example (or run) costs in the upper half, over what it costs in the lower: 1 is linear, and fixed
# costs drop out. 10% is what repeated timings differ by here.
LINEAR = ("<=", 1.1)


def slope(work: Sequence[float], cost: Sequence[float]) -> float:
    """The cost of a unit between the second and third size, over that between the first and second."""
    first, second = ((cost[i + 1] - cost[i]) / (work[i + 1] - work[i]) for i in (0, 1))
    return second / first


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
import json
from pathlib import Path
from lora_core.records import read_json
from lora_core.training.run import Spec, train
out = Path({str(out)!r})
spec = Spec(**json.loads((out / "spec.json").read_text()))
data = Path({str(place.data("stsb", size).resolve())!r})
train(spec, Path({str(place.model().resolve())!r}), data, out, {place.threads})
# Not getrusage's: it starts at what the parent process held.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(read_json(out / "run.json")["measurement"]["train_seconds"], int(peak.split()[1]) / 1e3)
"""
        runs = [[float(word) for word in python(job)[1].split()] for _ in range(1 if place.quick else 3)]
        seconds.append(median(run[0] for run in runs))
        resident.append(median(run[1] for run in runs))
    named = ", ".join(f"{n}: {s:.2f} s, {m:.0f} MB" for n, s, m in zip(sizes, seconds, resident, strict=True))
    shown = f"{sizes[1]} to {sizes[2]} examples"
    against = f"{sizes[0]} to {sizes[1]}"
    return [
        Row(f"seconds of a further example, {shown}", against, slope(sizes, seconds), LINEAR, note=named),
        # It follows the longest batches, and the examples themselves are next to nothing beside the model.
        Row(f"resident memory, {sizes[2]} examples", f"{sizes[1]}", resident[2] / resident[1], ("<=", 1.1),
            note=f"{sizes[2] // sizes[1]} times the examples"),
    ]  # fmt: skip


def lengths(place: Place) -> list[Row]:
    """A LoRA step's time and what it keeps for backward at 32 to 512 tokens."""
    rows = []
    for tokens in (8, 16) if place.quick else (32, 64, 128, 256, 512):
        hyper = place.spec("stsb").hyperparameters
        step = Stepper(quick(adapted(place.model(), peers.SETTINGS)), (8, tokens), hyper, "fp32")
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
    """`snakemake -n` over 15, 150 and 1,500 runs: 3 methods, 5 tasks and 1, 10 and 100 seeds; time and memory."""
    counts = (1, 2, 4) if place.quick else (1, 10, 100)
    seconds, resident = [], []
    for count in counts:
        file = (place.folder / f"seeds{count}.yaml").resolve()
        study = {"seeds": list(range(1, count + 1)), "results_dir": str(place.folder / "growth-dag")}
        file.write_text(json.dumps(study), encoding="utf-8")  # which is YAML
        repeats = 9 if count < max(counts) else 3  # the differences of the small ones are small
        words = [sys.executable, "-m", "snakemake", "-n", "--quiet", "--configfile", "config/paper.yaml", str(file)]
        seconds.append(median(command(words)[0] for _ in range(1 if place.quick else repeats)))
        job = f"import resource, subprocess; subprocess.run({words!r}, check=True, capture_output=True); "
        resident.append(float(python(f"{job}print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")[1]) / 1e3)
    work = [15 * count for count in counts]
    named = ", ".join(f"{n} runs: {s:.1f} s, {m:.0f} MB" for n, s, m in zip(work, seconds, resident, strict=True))
    shown, against = f"{work[1]} to {work[2]} runs", f"{work[0]} to {work[1]}"
    return [
        Row(f"snakemake -n, seconds of a further run, {shown}", against, slope(work, seconds), LINEAR, note=named),
        Row(f"snakemake -n, memory of a further run, {shown}", against, slope(work, resident), LINEAR),
    ]  # fmt: skip
