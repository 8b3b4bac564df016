"""How cost grows with the work: examples, sequence length, runs in the DAG."""

import json
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from bench.baselines import LORA, adapted
from bench.context import BenchContext
from bench.paired import Goal, Row, interleaved
from bench.starts import SNAKEMAKE, command_seconds, run_python, training_code
from bench.steps import Stepper, optimized
from lora_core.measuring.memory import saved_for_backward

# The cost of each additional example (or run) in the upper half, divided by that in the lower half: 1 is linear, and
# fixed costs drop out. Repeated timings differ by 10% here.
LINEAR = Goal("<=", 1.1)

PRINT_COST = """
from lora_core.evaluation.run_record import RunRecord
# The kernel's peak of this process. getrusage's starts at what the parent process used.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(RunRecord.read(Path(job["outputs"]["record"])).train_seconds, int(peak.split()[1]) / 1e3)
"""


def slope_ratio(work: Sequence[float], cost: Sequence[float]) -> float:
    """Return the cost of a unit between the second and third size, divided by that between the first and second."""
    first, second = ((cost[i + 1] - cost[i]) / (work[i + 1] - work[i]) for i in (0, 1))
    return second / first


def examples(context: BenchContext) -> list[Row]:
    """Compare an epoch's seconds and its process's peak resident memory at 64, 256 and 1,024 examples."""
    sizes = (16, 32, 48) if context.quick else (64, 256, 1024)
    seconds: list[float] = []
    resident_mb: list[float] = []
    spec, out = context.spec("stsb", epochs=1), context.folder / "growth"
    for size in sizes:
        code = training_code(context, spec, context.data("stsb", size), out) + PRINT_COST
        runs = [[float(word) for word in run_python(code)[1].split()] for _ in range(1 if context.quick else 3)]
        seconds.append(median(run[0] for run in runs))
        resident_mb.append(median(run[1] for run in runs))
    figures = zip(sizes, seconds, resident_mb, strict=True)
    details = ", ".join(f"{size}: {s:.2f} s, {mb:.0f} MB" for size, s, mb in figures)
    small, middle, large = sizes
    time_row = Row(
        f"seconds per additional example, {middle} to {large} examples",
        f"{small} to {middle}",
        slope_ratio(sizes, seconds),
        LINEAR,
        details=details,
    )
    # Memory follows the longest batches; the examples themselves are small compared with the model.
    memory_row = Row(
        f"resident memory, {large} examples",
        f"{middle}",
        resident_mb[2] / resident_mb[1],
        Goal("<=", 1.1),
        details=f"{large // middle} times the examples",
    )
    return [time_row, memory_row]


def lengths(context: BenchContext) -> list[Row]:
    """Compare a LoRA step's time and what it saves for backward at 32 to 512 tokens."""
    hyperparameters = context.spec("stsb").hyperparameters
    measured = []
    for tokens in (8, 16) if context.quick else (32, 64, 128, 256, 512):
        step = Stepper(optimized(adapted(context.model(), LORA)), (8, tokens), hyperparameters)
        with saved_for_backward(step.model) as saved:
            step()
        seconds = median(interleaved({"step": step}, context.rounds(7), warm_up=2)["step"])
        measured.append((tokens, 1e3 * seconds, saved.mb))
    rows = []
    for (tokens, ms, saved_mb), (more_tokens, more_ms, more_saved_mb) in pairwise(measured):
        details = f"{ms:.0f} → {more_ms:.0f} ms, {saved_mb:.0f} → {more_saved_mb:.0f} MB; attention is quadratic"
        value = more_ms / ms / (more_tokens / tokens)
        what, baseline = f"LoRA step, 8×{more_tokens} tokens", f"8×{tokens}, scaled in proportion"
        rows.append(Row(what, baseline, value, details=details))
    return rows


def runs(context: BenchContext) -> list[Row]:
    """Compare `snakemake -n` for 15, 150 and 1,500 runs (3 methods, 5 tasks; 1, 10, 100 seeds): time and memory."""
    seed_counts = (1, 2, 4) if context.quick else (1, 10, 100)
    seconds, resident_mb = [], []
    for count in seed_counts:
        command = _dry_run(context, count)
        repeats = 9 if count < max(seed_counts) else 3  # the differences of the small ones are small
        seconds.append(median(command_seconds(command) for _ in range(1 if context.quick else repeats)))
        resident_mb.append(_peak_resident_mb(command))
    work = [15 * count for count in seed_counts]
    figures = zip(work, seconds, resident_mb, strict=True)
    details = ", ".join(f"{number} runs: {s:.1f} s, {mb:.0f} MB" for number, s, mb in figures)
    interval, baseline = f"{work[1]} to {work[2]} runs", f"{work[0]} to {work[1]}"
    return [
        Row(f"snakemake -n, seconds per additional run, {interval}", baseline, slope_ratio(work, seconds), LINEAR,
            details=details),
        Row(f"snakemake -n, memory per additional run, {interval}", baseline, slope_ratio(work, resident_mb), LINEAR),
    ]  # fmt: skip


def _dry_run(context: BenchContext, seed_count: int) -> list[str]:
    """The command of a dry run of the paper's study with so many seeds."""
    config = (context.folder / f"seeds{seed_count}.yaml").resolve()
    study = {"seeds": list(range(1, seed_count + 1)), "results_dir": str(context.folder / "growth-dag")}
    config.write_text(json.dumps(study), encoding="utf-8")  # JSON is YAML
    return [*SNAKEMAKE, "-n", "--quiet", "--configfile", "config/paper.yaml", str(config)]


def _peak_resident_mb(command: list[str]) -> float:
    """The peak resident memory of a command."""
    code = (
        f"import resource, subprocess; subprocess.run({command!r}, check=True, capture_output=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return float(run_python(code)[1]) / 1e3
