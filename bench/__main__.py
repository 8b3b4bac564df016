"""Run the benchmarks, write `bench.json` and `bench.md`, and print the table: `python -m bench --help`."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from bench import growth, inference, micro_batches, quality, starts, steps, training
from bench.context import BenchContext
from bench.paired import Row, table
from lora_core import provenance
from lora_core.job import SILENCE_LIBRARIES
from lora_core.records import JsonObject, read_json, write_json

FORMAT = 2  # of bench.json
BENCHMARKS: dict[str, Callable[[BenchContext], list[Row]]] = {
    "padding": training.padding,
    "train_job": starts.train_job,
    "table_job": starts.table_job,
    "snakemake": starts.snakemake,
    "layer": steps.layer,
    "steps": steps.steps,
    "micro_batches": micro_batches.micro_batches,
    "throughput": steps.throughput,
    "epoch": training.epoch,
    "merged": inference.merged,
    "evaluation": inference.evaluation,
    "examples": growth.examples,
    "lengths": growth.lengths,
    "runs": growth.runs,
    "quality": quality.compare_scores,
}


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    os.environ.update(SILENCE_LIBRARIES)
    names, context = parse_arguments()
    torch.set_num_threads(context.threads)
    context.folder.mkdir(parents=True, exist_ok=True)
    file = context.folder / "bench.json"
    results = read_results(file)
    for name in names:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        results[name] = measure(name, context)
        # Written after each benchmark, so that an interrupted run keeps what was measured.
        in_order = {known: results[known] for known in BENCHMARKS if known in results}
        write_json(file, {"format": FORMAT, "benchmarks": in_order})
    rows = [Row.from_json(row) for name in BENCHMARKS if name in results for row in results[name]["rows"]]
    (context.folder / "bench.md").write_text(table(rows), encoding="utf-8")
    print(table(rows), end="")


def parse_arguments() -> tuple[list[str], BenchContext]:
    """Return the names of the benchmarks to run, and what they run on."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"benchmarks to run (default: all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--glue", type=Path, help="a folder in the layout of nyu-mll/glue (default: mini-GLUE)")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="the smallest size: tests the code, measures nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {min(unknown)!r}; expected one of {', '.join(BENCHMARKS)}")
    if arguments.glue is not None and not arguments.glue.is_dir():
        parser.error(f"--glue: the folder {str(arguments.glue)!r} does not exist")
    context = BenchContext(arguments.out, arguments.glue, arguments.threads, arguments.quick)
    return arguments.names or list(BENCHMARKS), context


def read_results(file: Path) -> dict[str, JsonObject]:
    """Return the benchmarks of an earlier run by name. Raise SystemExit if an earlier version wrote the file."""
    if not file.exists():
        return {}
    record = read_json(file)
    if record.get("format") != FORMAT:
        raise SystemExit(f"{file} was written by another version; move it away, or choose another folder with --out")
    return record["benchmarks"]


def measure(name: str, context: BenchContext) -> JsonObject:
    """Run a benchmark and return its rows with their provenance, as bench.json holds them."""
    started = provenance.collect(torch.device("cpu"), context.threads)
    return {
        "provenance": asdict(started),
        "data": "mini-GLUE" if context.glue is None else "GLUE",
        "quick": context.quick,
        "rows": [asdict(row) | {"result": row.result} for row in BENCHMARKS[name](context)],
    }


if __name__ == "__main__":
    main()
